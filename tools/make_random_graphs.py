"""Compiles random graphs as stock and with lowering-hooks, and writes ``docs/random-graphs.md``.

``python tools/make_random_graphs.py measure [COUNT]`` compiles so many graphs, 2,000 by default, on the PyTorch that
runs it, and writes down in ``docs/random-graphs.json`` what they were made of and how they came out; of the other
series that file keeps what it had.  It fails where a claim of the page does not hold, and prints the smallest graph
for each difference.  ``python tools/make_random_graphs.py replay GRAPH.json`` compiles such a graph again, and prints
what differs in which way.  ``python tools/make_random_graphs.py draw`` makes the page of the file.  ``--check`` changes
nothing, and fails where the page is not the one that the file makes, or a claim does not hold of what is in it;
drawing and checking need nothing but ``packaging``.
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

from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "random-graphs.json", ROOT / "docs" / "random-graphs.md"
GRAPHS = 2000

# The ways in the order of the page, with what they are; "stock" itself is what each is compared with.
WAYS = {
    "stock again": "stock PyTorch once more",
    "call_function": "the strategy `call_function`, every namespace allowed",
    "graph": "the same with `LOWERING_HOOKS_DETAIL=graph`, and everything that Inductor logs at DEBUG formatted",
    "cut": "the same strategy, no namespace allowed, and every text cut after 300 characters; also at DEBUG",
    "set_proxy": "the strategy `set_proxy`, every namespace allowed",
    "plain": "a set proxy that says yes and records no layout constraint, as others use it",
    "meddling": "stock, with a text that copies the arguments that it describes",
}
MADE_TO_DIFFER = ("plain", "meddling")
HOOKED = tuple(way for way in WAYS if way not in (*MADE_TO_DIFFER, "stock again"))
# The ways that are made to differ have so many graphs to differ in, and stock is compiled again for one in so many.
GRAPHS_MADE_TO_DIFFER = 50
STOCK_AGAIN = 10

# Of 2,000 graphs so many have each part, at least.
LEAST_DRAWN = 20

HEAD = """\
# Random graphs

<!-- Written by `nox -s random-graphs` from random-graphs.json. -->

The cases of `tests/test_fidelity.py` are those that somebody thought of. These graphs are drawn at random: models
of up to six steps that call custom ops of every tag, with every kind of output and argument, fed by anything that
changes strides, in subgraphs, with a backward graph or with dynamic sizes, some of which fail on purpose. `tests/random_graphs/`
draws them with Hypothesis. Each graph is compiled in each of these ways, in processes of their own, and compared with stock:

{ways}

In all but the last three, everything is compared: the generated code, the guards, the layout constraints, the strides that
kernels are handed, the warnings, and of errors the type, the place and the beginning of the message. Under a set proxy Inductor
takes another branch, so there it is all but the code and the words of an error. A difference counts where it comes
again in a second compile. Ops are new for each graph, because an op falls back once in a process. Most graphs are not
built: the compilers are replaced, and the wrappers run on zeros, which hands every kernel its tensors. One in 25 is built, run and
compared with eager; where stock is not equal to eager, as where a gradient stands behind an op that has none, the others have to
be unequal, too.

Stock is compiled again for one graph in {stock_again}, and wherever something differs. The last two ways are made to differ: they show
that a difference is seen, in the first {made_to_differ} graphs.

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
                data = sorted((read() | {series: found}).items(), key=_newest_first)
                DATA.write_text(json.dumps(dict(data)) + "\n")
                print(
                    f"{number + 1} graphs, {found['minutes']} minutes, {len(findings)} findings", flush=True
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


def read() -> dict[str, Any]:
    """Return what was measured, by series, the newest first."""
    found: dict[str, Any] = json.loads(DATA.read_text()) if DATA.exists() else {}
    return found


def _newest_first(item: tuple[str, Any]) -> tuple[int, ...]:
    return tuple(-int(part) for part in item[0].split("."))


def broken_claims(series: str, measured: dict[str, Any]) -> list[str]:
    """Return what the page claims and was not so, one sentence each."""
    graphs, ways = measured["graphs"], measured["ways"]
    claims = {
        f"{measured['findings']} graphs differ from stock": measured["findings"] == 0,
        "fewer than half of the graphs compiled": measured["totals"]["compiled"] * 2 >= graphs,
        "more than one graph in 50 differs between two runs of stock": measured["totals"]["unstable"] * 50
        <= graphs,
        "no text was cut": ways["cut"]["cut"] > 0,
        **{f"{way}: no graph differs": ways[way]["same"] < ways[way]["graphs"] for way in MADE_TO_DIFFER},
        **{
            f"{way}: fewer fallbacks than one in two graphs": ways[way]["fallbacks"] * 2 >= graphs
            for way in HOOKED
        },
        **{
            f"{kind}: {name} was drawn {drawn} times": drawn >= LEAST_DRAWN or graphs < GRAPHS
            for kind, names in measured["parts"].items()
            for name, (drawn, _) in names.items()
        },
    }
    return [f"PyTorch {series}: {claim}" for claim, holds in claims.items() if not holds]


def page(data: dict[str, Any]) -> str:
    """Return the page."""
    ways = "\n".join(f"- {what}" for what in WAYS.values())
    rows = [
        [
            measured["torch"],
            measured["python"],
            f"{measured['graphs']:,}",
            f"{measured['totals']['compiled']:,}",
            str(measured["findings"]),
            str(measured["totals"]["unstable"]),
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
        "that differ between two runs of stock",
        "measured",
    ]
    return (
        HEAD.format(ways=ways, stock_again=STOCK_AGAIN, made_to_differ=GRAPHS_MADE_TO_DIFFER)
        + "\n\n".join([table(head, rows), *(_section(measured) for measured in data.values()), _parts(data)])
        + "\n"
    )


def _section(measured: dict[str, Any]) -> str:
    totals, errors = measured["totals"], measured["errors"]
    rows = []
    for way, what in WAYS.items():
        counted = measured["ways"][way]
        other = {name.removeprefix("other "): n for name, n in counted.items() if name.startswith("other ")}
        rows.append(
            [
                what,
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
    return (
        f"## PyTorch {measured['torch']}\n\n"
        f"{measured['graphs']:,} graphs on {measured['cpu']}, {measured['cores']} cores. Stock compiled "
        f"{totals['compiled']:,} of them into {totals['wrappers']:,} wrappers (guards: {totals['guards']:,}), "
        f"and handed {totals['tensors handed to kernels']:,} tensors to the kernels of custom ops. "
        f"The others are errors in stock, and have to be the same with lowering-hooks: {refused}.\n\n"
        + table(head, rows)
    )


def _parts(data: dict[str, Any]) -> str:
    """Return how many graphs had what, and how many of those compiled, by series."""
    lines = [
        "## What the graphs were made of",
        f"In how many graphs each part was, and after the stroke in how many that stock compiled. Of 2,000 graphs, each part is in at least {LEAST_DRAWN}.",
    ]
    kinds = next(iter(data.values()))["parts"] if data else {}
    for kind, names in kinds.items():
        rows = [
            [
                f"`{name}`" if kind in ("tag", "output", "argument") else name,
                *(
                    " / ".join(f"{count:,}" for count in measured["parts"][kind].get(name, (0, 0)))
                    for measured in data.values()
                ),
            ]
            for name in names
        ]
        lines.append(table([kind, *(f"PyTorch {series}" for series in data)], rows))
    return "\n\n".join(lines)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["measure"] and len(arguments) < 3:
        return measure(int(arguments[1]) if len(arguments) > 1 else GRAPHS)
    if arguments[:1] == ["replay"] and len(arguments) == 2:
        return replay(json.loads(Path(arguments[1]).read_text()))
    if arguments == ["draw"]:
        PAGE.write_text(page(read()))
        return 0
    if arguments != ["--check"]:
        print(__doc__, file=sys.stderr)
        return 2
    data = read()
    broken = [claim for series, measured in data.items() for claim in broken_claims(series, measured)]
    for claim in broken:
        print(claim, file=sys.stderr)
    return pages.check(PAGE, page(data), "nox -s random-graphs") or int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
