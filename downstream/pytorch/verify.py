"""Compiles PyTorch's own databases of samples as stock and with lowering-hooks, and writes ``docs/downstream-pytorch.md``.

``python downstream/pytorch/verify.py measure FOLDER [--every N]`` compiles them on the PyTorch that it is installed
with, keeps in FOLDER what each process found, and writes down the sum of it under its series; with ``--every``, those
of every N-th operator of ``op_db``.  It fails where a claim does not hold.  ``draw`` makes the page of all series.
``--check`` changes nothing, and fails where the page is not the one that the JSON files make; both need nothing but
``packaging``.
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
from compiling import differences
from machine import facts
from runs import BUILT, PLAIN, SMALL, WAYS, Found, Share, run_all

from compat import RELEASES, release_of
from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "downstream-pytorch", ROOT / "docs" / "downstream-pytorch.md"

# Says of which share of `op_db` the other series are compiled, so that together they have all.
SHARES: Final = {"2.0": Share(4, 0), "2.4": Share(4, 1), "2.9": Share(4, 2), "2.12": Share(4, 3)}
# Of all of `op_db` there are at least so many graphs, and samples that are built and equal to eager; of a share of it,
# as much less.  2.0 traces fewer of the operators.
GRAPHS: Final = {"2.0": 2500}
GRAPHS_OF_ANOTHER, BUILT_AT_LEAST = 5000, 150
# So many of the compiles may differ between two runs of stock.
UNSTABLE_AT_MOST: Final = 0.01

HEAD = """\
# PyTorch's own samples

<!-- Written by `nox -s downstream-pytorch` from downstream-pytorch/*.json. -->

Every wheel of PyTorch has the databases that its own tests take their samples from (`torch.testing._internal`):
`op_db` with some 700 operators and their variants, and real arguments for each, `custom_op_db`, `hop_db` of higher-order operators, and
`autograd_function_db`. Their samples are compiled as stock and with lowering-hooks, each way in processes of its
own. Generated code, guards, layout constraints, the ops that fall back, the strides that kernels are handed, warnings
and errors must be stock's. `downstream/pytorch/` has the code. The table below says how much was compiled:
`nox -s downstream-pytorch` takes all of `op_db` on the newest series and one operator in four on the others, each series
others, and less with `-- --every 32`. `torchbind_impls` is left out: it wants a library that wheels do not have.

| compiled | how |
| --- | --- |
| `forward`, `dynamic`, `backward` | the operator, through `torch.compile`: with its shapes, with `dynamic=True`, with gradients |
| `backward_fallback` | the same with gradients, in graphs whose ops have lost their lowerings: each falls back implicitly |
| `fallback` | the operator's graph of ops, traced, with gradients for every other sample; its ops have lost their lowerings |
| `mirror`, `mirror_dynamic` | the same graph with a custom op in the place of each op, or of every other one: a *mirror* has the schema of PyTorch's own, one of the tags that decide on a layout constraint or none, and matrices that Inductor may lay out as it likes |

| way | what it is |
| --- | --- |
| stock again | stock once more: what differs here is no doing of lowering-hooks, and is left out of the other ways |
| call_function | `LOWERING_HOOKS_NAMESPACES=*` |
| graph | the same with `LOWERING_HOOKS_DETAIL=graph`, and Inductor logging at DEBUG |
| set_proxy | the strategy of that name, forced, with `LOWERING_HOOKS_NAMESPACES=*` |
| nothing_allowed | an install with nothing set, and Inductor logging at DEBUG; an error's whole message is compared, too |

Inductor generates the code of these and nobody builds it: a kernel that is called does nothing. Some samples are built,
run and compared with eager besides. The class and the place of an error are compared, and of its message the first two
lines: the op's text is what lowering-hooks is for. A sample that stock refuses counts as compiled where the same
error comes out.
"""


def summary(found: Mapping[str, Mapping[str, Found]]) -> dict[str, Any]:
    """Return what the page tells of what the processes found."""
    compared = [ways for part, ways in found.items() if part == SMALL or part.startswith("op_db-")]
    stock = _together(ways["stock"] for ways in compared)
    again = _together(ways["stock again"] for ways in compared)
    finished = {name for name in stock.seen if name in again.seen}
    stable = {name for name in finished if not _differing(stock.seen[name], again.seen[name])}
    same_text = {name for name in stable if _text(stock.seen[name]) == _text(again.seen[name])}
    ways = {}
    for way in WAYS:
        other = _together(ways_of[way] for ways_of in compared)
        is_whole = way == "nothing_allowed"
        differing = {
            name: what
            for name in sorted(stable if way not in ("stock", "stock again") else finished)
            if (what := _compared(stock, other, name, whole=is_whole and name in same_text))
        }
        ways[way] = {
            "compiles": len(other.seen),
            "graphs": sum(len(seen["code"]) for seen in other.seen.values()),
            "differing": differing,
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
        "stable": len(stable),
        "ways": ways,
        "missing": _missing(stock),
        "built": _built([ways for part, ways in found.items() if part.endswith(BUILT)]),
        "plain": _plain(found[PLAIN]),
    }


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
    """Return the names of what differs from stock."""
    if name not in other.seen:
        return ["lost"]
    seen = other.seen[name]
    differing = _differing(stock.seen[name], seen)
    if whole and not seen["is_cut"] and _text(stock.seen[name]) != _text(seen):
        differing.append("whole message")
    return differing


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
    stock = _together(ways["stock"] for ways in parts)
    ways = {}
    for way in parts[0]:
        other = _together(ways_of[way] for ways_of in parts)
        differing = {
            name: what for name in stock.seen if (what := _compared(stock, other, name, whole=False))
        }
        ways[way] = {"differing": differing, "lost": other.lost}
    equal = Counter(str(seen["equal"]) for seen in stock.seen.values())
    return {
        "compiles": len(stock.seen),
        "graphs": sum(len(seen["code"]) for seen in stock.seen.values()),
        "equal": equal["True"],
        "unequal": sorted(name for name, seen in stock.seen.items() if seen["equal"] is False),
        "ways": ways,
    }


def _plain(ways: Mapping[str, Found]) -> dict[str, Any]:
    stock, plain = ways["stock"], ways[PLAIN]
    differing = [_compared(stock, plain, name, whole=False) for name in stock.seen]
    return {
        "compiles": len(stock.seen),
        "differing": sum(map(bool, differing)),
        "code": sum("code" in found for found in differing),
        "strides": sum("strides" in found for found in differing),
    }


def verdicts(series: str, data: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """Return each claim, whether it holds, and what was seen."""
    ways, stock, built = data["ways"], data["ways"]["stock"], data["built"]
    least = GRAPHS.get(series, GRAPHS_OF_ANOTHER) // data["every"]
    yield f"stock compiles at least {least:,} graphs", stock["graphs"] >= least, f"{stock['graphs']:,}"
    yield (
        "at least as many implicit fallbacks as half of that",
        data["fallbacks"] >= least / 2,
        f"{data['fallbacks']:,} of {data['fallen_back']} ops",
    )
    unstable = len(ways["stock again"]["differing"])
    yield (
        f"at most {UNSTABLE_AT_MOST:.0%} of the compiles differ between two runs of stock",
        unstable <= UNSTABLE_AT_MOST * stock["compiles"],
        f"{unstable} of {stock['compiles']:,}",
    )
    for way, seen in ways.items():
        if way not in ("stock", "stock again"):
            differing = len(seen["differing"])
            yield f"`{way}`: all is as in stock", not differing, f"{differing} of {data['stable']:,} differ"
    equal = max(1, BUILT_AT_LEAST // data["every"])
    yield (
        f"at least {equal} samples are built and equal to eager",
        built["equal"] >= equal,
        f"{built['equal']} of {built['compiles']}",
    )
    for way, seen in built["ways"].items():
        if way != "stock":
            differing = len(seen["differing"])
            yield f"built, `{way}`: all is as in stock", not differing, f"{differing} differ"
    row, plain = release_of(series), data["plain"]
    if row is None or row.layout_constraint != "none":
        yield (
            "the comparison can tell: with a plain set proxy at least 10 compiles differ",
            plain["differing"] >= 10,
            f"{plain['differing']} of {plain['compiles']}, {plain['code']} of them in their code",
        )


def measure(folder: Path, every: int | None, processes: int) -> tuple[str, dict[str, Any]]:
    """Compile on the installed PyTorch; return its series, and what the page tells of it."""
    torch = version("torch")
    series = ".".join(torch.split(".")[:2])
    share = SHARES.get(series, Share())
    if every is not None:
        share = Share(every, share.first)
    found = run_all(share, folder / series, processes)
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
            "all" if found["every"] == 1 else f"one in {found['every']}",
            f"{found['operators']}",
            f"{found['ways']['stock']['compiles']:,}",
            f"{found['ways']['stock']['graphs']:,}",
            f"{found['fallbacks']:,}",
            f"{len(found['ways']['stock again']['differing'])}",
            *(str(len(found["ways"][way]["differing"])) for way in list(WAYS)[2:]),
        )
        for found in data.values()
    ]
    columns = (
        "PyTorch", "of `op_db`", "operators", "compiles", "graphs", "implicit fallbacks",
        "differ in stock again", *(f"in `{way}`" for way in list(WAYS)[2:]),
    )  # fmt: skip
    return f"{HEAD}\n{table(columns, rows)}\n" + "".join(_section(*found) for found in data.items())


def _section(series: str, found: Mapping[str, Any]) -> str:
    claims = [(claim, "holds" if holds else "FAILS", seen) for claim, holds, seen in verdicts(series, found)]
    kinds = [
        (kind, *(f"{counts[what]:,}" for what in ("compiles", "graphs", "fallbacks", "errors")))
        for kind, counts in found["kinds"].items()
    ]
    total = found["ways"]["stock"]
    return (
        f"\n## PyTorch {found['torch']}, Python {found['python']}\n\n"
        f"{found['date']}, {found['cpu']}, {found['cores']} cores, processes at a time: {found['processes']}; the "
        f"processes took {_minutes(found)} minutes in sum. {found['constraints']:,} layout constraints, "
        f"{found['guards']:,} guards and the strides of {found['tensors']:,} tensors are among what is the same.\n\n"
        f"{table(('claim', 'verdict', 'seen'), claims)}\n\n"
        f"{table(('compiled', 'compiles', 'graphs', 'implicit fallbacks', 'errors'), kinds)}\n\n"
        f"Stock refuses {sum(found['errors'].values())} of {total['compiles']:,} with an error: "
        f"{_counted(found['errors'])}.\n\n"
        + _differing_in(found)
        + _lost_in(found)
        + _unequal(found["built"])
        + _without(found["missing"])
    )


def _minutes(found: Mapping[str, Any]) -> int:
    return round(sum(way["seconds"] for way in found["ways"].values()) / 60)


def _counted(errors: Mapping[str, int]) -> str:
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"`{name}` {count}" for name, count in ordered) or "none"


def _differing_in(found: Mapping[str, Any]) -> str:
    lines = [
        f"- {way}: `{name}` ({', '.join(what)})"
        for way, seen in found["ways"].items()
        for name, what in seen["differing"].items()
    ]
    return "What differs:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _lost_in(found: Mapping[str, Any]) -> str:
    ended: dict[tuple[str, str], list[str]] = {}
    for way, seen in found["ways"].items():
        for name, how in seen["lost"].items():
            ended.setdefault((name, how), []).append(way)
    lines = [f"- `{name}`: {how}, in {', '.join(ways)}" for (name, how), ways in ended.items()]
    return "Compiles that ended their process:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _unequal(built: Mapping[str, Any]) -> str:
    if not built["unequal"]:
        return ""
    names = ", ".join(f"`{name}`" for name in built["unequal"])
    return f"Built, and not equal to eager in stock: {names}.\n\n"


def _without(missing: Mapping[str, list[str]]) -> str:
    lines = [
        f"- {reason}: " + ", ".join(f"`{name}`" for name in names[:12]) + (", ..." if len(names) > 12 else "")
        for reason, names in missing.items()
    ]
    return "Left out, or not traced:\n\n" + "\n".join(lines) + "\n" if lines else ""


def results() -> dict[str, Any]:
    """Return the data of each series, the newest first."""
    files = {row.series: DATA / f"{row.series}.json" for row in RELEASES}
    return {series: json.loads(file.read_text()) for series, file in files.items() if file.exists()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=("measure", "draw"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--every", type=int)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        return pages.check(PAGE, page(results()), "nox -s downstream-pytorch")
    if given.command == "draw":
        PAGE.write_text(page(results()))
        return 0
    if given.command != "measure" or given.folder is None:
        parser.error("measure FOLDER, draw or --check")
    series, data = measure(given.folder, given.every, given.processes)
    DATA.mkdir(exist_ok=True)
    (DATA / f"{series}.json").write_text(json.dumps(data, indent=1) + "\n")
    told = list(verdicts(series, data))
    for claim, holds, seen in told:
        print(f"{'holds' if holds else 'FAILS'}: {claim} ({seen})")
    return 0 if all(holds for _, holds, _ in told) else 1


if __name__ == "__main__":
    sys.exit(main())
