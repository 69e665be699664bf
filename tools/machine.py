"""The machine on which the tests and the benchmarks measure, and the code that they measure."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# What is installed, and so what a measurement is of.
PACKAGE = ("lowering_hooks", "compat", "_lowering_hooks_autoload.py")


def facts() -> dict[str, Any]:
    """Return what every file of measurements says of when, where and on what it was made.

    Returns:
        ``date``, today in ISO format; ``cpu``, the name of the processor; ``cores``, how many of them this process may
        use; ``commit``, see :func:`commit`.
    """
    return {"date": date.today().isoformat(), "cpu": cpu(), "cores": cores(), "commit": commit()}


def cpu() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def commit() -> str:
    """Return the commit of the checkout, with ``-dirty`` where the package is another; "" where git cannot tell."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head}-dirty" if head and _git("status", "--porcelain", "--", *PACKAGE) else head


def has_package_of(commit: str) -> bool:
    """Return whether the package in the checkout is that of a commit but for its version; not where git cannot tell."""
    ran = _ran("diff", "--ignore-matching-lines=^__version__ = ", commit, "--", *PACKAGE)
    return ran is not None and ran.returncode == 0 and not ran.stdout


def _git(*arguments: str) -> str:
    ran = _ran(*arguments)
    return ran.stdout.strip() if ran is not None and ran.returncode == 0 else ""


def _ran(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    git = shutil.which("git")
    if git is None:
        return None
    return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
