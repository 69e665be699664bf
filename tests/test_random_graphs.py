"""Random models with custom ops compile as they do in stock PyTorch.

`nox -s random-graphs` compiles 2,000 of them; here are the first of these (docs/random-graphs.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from installed import RELEASE, SERIES
from random_graphs.counting import Counts
from random_graphs.strategies import Graph, each_of
from random_graphs.ways import MADE_TO_DIFFER, Outcome, Ways, processes

# What was seen of a graph in each way.
Seen = dict[str, dict[str, Any]]

HOOKED = ("graph", "cut", "set_proxy")
GRAPHS = 50
# On the other series an op of the allow list has the constraint that it has without.
PLAIN_DIFFERS = RELEASE.layout_constraint != "none"


class Compiled:
    """What came of the graphs.

    Attributes:
        counts: What they were made of, and how they came out.
        findings: The smallest graph for each difference from stock, as text.
    """

    def __init__(self, ways: Ways) -> None:
        self.counts = Counts()
        self.findings: list[str] = []
        self._ways = ways
        for number, error in each_of(GRAPHS, ways.subgraphs, self._check):
            if error is not None:
                self.findings.append(f"graph {number}: {error}")

    def _check(self, graph: Graph) -> None:
        # What is made to differ is compiled until it has.
        rest = [way for way in MADE_TO_DIFFER if not self.differs(way) and (way != "plain" or PLAIN_DIFFERS)]
        outcome = self._ways.outcome(graph, "stock", *HOOKED, *rest)
        self.counts.add(graph, outcome)
        outcome.raise_findings(graph)

    def differs(self, way: str) -> bool:
        """Whether a graph differed from stock in that way."""
        counted = self.counts.same.get(way)
        return counted is not None and counted["same"] < counted["graphs"]


@pytest.fixture(scope="module")
def compiled() -> Iterator[Compiled]:
    with processes() as ways:
        yield Compiled(ways)


def test_nothing_differs(compiled) -> None:
    """Code, strides, constraints, guards, warnings and errors are stock's; under a set proxy, what kernels see."""
    assert compiled.findings == []


def test_stock_compiles_many(compiled) -> None:
    """Many graphs are no errors, most of them on newer series, and they hand tensors to kernels."""
    totals, graphs = compiled.counts.totals, compiled.counts.graphs
    assert graphs >= GRAPHS
    assert totals["compiled"] > (graphs / 2 if SERIES > (2, 4) else graphs / 5)
    assert totals["tensors handed to kernels"] > graphs / 2
    assert totals["unstable"] <= graphs / 20


def test_the_hooks_were_there(compiled) -> None:
    """In every way lowering-hooks saw fallbacks, and where texts are to be cut, it cut most of them."""
    same = compiled.counts.same
    for way in HOOKED:
        assert same[way]["fallbacks"] > GRAPHS / 2
    assert same["graph"]["texts"] > GRAPHS / 2
    assert same["cut"]["cut"] > same["cut"]["texts"] / 2 > 0


@pytest.mark.skipif(
    not PLAIN_DIFFERS, reason="an op of the allow list has the constraint that it has without"
)
def test_a_plain_set_proxy_is_seen(compiled) -> None:
    """A set proxy that records no layout constraint differs in one of the graphs."""
    assert compiled.differs("plain")


def test_a_text_that_copies_is_seen(compiled) -> None:
    """A text that copies what it describes differs in one of the graphs."""
    assert compiled.differs("meddling")


STOCK: dict[str, Any] = {
    **dict.fromkeys(("code", "guards", "strides", "warnings", "constraints", "error", "equal")),
    "message": "",
}


def outcome_of(*compiles: Seen) -> Outcome:
    """Return what is made of a graph of which this was seen, in one compile after the other, beside stock."""
    ways, left = object.__new__(Ways), list(compiles)
    ways.compile = lambda graph, *names: {
        "stock": STOCK,
        **{way: STOCK | other for way, other in left.pop(0).items()},
    }
    return ways.outcome({}, "stock")


def test_a_difference_that_comes_again_is_a_finding() -> None:
    """One that does not, or that two compiles of stock show as well, is none, and is counted."""
    other: Seen = {"graph": {"code": ["other"], "strides": [1]}}
    found = outcome_of(other, other | {"stock again": {}})
    assert found.findings == {"graph": ["code", "strides"]}
    with pytest.raises(AssertionError, match=r"graph: strides is \[1\], in stock None\n{}$"):
        found.raise_findings({})
    unstable = outcome_of(other, other | {"stock again": {"code": ["third"]}})
    assert unstable.findings == {"graph": ["strides"]}
    once = outcome_of(other, {"graph": {}, "stock again": {}})
    assert (once.findings, once.is_unstable) == ({}, True)
    same = outcome_of({"graph": {}, "plain": {"code": ["other"]}})
    assert (same.findings, same.is_unstable, same.differing) == ({}, False, {"plain": ["code"]})


def test_a_set_proxy_may_generate_other_code() -> None:
    """It may hand kernels nothing else."""
    seen: Seen = {"set_proxy": {"code": ["other"]}}
    assert outcome_of(seen).differing == {}
    seen = {"set_proxy": {"code": ["other"], "strides": [1]}}
    assert outcome_of(seen, seen | {"stock again": {}}).findings == {"set_proxy": ["strides"]}


def test_fallbacks_are_counted_alike() -> None:
    """A way that counts other fallbacks than another differs."""
    seen: Seen = {"graph": {"fallbacks": ["op"]}, "set_proxy": {"fallbacks": []}}
    assert outcome_of(seen, seen | {"stock again": {}}).findings == {"set_proxy": ["fallbacks"]}


def test_a_seed_is_a_graph() -> None:
    """A seed makes the same graph each time, other seeds make others, and a graph is data."""

    def drawn() -> list[Graph]:
        graphs: list[Graph] = []
        assert all(error is None for _, error in each_of(20, ["cond"], graphs.append))
        return graphs

    graphs = [json.loads(json.dumps(graph)) for graph in drawn()]
    assert graphs == [json.loads(json.dumps(graph)) for graph in drawn()]
    assert len({json.dumps(graph) for graph in graphs}) > 19


def test_what_is_found_is_shrunk() -> None:
    """What is raised for a graph is raised for a small one."""

    def check(graph: Graph) -> None:
        if any("core" in op["tags"] for op in graph["ops"]):
            raise AssertionError(json.dumps(graph))

    errors = [error for _, error in each_of(40, ["cond"], check) if error is not None]
    assert len(errors) > 1
    graph = json.loads(str(errors[0]))
    assert len(graph["ops"]) == len(graph["inputs"]) == 1
    assert len(graph["lines"]) < 3
    assert not graph["dynamic"]
