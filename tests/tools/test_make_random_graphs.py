"""What the page of random graphs claims of its data, and where a run is written.  Needs no PyTorch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import make_random_graphs
import pytest
from make_random_graphs import broken_claims, measure, page
from random_graphs import ways
from random_graphs.plan import GRAPHS, HOOKED, WAYS

if TYPE_CHECKING:
    from pathlib import Path

GRAPH = {"functions": [], "lines": ["a = op(x)"]}
# How many graphs were built, and how many of those stock compiled.
BUILT = {"built and run": [90, 80]}


def run_of(graphs: int, **other: Any) -> dict[str, Any]:
    """Return what a run of so many graphs measures where all claims hold."""
    counted = dict.fromkeys(("graphs", "same", "same code", "equal to eager", "fallbacks", "texts"), graphs)
    found: dict[str, Any] = {
        "torch": "2.15.0", "python": "3.11", "date": "2026-01-31", "cpu": "CPU", "cores": 2, "commit": "",
        "minutes": 1, "graphs": graphs, "findings": 0, "errors": {}, "unstable": [], "once": [],
        "totals": {"compiled": graphs, "wrappers": 1, "guards": 0, "tensors handed to kernels": graphs},
        "ways": {way: {**counted, "cut": graphs, "same": graphs if way in HOOKED else 0} for way in WAYS},
        "parts": {"output": {"Tensor": [graphs, graphs], "int": [20, 20]}, "compile": BUILT},
    }  # fmt: skip
    return found | other


def test_what_holds() -> None:
    """A run in which nothing differs breaks no claim."""
    assert broken_claims("2.15", run_of(GRAPHS)) == []


@pytest.mark.parametrize("graphs", [60, 2 * GRAPHS])
def test_a_difference_that_came_once(graphs: int) -> None:
    """It breaks a claim however many graphs there are, and the page lists the graph with the way."""
    once = {"number": 7, "differing": {"cut": ["code"]}, "graph": GRAPH}
    found = run_of(graphs, once=[once])
    assert broken_claims("2.15", found) == ["PyTorch 2.15: 1 graphs differ from stock once"]
    assert "- graph 7, cut: code. Its model: `a = op(x)`\n" in page({"2.15": found})


def test_stock_may_differ_from_itself_in_few() -> None:
    """One graph, and one in 50 more, may differ between two runs of stock, and the page lists each."""
    unstable = {"number": 8, "differing": {"stock again": ["warnings"]}, "graph": GRAPH}
    assert broken_claims("2.15", run_of(100, unstable=[unstable] * 3)) == []
    found = run_of(100, unstable=[unstable] * 4)
    assert broken_claims("2.15", found) == ["PyTorch 2.15: 4 of 100 graphs differ between two runs of stock"]
    assert page({"2.15": found}).count("- graph 8, stock again: warnings.") == 4


def test_a_part_that_few_graphs_have() -> None:
    """It breaks a claim where all planned graphs were compared; else the page names it, and how many were compared."""
    parts = {"output": {"Tensor": [60, 60], "int": [4, 0]}, "compile": BUILT}
    whole, small = run_of(GRAPHS, parts=parts), run_of(60, parts=parts)
    assert broken_claims("2.15", whole) == ["PyTorch 2.15: output: int was drawn 4 times"]
    assert broken_claims("2.15", small) == []
    assert (
        "- PyTorch 2.15: 60 of 2,000 planned graphs were compared. Each part is in at least 20, "
        "but for these: output `int` 4.\n"
    ) in page({"2.15": small})
    assert "- PyTorch 2.15: 2,000 graphs were compared. Each part is in at least 20.\n" in page(
        {"2.15": run_of(GRAPHS)}
    )


@pytest.mark.parametrize(("series", "must"), [("2.0", False), ("2.4", True), ("2.5", False), ("2.15", True)])
def test_a_plain_proxy_that_differs_nowhere(series: str, must: bool) -> None:
    """It breaks a claim only of a series where it can differ."""
    found = run_of(GRAPHS)
    found["ways"]["plain"]["same"] = GRAPHS
    assert bool(broken_claims(series, found)) is must
    assert ("need not differ" in page({series: found})) is not must


@pytest.mark.parametrize("way", HOOKED)
def test_few_are_equal_to_eager(way: str) -> None:
    """Half of the graphs that are built and that stock compiles have to be, in every hooked way."""
    found = run_of(GRAPHS)
    found["ways"][way]["equal to eager"] = 40
    assert broken_claims("2.15", found) == []
    found["ways"][way]["equal to eager"] = 39
    assert broken_claims("2.15", found) == [f"PyTorch 2.15: {way}: 39 of 80 are equal to eager"]


@pytest.mark.parametrize(("series", "must"), [("2.0", False), ("2.4", False), ("2.5", True)])
def test_old_series_compile_fewer(series: str, must: bool) -> None:
    """A fifth is enough up to PyTorch 2.4, and half must compile later."""
    found = run_of(GRAPHS)
    found["totals"]["compiled"] = GRAPHS // 4
    assert bool(broken_claims(series, found)) is must


@pytest.fixture
def files(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """The files of a larger run and of others, in a folder of their own."""
    data, smaller = tmp_path / "docs" / "random-graphs.json", tmp_path / "build" / "random-graphs.json"
    data.parent.mkdir()
    monkeypatch.setattr(make_random_graphs, "DATA", data)
    monkeypatch.setattr(make_random_graphs, "SMALLER", smaller)
    return data, smaller


@pytest.fixture
def compiled(monkeypatch) -> Callable[[int], int]:
    """Stand in for what compiles: every graph is as in stock."""
    answer = {
        **dict.fromkeys(("code", "strides", "guards"), ()),
        "error": None, "fallbacks": ["op"], "texts": 1, "cut": 1,
    }  # fmt: skip

    def outcome(graph: Any, *names: str) -> ways.Outcome:
        return ways.Outcome(dict.fromkeys(names, answer), {}, [], {}, {})

    @contextlib.contextmanager
    def processes() -> Iterator[Any]:
        yield SimpleNamespace(torch="2.15.0", subgraphs=["cond"], outcome=outcome)

    monkeypatch.setattr(ways, "processes", processes)
    return measure


@pytest.mark.parametrize("known", [None, 9, 301])
def test_a_smaller_run_is_no_evidence(files, compiled, capsys, known: int | None) -> None:
    """It is written elsewhere, with a page of its own, and says where, whatever is known of its series."""
    data, smaller = files
    before = json.dumps({"2.15": run_of(known)} if known else {})
    data.write_text(before)
    compiled(10)
    assert data.read_text() == before
    assert json.loads(smaller.read_text())["2.15"]["graphs"] == 11
    assert "11 of 2,000 planned" in smaller.with_suffix(".md").read_text()
    assert f"in {smaller}" in capsys.readouterr().out


def test_a_whole_run_is_evidence(files, compiled, monkeypatch) -> None:
    """It is written where the last one was, once it has ended, beside what other series have there."""
    data, smaller = files
    monkeypatch.setattr(make_random_graphs, "GRAPHS", 60)
    data.write_text(json.dumps({"2.15": run_of(9), "2.4": run_of(5)}))
    compiled(60)
    found = json.loads(data.read_text())
    assert {series: run["graphs"] for series, run in found.items()} == {"2.15": 61, "2.4": 5}
    assert json.loads(smaller.read_text())["2.15"]["graphs"] < 61
