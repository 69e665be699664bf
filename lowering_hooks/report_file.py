"""Writes the file that ``LOWERING_HOOKS_REPORT`` asks for: the report of a process, when the process ends."""

from __future__ import annotations

import atexit
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from .inductor.modules import loaded
from .records import OpReport, Report

if TYPE_CHECKING:
    from .manager import Manager

log = logging.getLogger("lowering_hooks")


def write_at_exit(pattern: str, manager: Manager) -> None:
    """Have this process, and each one forked from it, write its report when it ends.

    A process that ends by a signal or by ``os._exit`` writes none, nor does one that never loaded Inductor.

    Args:
        pattern: The file, in a folder that exists; ``%p`` stands for the number of the process.
        manager: The manager whose status and report are written.
    """
    pattern = str(Path(pattern).absolute())  # the process may change its folder

    def write() -> None:
        if loaded() is None:
            return
        path = Path(pattern.replace("%p", str(os.getpid())))
        try:
            _replace(path, json.dumps(contents(manager), indent=2) + "\n")
        except Exception as error:
            log.warning("lowering-hooks wrote no report to LOWERING_HOOKS_REPORT=%r: %s", pattern, error)

    atexit.register(write)

    def write_if_any() -> None:
        # Inductor's own compile processes are forked as well, and have nothing to report.
        if manager.report().ops:
            write()

    # Processes that multiprocessing forks end without atexit.
    from multiprocessing import util

    util.register_after_fork(write, lambda _: util.Finalize(None, write_if_any, exitpriority=0))


def contents(manager: Manager) -> dict[str, Any]:
    """Return the contents of the file, as JSON has them."""
    report = manager.report()
    return {
        "pid": os.getpid(),
        "status": manager.status().as_dict(),
        "seconds": report.seconds,
        "ops": [op._asdict() for op in report.ops],
    }


def read(text: str) -> tuple[dict[str, Any], Report]:
    """Return the contents of a report file, and the report in them.

    Args:
        text: The text of the file.

    Raises:
        ValueError: It is not the text of a report.
    """
    try:
        found: Any = json.loads(text)
        pid, status, ops = found["pid"], found["status"], found["ops"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"not a report of lowering-hooks: {type(error).__name__}: {error}") from None
    if not (isinstance(pid, int) and isinstance(status, dict) and isinstance(ops, list)):
        expected = "a number pid, an object status and a list ops"
        raise ValueError(f"not a report of lowering-hooks: expected {expected}")  # noqa: TRY004
    return found, Report(tuple(map(_op, cast("list[object]", ops))))


def _op(found: Any) -> OpReport:
    try:
        op = OpReport(**found)
    except TypeError as error:
        raise ValueError(f"not a report of lowering-hooks: {error}") from None
    for name, kind in get_type_hints(OpReport).items():
        value = getattr(op, name)
        if not isinstance(value, (int, float) if kind is float else kind):
            text = f"{name} is {value!r}, expected one of type {kind.__name__}"
            raise ValueError(f"not a report of lowering-hooks: {text}")  # noqa: TRY004
    return op


def _replace(path: Path, text: str) -> None:
    """Write a file so that nobody ever finds half of it."""
    draft = Path(f"{path}.{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
