"""The command line: ``lowering-hooks`` or ``python -m lowering_hooks``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lowering_hooks

from .. import report_file
from ..inductor.modules import import_problem
from ..inductor.versions import installed_version, torch_is_there, torch_version
from ..records import text_within
from . import check, demo
from .compile_process import WorkerError
from .loaded_by_torch import line_of, why_torch_does_not_load_it

if TYPE_CHECKING:
    from ..records import Report

_FAILED: Final = 1
_INTERRUPTED: Final = 130  # as a shell has it for SIGINT
_NOBODY_READS: Final = 141  # as a shell has it for SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; ``sys.argv[1:]`` if None.

    Returns:
        The exit status: 0 where all is well, 1 where it is not, 2 for misuse, 3 where ``check`` could not
        check, 130 where it was interrupted, 141 where nobody reads the output any more.
    """
    options = parser().parse_args(arguments)
    report_file.write_nothing()
    try:
        exit_status = _run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\nlowering-hooks {options.command}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Python flushes the output once more at its end, and must not fail then.
        with (
            contextlib.suppress(OSError, ValueError),
            Path(os.devnull).open("w", encoding="utf-8") as devnull,
        ):
            os.dup2(devnull.fileno(), sys.stdout.fileno())
        return _NOBODY_READS
    return exit_status


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="lowering-hooks",
        description="Ends the torch.compile hang of custom ops, and changes nothing else.",
    )
    parser.add_argument("--version", action="version", version=_versions())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    status = commands.add_parser(
        "status",
        help="load Inductor and say what is hooked, how and why",
        description="Load Inductor, and say what is hooked in it, how and why, and whether `import torch` "
        "loads lowering-hooks here.",
    )
    status.add_argument("--json", action="store_true", help="print JSON")

    checked = commands.add_parser(
        "check",
        help="compile a small graph as stock and with lowering-hooks, and compare them",
        description="Compile a small graph as stock and with lowering-hooks, and compare them, which takes "
        "some 10 to 30 s.  Both compile with PyTorch's default settings: variables that change a compile are "
        "not passed on, nor are those of lowering-hooks but LOWERING_HOOKS_STRATEGY.",
        epilog="The exit status is 0 where it works, 1 where nothing is hooked or the compiles differ, and 3 "
        "where stock PyTorch itself does not compile.",
    )
    _add_device(checked)
    checked.add_argument("--json", action="store_true", help="print JSON")

    reported = commands.add_parser(
        "report",
        help="print reports that LOWERING_HOOKS_REPORT has written",
        description="Print reports that LOWERING_HOOKS_REPORT has written.",
    )
    reported.add_argument("files", nargs="+", metavar="FILE", help="a report, of one process")
    reported.add_argument("--json", action="store_true", help="print one JSON array of them")

    shown = commands.add_parser(
        "demo",
        help="compile a deep decoder as stock, with a plain set proxy and with lowering-hooks",
        description="Compile a deep decoder as stock, with a plain set proxy and with lowering-hooks, in "
        f"each of {len(demo.CASES)} cases.  Stock takes up to the deadline in each.",
    )
    shown.add_argument(
        "--layers",
        type=_whole_number,
        default=demo.DEFAULT_LAYERS,
        help="depth of the decoder, 1 or more (default: %(default)s)",
    )
    shown.add_argument(
        "--deadline",
        type=_seconds,
        default=demo.DEFAULT_DEADLINE,
        help="seconds that one compile may take, above 0 (default: %(default)g)",
    )
    _add_device(shown)
    shown.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="compile for this device (default: %(default)s)",
    )


def _versions() -> str:
    ours, torch = installed_version("lowering-hooks"), torch_version()
    return f"lowering-hooks {ours or '(not installed)'}, PyTorch {torch or '(not installed)'}"


def _run(options: argparse.Namespace) -> int:
    if options.command == "status":
        return _status(as_json=options.json)
    if options.command == "report":
        return _report(options.files, as_json=options.json)
    if options.command == "check":
        return _compile(lambda: check.run(sys.stderr, options.device), "check", as_json=options.json)
    return _compile(
        lambda: demo.run(options.layers, options.deadline, sys.stderr, options.device),
        "demo",
        as_json=options.json,
    )


def _status(*, as_json: bool) -> int:
    problem = import_problem()
    status = lowering_hooks.status()
    not_loaded = why_torch_does_not_load_it()
    if as_json:
        found = status.as_dict() | {"import_error": problem, "not_loaded_by_torch": not_loaded}
        print(json.dumps(found, indent=2))
    else:
        print(status)
        print(line_of(not_loaded))
        if problem and torch_is_there():
            print(f"Inductor could not be imported: {problem}")
    return 0


def _report(files: Sequence[str], *, as_json: bool) -> int:
    reports: list[tuple[str, dict[str, Any], Report]] = []
    for file in files:
        try:
            reports.append((file, *report_file.read(Path(file).read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            print(f"lowering-hooks report: {file}: {error}", file=sys.stderr)
            return _FAILED
    if as_json:
        print(json.dumps([found for _, found, _ in reports], indent=2))
    else:
        columns = _columns()
        shown = [str(report) if columns is None else text_within(columns, report) for *_, report in reports]
        heads = [f"{file}: process {found['pid']}" for file, found, _ in reports]
        print("\n\n".join(map("\n".join, zip(heads, shown, strict=True))))
    return 0


def _compile(task: Callable[[], check.Verdict | demo.Outcome], command: str, *, as_json: bool) -> int:
    """Run what compiles in processes of its own, and print what came of it."""
    if not torch_is_there():
        print(f"lowering-hooks {command}: PyTorch is not installed here", file=sys.stderr)
        return _FAILED
    try:
        found = task()
    except WorkerError as error:
        print(f"lowering-hooks {command}: {error}", file=sys.stderr)
        return _FAILED
    if as_json:
        print(found.as_json())
    elif isinstance(found, demo.Outcome) and (columns := _columns()) is not None:
        print(f"\n{found.as_text(columns)}")
    else:
        print(f"\n{found}")
    return found.exit_status


def _columns() -> int | None:
    """Return how wide the terminal is that shows the output; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _whole_number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number
