"""What the benchmarks have in common: their command line, and the file that a run leaves."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from machine import facts


def main(description: str | None, measure: Callable[[bool], dict[str, Any]]) -> None:
    """Run a benchmark from the command line, ``OUTPUT.json [--quick]``.

    Args:
        description: The first line of ``--help``.
        measure: Takes whether to be quick, and returns what it measured.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("output", type=Path, metavar="OUTPUT.json")
    parser.add_argument("--quick", action="store_true", help="few and small, to see that it runs")
    options = parser.parse_args()
    write(options.output, options.quick, measure(options.quick))


def write(output: Path, quick: bool, found: dict[str, Any]) -> None:
    """Write what was measured, with the date and the machine."""
    machine = {
        **facts(),
        "torch": version("torch"),
        "python": sys.version.split()[0],
        "quick": quick,
    }
    output.write_text(json.dumps(machine | found, indent=1) + "\n")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median, the quartiles and the values themselves, of which there are at least two."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "lower_quartile": lower, "upper_quartile": upper, "values": list(values)}


def with_interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the :func:`spread` of values, and an interval of their true median.

    The interval holds the medians that a sign test does not reject: in 95 of 100 runs it has the true one,
    whatever the distribution is.  It is None for fewer than six values.
    """
    count, ordered = len(values), sorted(values)
    outside, left_out = 0.0, -1
    while outside <= 0.025 and left_out < count:
        left_out += 1
        outside += math.comb(count, left_out) / 2**count
    interval = [ordered[left_out - 1], ordered[count - left_out]] if left_out else None
    return spread(values) | {"interval": interval}


# Two depths of the stack are so many frames apart; a chunk holds some hundred.
_STEP = 7


def deeper(steps: int, function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function`` so many steps further down the stack.

    CPython 3.11 keeps Python frames in chunks of 16 KiB, and a loop that calls across the end of one has
    memory mapped and unmapped at every turn.  A time that was taken at one depth alone may be the time of
    that.
    """
    return _further(steps * _STEP, function, args)


def _further(frames: int, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return _further(frames - 1, function, args) if frames else function(*args)


def tell(*words: Any) -> None:
    print(*words, file=sys.stderr, flush=True)
