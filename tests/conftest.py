"""What the tests share: what they measured, and an allow list that is put back after each test."""

from __future__ import annotations

import json
import os
import platform
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import facts
from stand_in import load, stand_in

import lowering_hooks
from lowering_hooks.compat import choose

pytest_plugins = ["fresh_process"]


def write_down(topic: str, measured: dict[str, Any]) -> None:
    """Write ``TOPIC.json`` into the folder that MEASURED names, if it names one (docs/make_compatibility.py)."""
    if folder := os.environ.get("MEASURED"):
        Path(folder, f"{topic}.json").write_text(json.dumps(measured))


@pytest.fixture(scope="session")
def record() -> Callable[[str, dict[str, Any]], None]:
    return write_down


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write down how the suite as a whole came out; called in the one process that has all results."""
    if not os.environ.get("MEASURED"):
        return
    # Here, since the tests of nox's session ``imports`` run without PyTorch.
    import torch

    stats = terminalreporter.stats
    write_down(
        "suite",
        {
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "strategy": choose(str(torch.__version__)).strategy,
            **facts(),
            "passed": len(stats.get("passed", [])),
            "failed": len(stats.get("failed", [])) + len(stats.get("error", [])),
            "skipped": len(stats.get("skipped", [])),
        },
    )


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave what lowering-hooks did in this process as it was."""
    before = lowering_hooks.allowed_namespaces()
    yield
    now = lowering_hooks.allowed_namespaces()
    lowering_hooks.disallow(*(now - before))
    lowering_hooks.allow(*(before - now))
    lowering_hooks.apply()
    lowering_hooks.reset_report()


@pytest.fixture
def unloaded(monkeypatch) -> Iterator[None]:
    """The stand-in for Inductor, which nobody has imported yet."""
    with stand_in():
        yield
        # Some fixture may have asked for monkeypatch before this one: what it puts back into sys.modules is
        # the stand-in's, and must not come after PyTorch's own modules.
        monkeypatch.undo()


@pytest.fixture
def stand(unloaded) -> types.SimpleNamespace:
    """The stand-in for Inductor, imported."""
    return load()
