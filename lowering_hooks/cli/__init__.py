"""The command line: ``lowering-hooks`` or ``python -m lowering_hooks``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lowering_hooks

from .. import report_file
from ..inductor.modules import import_problem
from ..inductor.versions import torch_is_there
from . import check, demo

if TYPE_CHECKING:
    from ..records import Report
from .compile_process import WorkerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; ``sys.argv[1:]`` if None.

    Returns:
        The exit status: 0 where all is well, 1 where it is not, 2 for misuse, 130 where it was interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="lowering-hooks",
        description="Ends the torch.compile hang of custom ops, and changes nothing else.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    status = commands.add_parser("status", help="load Inductor and say what is hooked, how and why")
    status.add_argument("--json", action="store_true", help="print JSON")

    checked = commands.add_parser(
        "check", help="compile a small graph as stock and with lowering-hooks, and exit with 1 if they differ"
    )
    checked.add_argument("--json", action="store_true", help="print JSON")

    reported = commands.add_parser("report", help="print reports that LOWERING_HOOKS_REPORT has written")
    reported.add_argument("files", nargs="+", metavar="FILE", help="a report, of one process")
    reported.add_argument("--json", action="store_true", help="print one JSON array of them")

    shown = commands.add_parser(
        "demo", help="compile a deep decoder as stock, with a plain set proxy and with lowering-hooks"
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
    shown.add_argument("--json", action="store_true", help="print JSON")

    options = parser.parse_args(arguments)
    if options.command == "status":
        return _status(as_json=options.json)
    if options.command == "report":
        return _report(options.files, as_json=options.json)
    if options.command == "check":
        return _run(lambda: check.run(progress=sys.stderr), "check", as_json=options.json)
    return _run(
        lambda: demo.run(options.layers, options.deadline, progress=sys.stderr), "demo", as_json=options.json
    )


def _status(*, as_json: bool) -> int:
    problem = import_problem()
    status = lowering_hooks.status()
    if as_json:
        print(json.dumps(status.as_dict() | {"import_error": problem}, indent=2))
    else:
        print(status)
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
            return 1
    if as_json:
        print(json.dumps([found for _, found, _ in reports], indent=2))
    else:
        print("\n\n".join(f"{file}: process {found.get('pid')}\n{report}" for file, found, report in reports))
    return 0


def _run(task: Callable[[], check.Verdict | demo.Outcome], command: str, *, as_json: bool) -> int:
    """Run a command that compiles in processes of its own, and print what came of it."""
    if not torch_is_there():
        print(f"lowering-hooks {command}: PyTorch is not installed here", file=sys.stderr)
        return 1
    try:
        found = task()
    except WorkerError as error:
        print(f"lowering-hooks {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nlowering-hooks {command}: interrupted", file=sys.stderr)
        return 130
    print(found.as_json() if as_json else f"\n{found}")
    return 0 if found.ok else 1


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
