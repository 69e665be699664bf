"""Compiles PyTorch's own databases of samples as stock and with lowering-hooks, and writes ``docs/downstream-pytorch.md``.

``python downstream/pytorch/verify.py measure FOLDER [--every N]`` compiles them on the PyTorch that it is installed
with, keeps in FOLDER what each process found, and writes down the sum of it under its series; with ``--every``, those
of every N-th operator of ``op_db``.  Less than is planned for the series (:data:`SHARES`) is no evidence: it goes to
``build/downstream-pytorch/``, with a page of its own.  It fails where a claim does not hold.  ``draw`` makes the page
of all series.  ``--check`` changes nothing, and fails where the page is not the one that the JSON files make; both
need nothing but ``packaging``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "downstream")]

import pages
from compiling import differences, end_on_sigterm
from machine import cores, facts
from runs import (
    BUILT,
    BUILT_DEADLINE,
    COMPILE_DEADLINE,
    LATE,
    MORE,
    PLAIN,
    SMALL,
    TOLERANCE,
    WAYS,
    Found,
    Share,
    run_all,
)
from verdicts import Verdict, claims

from compat import RELEASES, release_of
from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "downstream-pytorch", ROOT / "docs" / "downstream-pytorch.md"
# Takes what a run of less than the planned share found; git ignores it.
PARTIAL = ROOT / "build" / "downstream-pytorch"

# Says which share of its `op_db` is planned for each series; a series that is not here compiles all of it.  Each of
# these takes every fourth operator of its own list, and begins with another one.
SHARES: Final = {"2.0": Share(4, 0), "2.4": Share(4, 1), "2.9": Share(4, 2), "2.12": Share(4, 3)}
# Of all of `op_db` there are at least so many graphs, and samples that are built and equal to eager; of a share of it,
# as much less.  2.0 traces fewer of the operators, and compiles no graph of the small databases.
GRAPHS: Final = {"2.0": 2500}
BUILT_AND_EQUAL: Final = {"2.0": 75}
GRAPHS_OF_ANOTHER, BUILT_AND_EQUAL_OF_ANOTHER = 5000, 150
# So many compiles must differ under a plain set proxy.
PLAIN_AT_LEAST: Final = 10
# So many of the compiles may differ between runs of stock.
UNSTABLE_AT_MOST: Final = 0.01
# So many of the samples that are built may be unequal to eager in stock, beside one.
UNEQUAL_AT_MOST: Final = 0.01
# A worker holds at most so many bytes (1.3 GiB).
MEMORY: Final = 1.3 * 2**30

# Is the reason of two operators.
_UNWRITTEN: Final = (
    "an index in the message comes from memory that no kernel has written, since nothing was built"
)
# Says why stock differs from itself, or from eager, by how the names of the compiles begin.  Each was seen in further
# runs of some compiles of that operator.
REASONS: Final = {
    "op_db/sgn/": "a comment in the code has the address of a constant",
    "op_db/nn.functional.conv": (
        "one guard, that a product of sizes is not 1, is recorded in some runs and in others not, also with the same "
        "hash seed"
    ),
    "op_db/grid_sampler_2d/": _UNWRITTEN,
    "op_db/trace/": _UNWRITTEN,
    "op_db/max_pool2d_with_indices_backward/": "the message has sets of FX nodes, whose order is another in each process",
    "op_db/kron/": (
        "the mirror of `_unsafe_view` returns the memory that it was given, which PyTorch warns of; Inductor uses that "
        "again, and with a copy the sample is equal"
    ),
}

# Name what came of a sample that was built, run and compared with eager.
EQUAL, UNEQUAL = "equal", "unequal"
# Names what differs where no more than the whole message of an error does.
MESSAGE: Final = "whole message"

HEAD = f"""\
# PyTorch's own samples

<!-- Written by `nox -s downstream-pytorch` from downstream-pytorch/*.json. -->

Every wheel of PyTorch has the databases that its own tests take their samples from (`torch.testing._internal`):
`op_db` with some 700 operators and their variants, and arguments for each, `custom_op_db`, `hop_db` of higher-order operators, and
`autograd_function_db`. Of an operator the first samples are taken, six at most, on a CPU, and of one dtype: float32
where the operator takes it. The samples are compiled as stock and with lowering-hooks, each way in processes of its
own. Generated code, guards, layout constraints, the ops that fall back, the strides that kernels are handed, warnings
and errors must be stock's. `downstream/pytorch/` has the code. The table below says how much was compiled:
`nox -s downstream-pytorch` takes all of `op_db` on the newest series. On each other series it takes a different
quarter of the operators, to end in minutes. `-- --every 32` takes fewer, and what that finds goes to
`build/downstream-pytorch/`, with a page of its own, and not to this page. `torchbind_impls` is left out: it wants a library that wheels do not have.
Inductor compiles what it finds in memory that nobody has written where it folds constants; in all ways, stock's
among them, it finds zeros there.

| compiled | how |
| --- | --- |
| `forward`, `dynamic`, `backward` | the operator, through `torch.compile`: with its shapes, with `dynamic=True`, with gradients |
| `backward_fallback` | the same with gradients, in graphs whose ops have lost their lowerings: each falls back implicitly |
| `fallback` | the operator's graph of ops, traced, with gradients for every other sample; its ops have lost their lowerings |
| `mirror`, `mirror_dynamic` | the same graph with a custom op in the place of each op, or of every other one: a *mirror* has the schema of PyTorch's own, one of the tags that decide on a layout constraint or none, and matrices that Inductor may lay out as it likes |

| way | what it is |
| --- | --- |
| stock again | stock once more: what differs here is no doing of lowering-hooks, and these fields of these compiles, which are listed below, are left out of the other ways; where another way differs from both, stock compiles that slice of the samples {len(MORE)} times more |
| call_function | `LOWERING_HOOKS_NAMESPACES=*` |
| graph | the same with `LOWERING_HOOKS_DETAIL=graph`, and Inductor logging at DEBUG |
| set_proxy | the strategy of that name, forced, with `LOWERING_HOOKS_NAMESPACES=*` |
| nothing_allowed | an install with nothing set, and Inductor logging at DEBUG; an error's whole message is compared, too |

Inductor generates the code of these and nobody builds it: a kernel that is called does nothing. A compile *without a
graph* generated no code, because PyTorch ran the sample in eager, or refused it: little but its warnings and its error
is compared. The guards are those of `ShapeEnv`, which are about sizes; Dynamo's other guards are not compared. The
class and the place of an error are compared, and of its message the first two lines: the op's text is what
lowering-hooks is for. A sample that stock refuses counts as compiled where the same error comes out.

Some samples are built, run and compared with eager besides: floating-point results must be within {TOLERANCE} of
eager's, absolute and relative (`atol` and `rtol` of `torch.testing.assert_close`), and all others exactly eager's. A
sample is equal to eager only where a graph was compiled and a tensor was compared.

A compile that takes more than {COMPILE_DEADLINE:.0f} s of wall time, or {BUILT_DEADLINE:.0f} s where it is built, is ended. Where stock took less it
counts as differing, and is said to be *late*: on a busy machine that need not be a difference.
"""


def summary(found: Mapping[str, Mapping[str, Found]]) -> dict[str, Any]:
    """Return what the page tells of what the processes found."""
    compared = list(_compared_parts(found).values())
    stock = _together(ways["stock"] for ways in compared)
    left_out = {name: what for ways in compared for name, what in _unstable(ways).items()}
    ways = {}
    for way in WAYS:
        other = _together(ways_of[way] for ways_of in compared)
        differing = {name: what for ways_of in compared for name, what in _changed(ways_of, way).items()}
        ways[way] = {
            "compiles": len(other.seen),
            "graphs": sum(len(seen["code"]) for seen in other.seen.values()),
            "differing": dict(sorted(differing.items())),
            "lost": other.lost,
            "seconds": round(other.seconds),
            "peak_mib": round(other.peak_mib),
        }
    return {
        "kinds": _kinds(stock),
        "operators": len({name.rsplit("/", 3)[0] for name in stock.seen}),
        "fallbacks": sum(len(seen["fallbacks"]) for seen in stock.seen.values()),
        "fallen_back": len({op for seen in stock.seen.values() for op in seen["fallbacks"]}),
        "constraints": sum(len(seen["constraints"]) for seen in stock.seen.values()),
        "tensors": sum(len(seen["strides"]) for seen in stock.seen.values()),
        "guards": sum(len(seen["guards"]) for seen in stock.seen.values()),
        "errors": Counter(seen["error"][0] for seen in stock.seen.values() if seen["error"]),
        "left_out": dict(sorted(left_out.items())),
        "ways": ways,
        "missing": _missing(stock),
        "built": _built([ways for part, ways in found.items() if part.endswith(BUILT)]),
        "plain": _plain(found[PLAIN]),
    }


def unsettled(found: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """Return the parts in which something differs from stock that stock itself has not changed so far."""
    hooked = [way for way in WAYS if WAYS[way] != "stock"]
    parts = _compared_parts(found)
    return [part for part, ways in parts.items() if any(_changed(ways, way) for way in hooked)]


def _compared_parts(found: Mapping[str, Mapping[str, Found]]) -> dict[str, Mapping[str, Found]]:
    return {part: ways for part, ways in found.items() if part == SMALL or part.startswith("op_db-")}


def _unstable(ways: Mapping[str, Found]) -> dict[str, list[str]]:
    """Return the fields in which stock differs from itself: nobody can tell what another way does to them."""
    stock, others = ways["stock"], [ways[way] for way in ("stock again", *MORE) if way in ways]
    found = {}
    for name in stock.seen:
        fields = [field for other in others for field in _compared(stock, other, name, whole=True)]
        if fields:
            found[name] = list(dict.fromkeys(fields))
    return found


def _changed(ways: Mapping[str, Found], way: str) -> dict[str, list[str]]:
    """Return the fields in which a way differs from stock, without those in which stock differs from itself."""
    stock, ignored = ways["stock"], {} if way == "stock again" else _unstable(ways)
    found = {}
    for name in stock.seen:
        fields = _compared(stock, ways[way], name, whole=way == "nothing_allowed")
        if kept := [field for field in fields if field not in ignored.get(name, ())]:
            found[name] = kept
    return found


def _together(parts: Iterable[Found]) -> Found:
    found = Found()
    for part in parts:
        found.seen |= part.seen
        found.lost |= part.lost
        found.missing |= part.missing
        found.seconds += part.seconds
        found.peak_mib = max(found.peak_mib, part.peak_mib)
    return found


def _compared(stock: Found, other: Found, name: str, *, whole: bool) -> list[str]:
    """Return the names of what differs from stock, or how the other way has lost the compile."""
    if name not in other.seen:
        return [_loss(other, name)]
    seen = other.seen[name]
    differing = _differing(stock.seen[name], seen)
    if whole and not seen["is_cut"] and _text(stock.seen[name]) != _text(seen):
        differing.append(MESSAGE)
    return differing


def _loss(found: Found, name: str) -> str:
    """Return how a compile that was not seen was lost: as late, with its process, or before it began."""
    if name not in found.lost:
        return "not compiled"
    return LATE if found.lost[name] == LATE else "lost"


def _without_graph(found: Found) -> int:
    return sum(not seen["code"] for seen in found.seen.values())


def _differing(stock: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        *differences(dict(stock), dict(other)),
        *(["fallbacks"] if stock["fallbacks"] != other["fallbacks"] else []),
    ]


def _text(seen: Mapping[str, Any]) -> str:
    return str(seen["whole_message"])


def _kinds(stock: Found) -> dict[str, dict[str, int]]:
    """Count compiles, graphs and errors by how they are compiled."""
    kinds: dict[str, Counter[str]] = {}
    for name, seen in stock.seen.items():
        database, kind = name.split("/")[0], name.rsplit("/", 1)[1]
        counts = kinds.setdefault(f"{database}: {kind}", Counter())
        counts.update(
            compiles=1,
            graphs=len(seen["code"]),
            without_graph=int(not seen["code"]),
            fallbacks=len(seen["fallbacks"]),
            errors=int(seen["error"] is not None),
        )
    return {kind: dict(kinds[kind]) for kind in sorted(kinds)}


def _missing(stock: Found) -> dict[str, list[str]]:
    """Return what has no samples here, or could not be traced, by the reason."""
    reasons: dict[str, set[str]] = {}
    for name, reason in stock.missing.items():
        reasons.setdefault(reason, set()).add("/".join(name.split("/")[:2]))
    return {reason: sorted(reasons[reason]) for reason in sorted(reasons)}


def _built(parts: list[Mapping[str, Found]]) -> dict[str, Any]:
    together = {way: _together(ways_of[way] for ways_of in parts) for way in parts[0]}
    stock = together["stock"]
    ways = {}
    for way, other in together.items():
        differing = {
            name: what for name in stock.seen if (what := _compared(stock, other, name, whole=False))
        }
        ways[way] = {"differing": differing, "lost": other.lost}
    outcomes: dict[str, list[str]] = {EQUAL: [], UNEQUAL: []}
    for name, seen in stock.seen.items():
        outcomes.setdefault(_outcome(seen), []).append(name)
    for name, how in stock.lost.items():
        outcomes.setdefault(f"its process ended: {how}", []).append(name)
    return {
        "compiles": sum(map(len, outcomes.values())),
        "graphs": sum(len(seen["code"]) for seen in stock.seen.values()),
        "without_graph": _without_graph(stock),
        "equal": len(outcomes.pop(EQUAL)),
        "unequal": sorted(outcomes.pop(UNEQUAL)),
        "uncompared": {reason: sorted(outcomes[reason]) for reason in sorted(outcomes)},
        "ways": ways,
        "seconds": round(sum(found.seconds for found in together.values())),
    }


def _outcome(seen: Mapping[str, Any]) -> str:
    """Return whether what was built in stock is equal to eager, or why that cannot be said."""
    if seen["error"]:
        return f"an error in stock: {seen['error'][0]}"
    if not seen["code"]:
        return "no graph was compiled"
    if seen["equal"] is None:
        return "no tensor was compared"
    return EQUAL if seen["equal"] else UNEQUAL


def _plain(ways: Mapping[str, Found]) -> dict[str, Any]:
    """Count what differs under a plain set proxy; what it has lost was not compared."""
    stock, plain = ways["stock"], ways[PLAIN]
    differing = [_compared(stock, plain, name, whole=False) for name in stock.seen if name in plain.seen]
    return {
        "compiles": len(stock.seen),
        "lost": {name: _loss(plain, name) for name in stock.seen if name not in plain.seen},
        "differing": sum(map(bool, differing)),
        "code": sum("code" in found for found in differing),
        "strides": sum("strides" in found for found in differing),
        "seconds": round(stock.seconds + plain.seconds),
    }


def verdicts(series: str, data: Mapping[str, Any]) -> Iterator[Verdict]:
    """Return each claim, whether it holds, and what was seen."""
    ways, stock, built = data["ways"], data["ways"]["stock"], data["built"]
    least = GRAPHS.get(series, GRAPHS_OF_ANOTHER) // data["every"]
    yield Verdict(
        f"stock compiles at least {least:,} graphs", stock["graphs"] >= least, f"{stock['graphs']:,}"
    )
    yield Verdict(
        f"at least {least // 2:,} implicit fallbacks",
        data["fallbacks"] >= least // 2,
        f"{data['fallbacks']:,} of {data['fallen_back']} ops",
    )
    unstable = len(data["left_out"])
    yield Verdict(
        f"at most {UNSTABLE_AT_MOST:.0%} of the compiles differ between runs of stock",
        unstable <= UNSTABLE_AT_MOST * stock["compiles"],
        f"{unstable} of {stock['compiles']:,}",
    )
    for way, seen in ways.items():
        if way not in ("stock", "stock again"):
            yield _as_in_stock(f"`{way}`", seen["differing"], stock["compiles"], *data["kinds"].values())
    yield _built_verdict(series, data["every"], built)
    yield _unequal_verdict(built)
    finished = built["compiles"] - len(built["ways"]["stock"]["lost"])
    for way, seen in built["ways"].items():
        if way != "stock":
            yield _as_in_stock(f"built, `{way}`", seen["differing"], finished, built)
    yield _control(series, data["plain"])


def _as_in_stock(
    what: str, differing: Mapping[str, list[str]], compiles: int, *counts: Mapping[str, Any]
) -> Verdict:
    late = sum(fields == [LATE] for fields in differing.values())
    told = f"{len(differing)} of {compiles:,} differ" + (f", {late} of them late" if late else "")
    told += f"; without a graph: {_graphless(*counts)}"
    return Verdict(f"{what}: all is as in stock", not differing, told)


def _built_verdict(series: str, every: int, built: Mapping[str, Any]) -> Verdict:
    least = max(1, BUILT_AND_EQUAL.get(series, BUILT_AND_EQUAL_OF_ANOTHER) // every)
    claim = f"at least {least} samples are built and equal to eager"
    uncompared = sum(map(len, built["uncompared"].values()))
    told = f"{built['equal']} of {built['compiles']}; unequal: {len(built['unequal'])}; not compared: {uncompared}"
    return Verdict(claim, built["equal"] >= least, told)


def _unequal_verdict(built: Mapping[str, Any]) -> Verdict:
    unequal = len(built["unequal"])
    return Verdict(
        f"stock is unequal to eager in at most one built sample, or {UNEQUAL_AT_MOST:.0%} of them",
        unequal <= max(1, UNEQUAL_AT_MOST * built["compiles"]),
        f"{unequal} of {built['compiles']}",
    )


def _control(series: str, plain: Mapping[str, Any]) -> Verdict:
    claim = f"the comparison can tell: with a plain set proxy at least {PLAIN_AT_LEAST} compiles differ"
    row = release_of(series)
    if row is not None and row.layout_constraint == "none":
        # There is no layout constraint that a plain set proxy could lose.
        return Verdict(claim, None, "no control on this series")
    told = f"{plain['differing']} of {plain['compiles']}, {plain['code']} of them in their code"
    lost = "; ".join(f"{how}: {count}" for how, count in sorted(Counter(plain["lost"].values()).items()))
    holds = plain["differing"] >= PLAIN_AT_LEAST and not lost
    return Verdict(claim, holds, f"{told}; {lost}" if lost else told)


def measure(folder: Path, every: int | None, processes: int) -> tuple[str, dict[str, Any]]:
    """Compile on the installed PyTorch; return its series, and what the page tells of it."""
    torch = version("torch")
    series = ".".join(torch.split(".")[:2])
    share = SHARES.get(series, Share())
    if every is not None:
        # `--every 1` takes all: it may not begin with the fourth operator, as every fourth may.
        share = Share(every, share.first % every)
    # PyTorch 2.0: generated code includes a header of the cache by its path; if relative, C++ does not find it.
    found = run_all(share, folder.resolve() / series, processes)
    if more := unsettled(found):
        print(f"something differs in {', '.join(more)}: stock compiles that again", flush=True)
        found = run_all(share, folder.resolve() / series, processes, more=more)
    return series, {
        **facts(),
        "processes": processes,
        "torch": torch,
        "python": platform.python_version(),
        "every": share.every,
        **summary(found),
    }


def page(data: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            found["torch"],
            _taken(series, found["every"]),
            f"{found['operators']}",
            f"{found['ways']['stock']['compiles']:,}",
            f"{found['ways']['stock']['graphs']:,}",
            _graphless(*found["kinds"].values()),
            f"{found['fallbacks']:,}",
            f"{len(found['left_out'])}",
            *(str(len(found["ways"][way]["differing"])) for way in list(WAYS)[2:]),
        )
        for series, found in data.items()
    ]
    columns = (
        "PyTorch", "operators of `op_db`", "operators", "compiles", "graphs", "compiles without a graph", "implicit fallbacks",
        "differ between runs of stock", *(f"in `{way}`" for way in list(WAYS)[2:]),
    )  # fmt: skip
    return f"{HEAD}\n{table(columns, rows)}\n" + "".join(_section(*found) for found in data.items())


def _taken(series: str, every: int) -> str:
    """Return which share of `op_db` was compiled, and which should have been where that is more."""
    planned = SHARES.get(series, Share()).every
    taken, wanted = ("all" if number == 1 else f"one in {number}" for number in (every, planned))
    return f"{taken}; planned: {wanted}" if every > planned else taken


def _graphless(*counts: Mapping[str, Any]) -> str:
    """Return how many compiles made no graph."""
    return f"{sum(each['without_graph'] for each in counts):,}"


def _section(series: str, found: Mapping[str, Any]) -> str:
    kinds = [
        (
            kind,
            *(f"{counts[what]:,}" for what in ("compiles", "graphs")),
            _graphless(counts),
            *(f"{counts[what]:,}" for what in ("fallbacks", "errors")),
        )
        for kind, counts in found["kinds"].items()
    ]
    heads = ("compiled", "compiles", "graphs", "compiles without a graph", "implicit fallbacks", "errors")
    total = found["ways"]["stock"]
    text = (
        f"\n## PyTorch {found['torch']}, Python {found['python']}\n\n"
        f"{found['date']}, {found['cpu']}, {found['cores']} cores, processes at a time: {found['processes']}; "
        f"{_minutes(found)}. {found['constraints']:,} layout constraints, "
        f"{found['guards']:,} guards and the strides of {found['tensors']:,} tensors are among what is the same.\n\n"
        f"{claims(verdicts(series, found))}\n\n"
        f"{table(heads, kinds)}\n\n"
        f"Stock refuses {sum(found['errors'].values())} of {total['compiles']:,} with an error: "
        f"{_errors(found['errors'])}.\n\n"
        + _left_out(found)
        + _differing_in(found)
        + _lost_in(found)
        + _unequal(found["built"])
        + _listed("Built, and not compared with eager", found["built"]["uncompared"])
        + _listed("Without samples here, or not traced", found["missing"])
    )
    return text.rstrip("\n") + "\n"


def _minutes(found: Mapping[str, Any]) -> str:
    parts = (*found["ways"].values(), found["built"], found["plain"])
    return f"the processes took {sum(part['seconds'] for part in parts) / 60:.0f} minutes in sum"


def _errors(errors: Mapping[str, int]) -> str:
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"`{name}` {count}" for name, count in ordered) or "none"


def _left_out(found: Mapping[str, Any]) -> str:
    title = "Left out of the comparison, because runs of stock differ in it"
    second = found["ways"]["stock again"]["differing"]
    lines = []
    for name, what in found["left_out"].items():
        # A whole message is not among what the second run is said to differ in.
        is_late = name not in second and what != [MESSAGE]
        late = "; the first two runs agreed, and another did not" if is_late else ""
        lines.append(f"- `{name}`: {', '.join(what)}{late}{_reason(name)}")
    return f"{title}:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _all_ways(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return what was found in each way, built or not, by what the page calls it."""
    yield from found["ways"].items()
    yield from ((f"built, {way}", seen) for way, seen in found["built"]["ways"].items())


def _differing_in(found: Mapping[str, Any]) -> str:
    lines = [
        f"- {way}: `{name}` ({', '.join(what)})"
        for way, seen in _all_ways(found)
        if way != "stock again"
        for name, what in seen["differing"].items()
    ]
    return "What differs:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _lost_in(found: Mapping[str, Any]) -> str:
    ended: dict[tuple[str, str], list[str]] = {}
    for way, seen in (*_all_ways(found), (PLAIN, found["plain"])):
        for name, how in seen["lost"].items():
            ended.setdefault((name, how), []).append(way)
    lines = [f"- `{name}`: {how}, in {', '.join(ways)}" for (name, how), ways in ended.items()]
    return "Compiles, or traces, that ended their process:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _unequal(built: Mapping[str, Any]) -> str:
    if not built["unequal"]:
        return ""
    names = ", ".join(f"`{name}`{_reason(name)}" for name in built["unequal"])
    return f"Built, and not equal to eager in stock: {names}.\n\n"


def _reason(name: str) -> str:
    return next((f" ({reason})" for start, reason in REASONS.items() if name.startswith(start)), "")


def _listed(title: str, names_of: Mapping[str, list[str]]) -> str:
    """Return a list of reasons, each with how many names it has and the first of them."""
    lines = [
        f"- {reason} ({len(names)}): "
        + ", ".join(f"`{name}`" for name in names[:12])
        + (", ..." if len(names) > 12 else "")
        for reason, names in names_of.items()
    ]
    return f"{title}:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def results() -> dict[str, Any]:
    """Return the data of each series, the newest first."""
    files = {row.series: DATA / f"{row.series}.json" for row in RELEASES}
    return {series: json.loads(file.read_text()) for series, file in files.items() if file.exists()}


def write(series: str, data: Mapping[str, Any]) -> Path:
    """Write down what was measured, and return the file.

    Only a run of at least the planned share of its series is evidence, and may take the place of an earlier one.
    """
    if data["every"] <= SHARES.get(series, Share()).every:
        file = DATA / f"{series}.json"
    else:
        file = PARTIAL / f"{series}-every-{data['every']}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, indent=1) + "\n")
    if file.parent == PARTIAL:
        own = file.with_suffix(".md")
        own.write_text(page({series: data}))
        print(f"less than planned for {series}, so {DATA.name}/ stays as it is: wrote {file} and {own}")
    return file


def processes_at_once() -> int:
    """Return how many workers this machine has the cores and the memory for."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores(), int(memory / MEMORY)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=("measure", "draw"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--every", type=int)
    parser.add_argument("--processes", type=int, default=processes_at_once())
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        return pages.check(PAGE, page(results()), "nox -s downstream-pytorch")
    if given.command == "draw":
        PAGE.write_text(page(results()))
        return 0
    if given.command != "measure" or given.folder is None:
        parser.error("measure FOLDER, draw or --check")
    end_on_sigterm()
    series, data = measure(given.folder, given.every, given.processes)
    write(series, data)
    told = list(verdicts(series, data))
    for verdict in told:
        print(verdict)
    return 1 if any(verdict.holds is False for verdict in told) else 0


if __name__ == "__main__":
    sys.exit(main())
