"""Random models with custom ops compile as they do in stock PyTorch.

`nox -s random-graphs` compiles 2,000 of them; here are the first of these (docs/random-graphs.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from installed import RELEASE
from random_graphs.counting import Counts
from random_graphs.plan import expected
from random_graphs.strategies import Graph, each_of
from random_graphs.ways import Outcome, Ways, processes

# What was seen of a graph in each way.
Seen = dict[str, dict[str, Any]]

HOOKED = ("graph", "cut", "set_proxy")
GRAPHS = 50
EXPECTED = expected(RELEASE.series)


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
        rest = [way for way in EXPECTED.made_to_differ if not self.differs(way)]
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
    """Code, strides, constraints, guards, warnings and errors are stock's in every compile of every way."""
    assert compiled.findings == []
    assert compiled.counts.once == []


def test_stock_compiles_many(compiled) -> None:
    """Many graphs are no errors, most of them on newer series, and they hand tensors to kernels."""
    totals, graphs = compiled.counts.totals, compiled.counts.graphs
    assert graphs >= GRAPHS
    assert totals["compiled"] >= EXPECTED.compiled * graphs
    assert totals["tensors handed to kernels"] >= EXPECTED.handed * graphs
    assert len(compiled.counts.unstable) <= 1 + EXPECTED.unstable * graphs


def test_the_hooks_were_there(compiled) -> None:
    """In every way lowering-hooks saw fallbacks, and where texts are to be cut, it cut most of them."""
    same = compiled.counts.same
    for way in HOOKED:
        assert same[way]["fallbacks"] >= EXPECTED.fallbacks * GRAPHS
    assert same["graph"]["texts"] > GRAPHS / 2
    assert same["cut"]["cut"] > same["cut"]["texts"] / 2 > 0


@pytest.mark.skipif(
    "plain" not in EXPECTED.made_to_differ,
    reason="an op of the allow list has the constraint that it has without",
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
    """One that two compiles of stock show as well is none, and is counted apart."""
    other: Seen = {"graph": {"code": ["other"], "strides": [1]}}
    found = outcome_of(other, other | {"stock again": {}})
    assert found.findings == {"graph": ["code", "strides"]}
    with pytest.raises(AssertionError, match=r"graph: strides is \[1\], in stock None\n{}$"):
        found.raise_findings({})
    unstable = outcome_of(other, other | {"stock again": {"code": ["third"]}})
    assert (unstable.findings, unstable.unstable) == ({"graph": ["strides"]}, ["code"])
    same = outcome_of({"graph": {}, "plain": {"code": ["other"]}})
    assert (same.findings, same.once, same.unstable) == ({}, {}, [])
    assert same.differing == {"plain": ["code"]}


def test_a_difference_that_comes_once() -> None:
    """It is counted for its way, and not as one between two runs of stock."""
    other: Seen = {"graph": {"code": ["other"]}, "cut": {}}
    first = outcome_of(other, {"graph": {}, "cut": {}, "stock again": {}})
    assert (first.findings, first.once, first.unstable) == ({}, {"graph": ["code"]}, [])
    second = outcome_of(other, {"graph": {"strides": [1]}, "cut": {"code": ["other"]}, "stock again": {}})
    assert second.once == {"graph": ["code", "strides"], "cut": ["code"]}
    by_stock = outcome_of(other, {"graph": {}, "cut": {}, "stock again": {"code": ["third"]}})
    assert (by_stock.findings, by_stock.once, by_stock.unstable) == ({}, {}, ["code"])


def test_graphs_that_differ_are_kept() -> None:
    """Each graph in which something differs once, or between two runs of stock, is written down as a whole."""
    graph = drawn(1)[0]
    counts = Counts()
    seen = {"stock": {"undefined": "why"}}
    counts.add(graph, Outcome(seen, {}, [], {}, {}))
    counts.add(graph, Outcome(seen, {}, ["code"], {}, {"cut": ["strides"]}))
    assert counts.unstable == [{"number": 2, "differing": {"stock again": ["code"]}, "graph": graph}]
    assert counts.once == [{"number": 2, "differing": {"cut": ["strides"]}, "graph": graph}]


def test_a_set_proxy_is_compared_whole() -> None:
    """The code and the words of an error are stock's under a set proxy as well."""
    seen: Seen = {"set_proxy": {"code": ["other"], "message": "other"}}
    assert outcome_of(seen, seen | {"stock again": {}}).findings == {"set_proxy": ["code", "message"]}


def test_fallbacks_are_counted_alike() -> None:
    """A way that counts other fallbacks than another differs."""
    seen: Seen = {"graph": {"fallbacks": ["op"]}, "set_proxy": {"fallbacks": []}}
    assert outcome_of(seen, seen | {"stock again": {}}).findings == {"set_proxy": ["fallbacks"]}


def drawn(count: int) -> list[Graph]:
    """Return the graphs of so many seeds."""
    graphs: list[Graph] = []
    assert all(error is None for _, error in each_of(count, ["cond"], graphs.append))
    return graphs


def test_a_seed_is_a_graph() -> None:
    """A seed makes the same graph each time, other seeds make others, and a graph is data."""
    graphs = [json.loads(json.dumps(graph)) for graph in drawn(20)]
    assert graphs == [json.loads(json.dumps(graph)) for graph in drawn(20)]
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
