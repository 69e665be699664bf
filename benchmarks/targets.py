"""What is promised of the costs of lowering-hooks, and whether the benchmarks found it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from lowering_hooks.cli.tables import table

Results = dict[str, Any]
MISSED: Final = "**missed**"


def row_of(found: Results, **wanted: Any) -> Results:
    """Return the row that has all of this; an empty one where that was not measured."""
    return next((row for row in found["rows"] if wanted.items() <= row.items()), {})


def overhead(target: str) -> Callable[[Results], float]:
    return lambda run: row_of(run, target=target)["added_ns"] / 1e3


def floor(against: str, layers: int) -> Callable[[Results], Results | None]:
    return lambda run: row_of(run, against=against, layers=layers).get("ratio")


def share(layers: int) -> Callable[[Results], float]:
    return lambda run: 100 * row_of(run, layers=layers)["share"]["median"]


def slowest_args(run: Results) -> float:
    return 1e6 * max(row["args_seconds"] for row in run["rows"])


def dearest_text(least: int, most: int) -> Callable[[Results], Results | None]:
    """Return a function that finds the highest ratio, hooked to stock, among texts of so many characters."""

    def ratio(run: Results) -> Results | None:
        ratios = [row["in_turns_ratio"] for row in run["small"] if least <= row["characters"] <= most]
        return max(ratios, key=lambda found: found["median"], default=None)

    return ratio


def import_limit(run: Results) -> float:
    """Return how many milliseconds the entry point may add: 15, or 1 % of PyTorch's import if that is more."""
    return max(15.0, 0.01 * 1e3 * run["torch_seconds"]["median"])


# What is promised: the benchmark, what it measures, the unit, the most that it may be, and the value.  Where
# compiles vary by more than the target leaves room for, the value is a spread with its interval.
Limit = float | Callable[[Results], float]
TARGETS: tuple[tuple[str, str, str, Limit, Callable[[Results], Any]], ...] = (
    ("floor", "whole compile of 60 layers, to ideal's", "times", 1.01, floor("ideal", 60)),
    ("floor", "whole compile of 200 layers, to ideal's", "times", 1.01, floor("ideal", 200)),
    ("floor", "whole compile of 2 layers, to stock's", "times", 1.01, floor("stock", 2)),
    ("share", "share of a compile of 60 layers in our code", "%", 0.1, share(60)),
    ("share", "share of a compile of 200 layers in our code", "%", 0.1, share(200)),
    ("overhead", "added to lowering an aten node", "µs", 0.3, overhead("aten op")),
    ("overhead", "added to a known op of an allowed namespace", "µs", 1.0, overhead("known allowed op")),
    ("overhead", "added to an op of another namespace", "µs", 0.3, overhead("op of another namespace")),
    ("graph_text", "text `args`, the slowest depth", "µs", 200.0, slowest_args),
    ("ir_text", "text of an IR node, up to 1,000 characters, to stock's", "times", 1.05, dearest_text(0, 1_000)),
    ("ir_text", "text of an IR node, up to the limit, to stock's", "times", 1.05, dearest_text(1_001, 100_000)),
    ("ir_text", "hooking the texts of IR nodes", "ms", 2.0, lambda run: milliseconds(run, "install")),
    ("import_cost", "`import lowering_hooks` alone", "ms", 15.0, lambda run: milliseconds(run, "alone")),
    (
        "import_cost", "what the entry point adds to `import torch`", "ms", import_limit,
        lambda run: milliseconds(run, "entry_point"),
    ),
)  # fmt: skip


def milliseconds(run: Results, kind: str) -> float:
    return 1e3 * run[f"{kind}_seconds"]["median"]


class Outcome(NamedTuple):
    """What a benchmark found of a target, in words.

    Attributes:
        what: What is measured.
        series: The PyTorch series.
        limit: The most that it may be, with its unit.
        shown: What it was, with its unit.
        verdict: ``met``, ``**missed**``, or ``too close to tell``.
    """

    what: str
    series: str
    limit: str
    shown: str
    verdict: str


def outcomes(measured: dict[str, dict[str, Results]]) -> Iterator[Outcome]:
    """Compare with each target what was measured of it, by series and benchmark; a quick run is no measurement."""
    for name, what, unit, limit, value in TARGETS:
        for series, runs in measured.items():
            run = runs.get(name)
            if run is None or run["quick"]:
                continue
            most = limit(run) if callable(limit) else limit
            got = value(run)
            if got is None:
                continue
            if isinstance(got, dict):
                lowest, highest = got["interval"]
                got = got["median"]
                shown = f"{got:.3f} {unit}, between {lowest:.3f} and {highest:.3f}"
            else:
                lowest, shown = got, f"{got:.3g} {unit}"
            verdict = "met" if got <= most else "too close to tell" if lowest <= most else MISSED
            yield Outcome(what, series, f"{most:g} {unit}", shown, verdict)


def missed(measured: dict[str, dict[str, Results]]) -> list[Outcome]:
    """Return the targets that the benchmarks found missed."""
    return [outcome for outcome in outcomes(measured) if outcome.verdict == MISSED]


def targets(measured: dict[str, dict[str, Results]]) -> str:
    rows = [tuple(outcome) for outcome in outcomes(measured)]
    if not rows:
        return ""
    words = f"\n{_shortest(measured)}\n" if missed(measured) else ""
    return f"## Targets\n\n{table(('what', 'PyTorch', 'at most', 'measured', ''), rows)}\n{words}"


def _shortest(measured: dict[str, dict[str, Results]]) -> str:
    """Return what the shortest text costs, and that a run of the benchmarks fails where a target is missed."""
    costs = []
    for runs in measured.values():
        if texts := runs.get("ir_text"):
            row = min(texts["small"], key=lambda row: row["characters"])
            stock, ours = (1e6 * row[f"{name}_seconds"]["median"] for name in ("stock", "auto"))
            costs.append(
                f"on {texts['torch']} {stock:.1f} µs, and {ours - stock:.1f} µs more with lowering-hooks"
            )
    shortest = f"The shortest text measured takes, in the median, {'; '.join(costs)}. " if costs else ""
    return f"{shortest}`nox -s bench` fails where a target is missed."
