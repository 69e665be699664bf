"""Compiles random graphs as stock and with lowering-hooks, and writes ``docs/random-graphs.md``.

``python tools/make_random_graphs.py measure [COUNT]`` compiles so many graphs, 2,000 by default, on the PyTorch that
runs it, and writes down in ``docs/random-graphs.json`` what they were made of and how they came out; of the other
series that file keeps what it had.  A run of fewer than 2,000 is no evidence: it is written, with a page of its own,
into ``build/random-graphs/`` instead.  It fails where a claim of the page does not hold, and prints
the smallest graph for each difference.  ``python tools/make_random_graphs.py replay GRAPH.json`` compiles such a graph
again, and prints what differs in which way.  ``python tools/make_random_graphs.py draw`` makes the page of the file.
``--check`` changes nothing, and fails where the page is not the one that the file makes, or a claim does not hold of
what is in it; drawing and checking need nothing but ``packaging``.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pages
from machine import facts
from random_graphs.plan import (
    GRAPHS,
    GRAPHS_MADE_TO_DIFFER,
    HOOKED,
    MADE_TO_DIFFER,
    STOCK_AGAIN,
    WAYS,
    expected,
)

from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "random-graphs.json", ROOT / "docs" / "random-graphs.md"
# Takes a run of fewer graphs than are planned.
SMALLER = ROOT / "build" / "random-graphs" / "random-graphs.json"

# Of 2,000 graphs or more, so many at least have each part.
LEAST_DRAWN = 20

HEAD = """\
# Random graphs

<!-- Written by `nox -s random-graphs` from random-graphs.json. -->

The cases of `tests/test_fidelity.py` are those that somebody thought of. These graphs are drawn at random: models
of up to six steps that call custom ops of every tag, with every kind of output and argument, fed by anything that
changes strides, in subgraphs, with a backward graph or with dynamic sizes, some of which fail on purpose. `tests/random_graphs/`
draws them with Hypothesis. Each graph is compiled as stock, and in these ways, each of which has a process of its own and is
compared with stock:

{ways}

Everything is compared in every way: the generated code, the guards (those of `ShapeEnv`, which are about sizes), the layout constraints, the strides that
kernels are handed, the warnings, and of errors the type, the place and the beginning of the message. The last two ways are made to
differ: they show that a difference is seen. Where something differs in another way, the graph is compiled again in all others, and
as stock twice. A graph differs where the same difference comes in both compiles of a way. It differs once where the difference comes in one of
them only; no graph may do that, either, and the page lists each that does, with the way. What differs between the two compiles of stock counts
for no way; the page lists these graphs, too. Where that is a warning, it is one that
PyTorch gives once in a process: the process of "stock once more" may have given it for an earlier graph.

Ops are new for each graph, because an op falls back once in a process. Most graphs are not
built: the compilers are replaced, and the wrappers run on zeros, which hands every kernel its tensors. One in 25 is built, run and
compared with eager; where stock is not equal to eager, the others have to be unequal, too. That is so where a gradient stands behind an op
that has none, and where Inductor leaves out a cast to float16 and back. At least half of those that stock compiles have to be equal to eager.

"""


def measure(count: int) -> int:
    """Compile the graphs, write down how they came out, and return 1 where a claim does not hold."""
    from random_graphs.counting import PARTS, Counts
    from random_graphs.strategies import Graph, each_of
    from random_graphs.ways import processes

    counts, findings, begun = Counts(), [], time.monotonic()

    def measured(version: str, subgraphs: list[str]) -> dict[str, Any]:
        return {
            "torch": version,
            "python": platform.python_version(),
            **facts(),
            "minutes": round((time.monotonic() - begun) / 60),
            "graphs": counts.graphs,
            "findings": len(findings),
            "totals": dict(counts.totals),
            "unstable": counts.unstable,
            "once": counts.once,
            "errors": dict(counts.errors.most_common()),
            "ways": {way: dict(counts.same.get(way, {})) for way in WAYS},
            "parts": {
                kind: {
                    name: [counts.drawn[kind, name], counts.compiled[kind, name]]
                    for name in names
                    if kind != "subgraph" or name in subgraphs
                }
                for kind, names in PARTS.items()
            },
        }

    with processes() as ways:
        series = ".".join(ways.torch.split(".")[:2])

        def check(graph: Graph) -> None:
            names = ["stock", *HOOKED]
            names += MADE_TO_DIFFER if counts.graphs < GRAPHS_MADE_TO_DIFFER else ()
            names += ["stock again"] if counts.graphs % STOCK_AGAIN == 0 else []
            outcome = ways.outcome(graph, *names)
            counts.add(graph, outcome)
            outcome.raise_findings(graph)

        for number, error in each_of(count, ways.subgraphs, check):
            if error is not None:
                findings.append(f"graph {number}: {error}")
                print(findings[-1], flush=True)
            # A run that is interrupted keeps what it has.
            if (number + 1) % 50 == 0 or number + 1 == count:
                found = measured(ways.torch, ways.subgraphs)
                file = DATA if number + 1 == count >= GRAPHS else SMALLER
                write_down(series, found, file)
                print(
                    f"{number + 1} graphs, {found['minutes']} minutes, {len(findings)} findings, in {file}",
                    flush=True,
                )
    broken = broken_claims(series, found)
    print("\n".join(broken), file=sys.stderr)
    return 1 if broken else 0


def replay(graph: dict[str, Any]) -> int:
    """Compile one graph, print what differs in each way, and return 1 where something does that must not."""
    from random_graphs.ways import processes

    with processes() as ways:
        outcome = ways.outcome(graph, "stock", *WAYS)
    print("\n".join([*graph["functions"], *graph["lines"]]))
    print(f"stock: {outcome.seen['stock'].get('error') or 'compiled'}")
    for way in WAYS:
        print(f"{way}: {', '.join(outcome.differing.get(way, ['the same']))}")
    return 1 if outcome.findings else 0


def read(file: Path) -> dict[str, Any]:
    """Return what was measured, by series, the newest first."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def write_down(series: str, measured: dict[str, Any], file: Path) -> None:
    """Write down what was measured of a series, and the page of ``file`` beside it."""
    data = dict(sorted((read(file) | {series: measured}).items(), key=_newest_first))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data) + "\n")
    file.with_suffix(".md").write_text(page(data))


def _newest_first(item: tuple[str, Any]) -> tuple[int, ...]:
    return tuple(-int(part) for part in item[0].split("."))


def broken_claims(series: str, measured: dict[str, Any]) -> list[str]:
    """Return what the page claims and was not so, one sentence each."""
    graphs, ways, totals = measured["graphs"], measured["ways"], measured["totals"]
    wanted = expected(series)
    unstable, once = len(measured["unstable"]), len(measured["once"])
    claims = {
        f"{measured['findings']} graphs differ from stock": measured["findings"] == 0,
        f"{once} graphs differ from stock once": once == 0,
        f"{totals['compiled']} of {graphs} graphs compiled": totals["compiled"] >= wanted.compiled * graphs,
        f"kernels were handed {totals['tensors handed to kernels']} tensors": (
            totals["tensors handed to kernels"] >= wanted.handed * graphs
        ),
        f"{unstable} of {graphs} graphs differ between two runs of stock": unstable
        <= 1 + wanted.unstable * graphs,
        "no text was cut": ways["cut"]["cut"] > 0,
        **{
            f"{way}: no graph differs": ways[way]["same"] < ways[way]["graphs"]
            for way in wanted.made_to_differ
        },
        **{
            f"{way}: {ways[way]['fallbacks']} fallbacks": ways[way]["fallbacks"] >= wanted.fallbacks * graphs
            for way in HOOKED
        },
        **{
            f"{way}: {ways[way]['equal to eager']} of {built_in(measured)} are equal to eager": graphs
            < GRAPHS
            or ways[way]["equal to eager"] >= wanted.equal * built_in(measured)
            for way in HOOKED
        },
        **{
            f"{kind}: {name} was drawn {drawn} times": graphs < GRAPHS
            for kind, name, drawn in rare_parts(measured)
        },
    }
    return [f"PyTorch {series}: {claim}" for claim, holds in claims.items() if not holds]


def built_in(measured: dict[str, Any]) -> int:
    """Return how many graphs were built, and compiled by stock."""
    compiled: int = measured["parts"]["compile"]["built and run"][1]
    return compiled


def rare_parts(measured: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return the parts that fewer than LEAST_DRAWN graphs have: the kind and the name of each, and how many have it."""
    return [
        (kind, name, drawn)
        for kind, names in measured["parts"].items()
        for name, (drawn, _) in names.items()
        if drawn < LEAST_DRAWN
    ]


def page(data: dict[str, Any]) -> str:
    """Return the page."""
    ways = "\n".join(f"- {way.what}: {way.which}" for way in WAYS.values())
    rows = [
        [
            measured["torch"],
            measured["python"],
            _compared(measured),
            f"{measured['totals']['compiled']:,}",
            str(measured["findings"]),
            str(len(measured["once"])),
            str(len(measured["unstable"])),
            f"{measured['minutes']} minutes, {measured['date']}",
        ]
        for measured in data.values()
    ]
    head = [
        "PyTorch",
        "Python",
        "graphs",
        "compiled by stock",
        "that differ",
        "that differ once",
        "that differ between two runs of stock",
        "measured",
    ]
    sections = [_section(series, measured) for series, measured in data.items()]
    return HEAD.format(ways=ways) + "\n\n".join([table(head, rows), *sections, _parts(data)]) + "\n"


def _compared(measured: dict[str, Any]) -> str:
    graphs = f"{measured['graphs']:,}"
    return graphs if measured["graphs"] >= GRAPHS else f"{graphs} of {GRAPHS:,} planned"


def _section(series: str, measured: dict[str, Any]) -> str:
    totals, errors = measured["totals"], measured["errors"]
    rows = []
    for way, about in WAYS.items():
        counted = measured["ways"][way]
        other = {name.removeprefix("other "): n for name, n in counted.items() if name.startswith("other ")}
        rows.append(
            [
                about.what,
                f"{counted['graphs']:,}",
                f"{counted['same']:,}",
                f"{counted['same code']:,}",
                ", ".join(f"{name} {n}" for name, n in sorted(other.items())),
                f"{counted['equal to eager']:,}",
                f"{counted['fallbacks']:,}",
                f"{counted['texts']:,}",
                f"{counted['cut']:,}",
            ]
        )
    head = [
        "compiled as",
        "graphs",
        "as stock",
        "same code",
        "what differs",
        "equal to eager",
        "fallbacks",
        "texts",
        "cut",
    ]
    refused = ", ".join(f"`{name}` {count}" for name, count in errors.items())
    words = (
        f"{measured['graphs']:,} graphs on {measured['cpu']}, {measured['cores']} cores. Stock compiled "
        f"{totals['compiled']:,} of them into {totals['wrappers']:,} wrappers (guards: {totals['guards']:,}), "
        f"and handed {totals['tensors handed to kernels']:,} tensors to the kernels of custom ops. "
        f"Of the compiled graphs {built_in(measured)} were built. "
        f"The others are errors in stock, and have to be the same with lowering-hooks: {refused}."
    )
    parts = [f"## PyTorch {measured['torch']}", words, table(head, rows)]
    if "plain" not in expected(series).made_to_differ:
        parts.append(
            f"In PyTorch {series} an op of the allow list has the layout constraint that it has without: "
            f'"{WAYS["plain"].what}" need not differ.'
        )
    parts += _listed(measured["once"], "These graphs differ in one of two compiles")
    parts += _listed(measured["unstable"], "These graphs differ between two compiles of stock")
    return "\n\n".join(parts)


def _listed(graphs: list[dict[str, Any]], what: str) -> list[str]:
    """Return a list of graphs with what differs in which way; nothing where there are none."""
    if not graphs:
        return []
    lines = []
    for found in graphs:
        differing = "; ".join(f"{way}: {', '.join(names)}" for way, names in found["differing"].items())
        model = " ".join(f"`{line.strip()}`" for line in found["graph"]["lines"])
        lines.append(f"- graph {found['number']}, {differing}. Its model: {model}")
    return [f"{what}; `random-graphs.json` has each whole:", "\n".join(lines)]


def _parts(data: dict[str, Any]) -> str:
    """Return how many graphs had what, and how many of those compiled, by series."""
    lines = [
        "## What the graphs were made of",
        "In how many graphs each part was, and after the stroke in how many that stock compiled.",
        "\n".join(f"- {_drawn(series, measured)}" for series, measured in data.items()),
    ]
    kinds = next(iter(data.values()))["parts"] if data else {}
    for kind, names in kinds.items():
        rows = [
            [
                f"`{name}`" if kind in ("tag", "output", "argument") else name,
                *(
                    " / ".join(f"{count:,}" for count in measured["parts"].get(kind, {}).get(name, (0, 0)))
                    for measured in data.values()
                ),
            ]
            for name in names
        ]
        lines.append(table([kind, *(f"PyTorch {series}" for series in data)], rows))
    return "\n\n".join(lines)


def _drawn(series: str, measured: dict[str, Any]) -> str:
    """Say how many graphs were compared, and which parts are in few of them."""
    by_kind: dict[str, list[str]] = {}
    for kind, name, drawn in rare_parts(measured):
        by_kind.setdefault(kind, []).append(f"`{name}` {drawn}")
    rare = "; ".join(f"{kind} {', '.join(parts)}" for kind, parts in by_kind.items())
    compared = f"PyTorch {series}: {_compared(measured)} graphs were compared. Each part is in at least"
    return f"{compared} {LEAST_DRAWN}" + (f", but for these: {rare}." if rare else ".")


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["measure"] and len(arguments) < 3:
        return measure(int(arguments[1]) if len(arguments) > 1 else GRAPHS)
    if arguments[:1] == ["replay"] and len(arguments) == 2:
        return replay(json.loads(Path(arguments[1]).read_text()))
    if arguments == ["draw"]:
        PAGE.write_text(page(read(DATA)))
        return 0
    if arguments != ["--check"]:
        print(__doc__, file=sys.stderr)
        return 2
    data = read(DATA)
    broken = [claim for series, measured in data.items() for claim in broken_claims(series, measured)]
    for claim in broken:
        print(claim, file=sys.stderr)
    return pages.check(PAGE, page(data), "nox -s random-graphs") or int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
