"""Random models with custom ops compile as they do in stock PyTorch.

`nox -s random-graphs` compiles 2,000 of them; here are the first of these (docs/random-graphs.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from installed import RELEASE
from random_graphs.counting import Counts
from random_graphs.strategies import Graph, each_of
from random_graphs.ways import MADE_TO_DIFFER, Outcome, Ways, compiling_in

HOOKED = ("graph", "cut", "set_proxy")
GRAPHS = 50
# The ways that are made to differ have so many graphs to differ in.
GRAPHS_MADE_TO_DIFFER = 20


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
        is_early = self.counts.graphs < GRAPHS_MADE_TO_DIFFER
        outcome = self._ways.outcome(graph, "stock", *HOOKED, *(MADE_TO_DIFFER if is_early else ()))
        self.counts.add(graph, outcome)
        raise_findings(graph, outcome)


def raise_findings(graph: Graph, outcome: Outcome) -> None:
    if outcome.findings:
        raise AssertionError(f"differs from stock: {outcome.findings}\n{json.dumps(graph)}")


@pytest.fixture(scope="module")
def compiled() -> Iterator[Compiled]:
    with compiling_in(["stock", *HOOKED, *MADE_TO_DIFFER]) as ways:
        yield Compiled(ways)


def test_nothing_differs(compiled) -> None:
    """Code, strides, constraints, guards, warnings and errors are stock's; under a set proxy, what kernels see."""
    assert compiled.findings == []


def test_stock_compiles_most(compiled) -> None:
    """Most graphs are no errors, and they hand tensors to kernels."""
    totals, graphs = compiled.counts.totals, compiled.counts.graphs
    assert graphs >= GRAPHS
    assert totals["compiled"] > graphs / 3
    assert totals["tensors handed to kernels"] > graphs / 2
    assert totals["unstable"] <= graphs / 20


def test_the_hooks_were_there(compiled) -> None:
    """In every way lowering-hooks saw fallbacks, and where texts are to be cut, it cut most of them."""
    same = compiled.counts.same
    for way in HOOKED:
        assert same[way]["fallbacks"] > GRAPHS / 2
    assert same["graph"]["texts"] > GRAPHS / 2
    assert same["cut"]["cut"] > same["cut"]["texts"] / 2 > 0


def test_a_plain_set_proxy_is_seen(compiled) -> None:
    """A set proxy that records no layout constraint differs in some of the first graphs."""
    if RELEASE.layout_constraint == "none":
        pytest.skip("on this series an op of the allow list has the constraint that it has without")
    counted = compiled.counts.same["plain"]
    assert counted["same"] < counted["graphs"]


def test_a_text_that_copies_is_seen(compiled) -> None:
    """A text that copies what it describes differs in some of the first graphs."""
    counted = compiled.counts.same["meddling"]
    assert counted["same"] < counted["graphs"]


def test_a_seed_is_a_graph() -> None:
    """A seed makes the same graph each time, other seeds make others, and a graph is data."""

    def drawn() -> list[Graph]:
        graphs: list[Graph] = []
        assert all(error is None for _, error in each_of(20, ["cond"], graphs.append))
        return graphs

    graphs = [json.loads(json.dumps(graph)) for graph in drawn()]
    assert graphs == [json.loads(json.dumps(graph)) for graph in drawn()]
    assert len({json.dumps(graph) for graph in graphs}) > 19
