"""What the tests share: fresh processes, and a layer that is put back after each test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lowering_hooks

# Seconds.  Generous: it ends what would never end, and a slow machine must not fail a test.
DEADLINE = 600

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(cache: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a fresh process: nothing cached but compiled C++, nothing of ours set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOWERING_HOOKS", "TORCH_LOGS", "TORCHINDUCTOR", "TORCH_COMPILE"))
        # With CI set, Inductor refuses a fallback for an op that has a decomposition.
        and name != "CI"
    }
    kept.update(
        TORCHINDUCTOR_FORCE_DISABLE_CACHES="1",
        TORCHINDUCTOR_CACHE_DIR=str(cache),
        # Scalar C++: spares every process the 20 s of finding out what vector instructions there are.
        TORCHINDUCTOR_VEC_ISA_OK="0",
    )
    return kept | variables


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture(scope="session")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run Python code, or a script with arguments, in a fresh process outside the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def run_python(
        code: str | Path, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        head = [str(code)] if isinstance(code, Path) else ["-c", textwrap.dedent(code)]
        done = subprocess.run(
            [sys.executable, *head, *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            cwd=folder,
            env=environment(cache, **variables),
        )
        if check:
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    return run_python


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave the layer of this process as it was."""
    before = lowering_hooks.allowed_namespaces()
    yield
    now = lowering_hooks.allowed_namespaces()
    lowering_hooks.disallow(*(now - before))
    lowering_hooks.allow(*(before - now))
    lowering_hooks.apply()
    lowering_hooks.reset_report()
