"""The file that ``LOWERING_HOOKS_REPORT`` asks for: a process's report, written when the process ends."""

from __future__ import annotations

import atexit
import json
import logging
import os
from typing import Any

from .inductor.modules import loaded
from .manager import Manager
from .records import OpReport, Report

log = logging.getLogger("lowering_hooks")


def write_at_exit(pattern: str, manager: Manager) -> None:
    """Write the report of this process, and of each one forked from it, when it ends.

    A process that ends by a signal or by ``os._exit`` writes none, nor does one that never loaded Inductor.

    Args:
        pattern: The file, in a folder that is there; ``%p`` stands for the process's number.
        manager: What is reported on.
    """
    pattern = os.path.abspath(pattern)  # the process may go to another folder

    def write() -> None:
        if loaded() is None:
            return
        path = pattern.replace("%p", str(os.getpid()))
        try:
            _replace(path, json.dumps(contents(manager), indent=2) + "\n")
        except Exception as error:
            log.warning("lowering-hooks wrote no report to LOWERING_HOOKS_REPORT=%r: %s", pattern, error)

    atexit.register(write)

    def write_if_any() -> None:
        # Inductor's own compile processes are forked, too, and have nothing to say.
        if manager.report().ops:
            write()

    # Its forked children end without atexit.
    from multiprocessing import util

    util.register_after_fork(write, lambda _: util.Finalize(None, write_if_any, exitpriority=0))


def contents(manager: Manager) -> dict[str, Any]:
    """Return what the file holds."""
    report = manager.report()
    return {
        "pid": os.getpid(),
        "status": manager.status().as_dict(),
        "seconds": report.seconds,
        "ops": [op._asdict() for op in report.ops],
    }


def read(text: str) -> tuple[dict[str, Any], Report]:
    """Return what the text of a report file says: all of it, and its ops.

    Raises:
        ValueError: It is not the text of a report.
    """
    try:
        found = json.loads(text)
        return found, Report(tuple(OpReport(**op) for op in found["ops"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a report of lowering-hooks: {type(error).__name__}: {error}") from None


def _replace(path: str, text: str) -> None:
    """Write a file so that nobody ever finds half of it."""
    draft = f"{path}.{os.getpid()}.part"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    finally:
        if os.path.exists(draft):
            os.unlink(draft)
