"""What must hold of all architectures, each of which counts: what was not measured does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from architectures import ALL
from measurement import NESTED, OTHERS, PARTS, PROXY, RUNS, TEXT, WRITER, Found
from verdicts import Verdict

# Maps what a claim needs to know of an architecture to what is known of it; None where it was not measured.
Needed = Mapping[str, Any]

DEEP: Final = "at the depth of a published model"
# As many architectures are compared, and as many of them stock must not survive.
ENOUGH, ENOUGH_HANGS = 25, 15
# A compile may take this many times as long as one of stock that writes no text, and these seconds more.
TIMES, SECONDS = 1.5, 5.0


def verdicts(
    found: Mapping[str, Found], names: Iterable[str] | None = None, parts: Iterable[str] = PARTS
) -> list[Verdict]:
    """Return each claim about some architectures.

    Args:
        found: What is known, by the name of the architecture.
        names: The architectures; None for all of the table, of which some must be enough in number.
        parts: The parts of what is known that it is about.
    """
    told: list[Verdict] = []
    for part in parts:
        chosen = [one.name for one in ALL] if names is None else names
        known = {name: found.get(name, {}).get(part, {}) for name in chosen}
        if names is None:
            told += _counted(part, known)
        told += _of_shallow(known) if part == "shallow" else _of_real(known)
    return told


def _counted(part: str, known: Mapping[str, Found]) -> Iterator[Verdict]:
    """Return the claims that are about the table as a whole."""
    depth = "at a depth that stock survives" if part == "shallow" else DEEP
    _, is_complete, seen = _claim("", {name: {"": one or None} for name, one in known.items()}, bool)
    libraries = {one.library for one in ALL if known[one.name]}
    yield Verdict(
        f"{depth}, all architectures of the table are compiled, which are at least {ENOUGH}",
        is_complete and len(known) >= ENOUGH,
        f"{len(libraries)} libraries; {seen}",
    )
    if part == "real":
        stock = {name: _pairs(one, "stock", "textless") for name, one in known.items()}
        hanging = [name for name, needed in stock.items() if any(map(_ends_in_text, needed.values()))]
        others = [name for name, needed in stock.items() if name not in hanging and any(needed.values())]
        _, is_complete, seen = _claim("", stock, bool)
        yield Verdict(
            f"{depth}, stock hangs or fails in the text of an op, in at least {ENOUGH_HANGS}",
            is_complete and len(hanging) >= ENOUGH_HANGS,
            f"in {len(hanging)}; not seen in: {', '.join(others)}; measured: {seen}",
        )


def _of_shallow(known: Mapping[str, Found]) -> Iterator[Verdict]:
    for mode in OTHERS:
        yield _claim(
            f"`{mode}`: the same as stock",
            {name: _by_run(part, mode) for name, part in known.items()},
            lambda records: all(map(is_same, records)),
        )
    yield _claim(
        "compiled results, losses and gradients are eager's, in stock and in these modes",
        {name: _by_mode(part.get("built", {})) for name, part in known.items()},
        lambda records: all(record.get("equal") is True for record in records),
    )
    generated = {name: part.get("generated", {}) for name, part in known.items()}
    proxies = {name: {run: ways.get(PROXY, {}).get(run) for run in RUNS} for name, ways in generated.items()}
    told = {name: tells(part) for name, part in known.items()}
    what = ", ".join(sorted(set().union(*told.values())))
    alone = [name for name, differing in told.items() if differing == {"constraints"}]
    yield _claim(
        "that comparison can tell: each time, a plain set proxy in the place of the allow list is not the same as stock",
        proxies,
        lambda record: record["seconds"] is not None and record["differences"] not in ([], ["not compared"]),
        (f": {what}" if what else "")
        + (f"; in nothing but constraints: {', '.join(alone)}" if alone else ""),
    )


def _of_real(known: Mapping[str, Found]) -> Iterator[Verdict]:
    ours = {name: {run: record(part, "ours", run) for run in RUNS} for name, part in known.items()}
    yield _claim(
        f"{DEEP}, lowering-hooks with nothing allowed compiles it",
        ours,
        lambda record: record["seconds"] is not None,
        _extremes(ours),
    )
    yield _claim(
        f"{DEEP}, lowering-hooks with nothing allowed generates the same as stock that writes no text of an op",
        ours,
        is_same,
    )
    yield _claim(
        f"{DEEP}, lowering-hooks with nothing allowed takes at most {TIMES:g} times the seconds of that stock, and {SECONDS:g} more",
        {name: _pairs(part, "ours", "textless") for name, part in known.items()},
        _is_quick,
    )


def _claim(text: str, known: Mapping[str, Needed], holds: Callable[[Any], bool], seen: str = "") -> Verdict:
    """Return a claim that holds where all that it needs was measured and is as it must be."""
    failing, missing, lacking = [], [], set()
    for name, needed in known.items():
        absent = [what for what, one in needed.items() if one is None]
        if absent:
            lacking.add(name)
            missing.append(name if len(absent) == len(needed) else f"{name} ({', '.join(absent)})")
        if not all(holds(one) for one in needed.values() if one is not None):
            failing.append(name)
    said = [f"{len(known) - len(lacking.union(failing))} of {len(known)}{seen}"]
    if failing:
        said.append(f"not: {', '.join(failing)}")
    if missing:
        said.append(f"not measured: {', '.join(missing)}")
    return Verdict(text, bool(known) and not failing and not missing, "; ".join(said))


def record(part: Found, way: str, run: str) -> Found | None:
    """Return the record of one run in one way, if there is one."""
    found: Found | None = part.get(way, {}).get(run)
    return found


def _pairs(part: Found, one: str, other: str) -> Needed:
    """Return the records of two ways for each run."""
    both = {run: (record(part, one, run), record(part, other, run)) for run in RUNS}
    return {run: None if None in pair else pair for run, pair in both.items()}


def _by_run(part: Found, mode: str) -> Needed:
    """Return the records of a mode for each run: built, or generated, or both."""
    ways = [part.get(how, {}) for how in ("built", "generated")]
    found = {run: [one for way in ways if (one := record(way, mode, run))] for run in RUNS}
    return {run: records or None for run, records in found.items()}


def _by_mode(ways: Found) -> Needed:
    found = {way: [record(ways, way, run) for run in RUNS] for way in ("stock", *OTHERS)}
    return {way: None if None in records else records for way, records in found.items()}


def is_same(record: Found) -> bool:
    """Whether a run ended, and nothing differs from stock."""
    return record["seconds"] is not None and record["differences"] == []


def differing(found: Mapping[str, Found]) -> list[str]:
    """Return the architectures of which any run with lowering-hooks did not end, or differs from stock."""
    return [name for name, parts in found.items() if not all(map(is_same, _hooked(parts)))]


def _hooked(parts: Found) -> Iterator[Found]:
    """Return the records of all runs with lowering-hooks, at either depth."""
    shallow, real = (parts.get(part, {}) for part in PARTS)
    for mode in OTHERS:
        for ways in (shallow.get("built", {}), shallow.get("generated", {})):
            yield from ways.get(mode, {}).values()
    yield from real.get("ours", {}).values()


def tells(part: Found) -> set[str]:
    """Return what differs under a plain set proxy."""
    return {what for one in part.get("generated", {}).get(PROXY, {}).values() for what in one["differences"]}


def _ends_in_text(pair: tuple[Found, Found] | None) -> bool:
    """Whether stock hangs or fails in the text of an op: it had longer than all the rest takes."""
    if pair is None:
        return False
    stock, textless = pair
    if stock.get("why") == NESTED:
        return any(place.endswith(WRITER) for place in stock.get("places", ()))
    least = textless["seconds"]
    return stock.get("why") == TEXT and least is not None and stock["deadline"] > least


def _is_quick(pair: tuple[Found, Found]) -> bool:
    ours, least = (one["seconds"] for one in pair)
    return None not in (ours, least) and ours <= TIMES * least + SECONDS


def _extremes(ours: Mapping[str, Needed]) -> str:
    """Return which compile took longest, and which needed the most memory."""
    records = [(name, one) for name, needed in ours.items() for one in needed.values() if one]
    if not records:
        return ""
    slowest, its = max(records, key=lambda named: named[1]["seconds"] or 0.0)
    largest, most = max(records, key=lambda named: named[1]["peak_mib"])
    return (
        f"; the slowest: {slowest}, {its['seconds'] or 0.0:.0f} s; "
        f"the most memory: {largest}, {most['peak_mib']:.0f} MiB"
    )
