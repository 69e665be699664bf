"""Writes the file that ``LOWERING_HOOKS_REPORT`` asks for: the report of a process, when the process ends."""

from __future__ import annotations

import atexit
import json
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_type_hints

from .inductor.modules import loaded
from .records import OpReport, Report
from .telling import tell

if TYPE_CHECKING:
    from .manager import Manager


# What `write_at_exit` has registered in this process.
_writers: Final[list[Callable[[], None]]] = []


def write_at_exit(pattern: str, manager: Manager) -> None:
    """Have this process, and each one forked from it, write its report when it ends.

    A process that ends by a signal or by ``os._exit`` writes none, nor does one that never loaded Inductor.

    Args:
        pattern: The file, in a folder that exists; ``%p`` stands for the number of the process.
        manager: The manager whose status and report are written.
    """
    # The package may have been reloaded, with another manager.
    write_nothing()
    pattern = str(Path(pattern).absolute())  # the process may change its folder
    process = os.getpid()

    def write() -> None:
        if loaded() is None or not _is_the_last(write):
            return
        # A forked process, such as those in which Inductor compiles, may have nothing to report.
        if os.getpid() != process and not manager.report().ops:
            return
        path = Path(pattern.replace("%p", str(os.getpid())))
        try:
            _write(path, json.dumps(contents(manager), indent=2) + "\n")
        except Exception as error:
            tell(
                logging.WARNING,
                "lowering-hooks wrote no report to LOWERING_HOOKS_REPORT=%r: %s",
                pattern,
                error,
            )

    _writers.append(write)
    atexit.register(write)

    # Processes that multiprocessing forks end without atexit.
    from multiprocessing import util

    util.register_after_fork(write, lambda _: util.Finalize(None, write, exitpriority=0))


def _is_the_last(write: Callable[[], None]) -> bool:
    """Whether no other manager writes the file, of the package as it was reloaded or imported anew."""
    module = sys.modules.get(__name__)
    return write in (_writers if module is None else vars(module)["_writers"])


def write_nothing() -> None:
    """Take back :func:`write_at_exit`: the command line is no run that anybody wants a report of.

    Its report would take the place of that of a run where the file has no ``%p``.
    """
    while _writers:
        atexit.unregister(_writers.pop())


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
    if not isinstance(found, dict):
        raise ValueError(f"not a report of lowering-hooks: {found!r} among ops, expected an object")  # noqa: TRY004
    # A newer version of lowering-hooks may have written more.
    known = {name: value for name, value in cast("dict[str, Any]", found).items() if name in OpReport._fields}
    try:
        op = OpReport(**known)
    except TypeError as error:
        raise ValueError(f"not a report of lowering-hooks: {error}") from None
    for name, kind in get_type_hints(OpReport).items():
        value = getattr(op, name)
        if not isinstance(value, (int, float) if kind is float else kind):
            text = f"{name} is {value!r}, expected one of type {kind.__name__}"
            raise ValueError(f"not a report of lowering-hooks: {text}")  # noqa: TRY004
    return op


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody ever finds half of it; write to a device or a pipe as it is."""
    # /dev/stdout leads to whatever the output is, which may be a file with more in it.
    is_stream = path.is_symlink() and path.parts[1:2] in (("dev",), ("proc",))
    if is_stream or (path.exists() and not stat.S_ISREG(path.stat().st_mode)):
        # Without waiting for somebody who reads a pipe.
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        with open(os.open(path, flags), "w", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(text)
        return
    path = path.resolve()  # a link stays one
    draft = Path(f"{path}.{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
