"""What is compared downstream is compared: a difference is found, and makes a claim fail."""

from __future__ import annotations

import copy
import sys
from functools import cache as cached
from pathlib import Path
from traceback import FrameSummary
from typing import Any

import pytest
from installed import RELEASE

TESTS = Path(__file__).parent
DOWNSTREAM = TESTS.parent / "downstream"
sys.path[:0] = [str(DOWNSTREAM), str(DOWNSTREAM / "pytorch")]

from compiling import _place, _places, differences, run_worker
from runs import PLAIN, WAYS, Found
from verify import summary, verdicts


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Compile the mirrors of ``mirror_worker.py`` in a mode, each in a process of its own."""
    folder = tmp_path_factory.mktemp("mirrors")

    @cached
    def compiled(mode: str, *arguments: str) -> dict[str, Any]:
        worker = TESTS / "mirror_worker.py"
        ended = run_worker(worker, mode, folder / mode, 600, str(DOWNSTREAM), *arguments)
        assert len(ended.lines) == 1, ended.errors
        return ended.lines[0]

    return compiled


def test_stock_compiles_mirrors(seen) -> None:
    """There is something to compare: the mirrors fall back, and their kernels are handed tensors."""
    stock = seen("stock")
    assert stock["error"] is None, stock["message"]
    assert stock["mirrors"] == 3
    # PyTorch 2.0 runs the graph once before it compiles it.
    assert [name for name, _ in stock["strides"]][-3:] == ["log", "triu", "cumsum"]
    assert all(f"mirror.{name}" in stock["code"][0] for name in ("log", "triu", "cumsum"))


@pytest.mark.parametrize("mode", ["call_function", "graph", "set_proxy", "nothing_allowed"])
def test_hooked_is_stock(seen, mode: str) -> None:
    """What is compiled with lowering-hooks does not differ from stock."""
    assert differences(seen("stock"), seen(mode)) == []


@pytest.mark.parametrize(("mode", "logs"), [("stock", False), ("graph", True), ("nothing_allowed", True)])
def test_texts_are_written(seen, mode: str, logs: bool) -> None:
    """In two of the modes Inductor's logs are written, so that looking at the IR is part of what is compared."""
    assert (seen(mode)["logged"] > 1000) is logs


def test_a_plain_set_proxy_is_found(seen) -> None:
    """A plain set proxy loses the layout constraints, and the comparison says so."""
    found = differences(seen("stock"), seen("stock", "plain"))
    assert (found != []) is (RELEASE.layout_constraint != "none"), found


# An eighth of the operators must make 625 graphs; these are a few more.
GRAPHS = 630


def test_the_place_of_an_error(monkeypatch) -> None:
    """An error in generated code is the same in two processes, whose files have other names."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/cache/a")
    assert _place(FrameSummary("/cache/a/cw/cwvjoo.py", 7, "call")) == "generated code:call"
    assert _place(FrameSummary("/torch/_inductor/graph.py", 7, "run")) == "graph.py:run"


def test_the_places_of_an_error() -> None:
    """An error that was raised from another has the places of both, each once."""

    def deep(levels: int) -> None:
        if levels == 0:
            raise RecursionError
        deep(levels - 1)

    def wrap() -> None:
        try:
            deep(3)
        except RecursionError as error:
            raise ValueError from error

    with pytest.raises(ValueError) as raised:  # noqa: PT011
        wrap()
    assert _places(raised.value)[-2:] == ["test_downstream.py:wrap", "test_downstream.py:deep"]


def compiles() -> dict[str, Any]:
    """Return what a worker might have seen of many compiles."""
    one = {
        "code": ["a1"], "guards": [], "strides": [["log", [1]]], "constraints": {}, "warnings": [], "error": None,
        "message": "", "whole_message": "m1", "is_cut": False, "equal": None, "fallbacks": ["mirror.log.default"],
    }  # fmt: skip
    return {f"op_db/op{number}/float32/0/mirror": copy.deepcopy(one) for number in range(GRAPHS)}


def failing(change: Any = None, way: str = "call_function") -> list[str]:
    """Return the claims that do not hold where ``change`` was made to what one way found."""
    found = {"op_db-0": {name: Found(compiles()) for name in WAYS}}
    built = Found({name: one | {"equal": True} for name, one in compiles().items()})
    found |= {"built": dict.fromkeys(WAYS, built), PLAIN: {"stock": Found(compiles()), PLAIN: Found()}}
    if change is not None:
        change(found["op_db-0"][way], "op_db/op7/float32/0/mirror")
    told = verdicts("2.15", {"every": 8, **summary(found)})
    return [claim for claim, holds, _ in told if not holds]


def set_to(field: str, value: Any) -> Any:
    def change(found: Found, name: str) -> None:
        found.seen[name][field] = value

    return change


def lose(found: Found, name: str) -> None:
    del found.seen[name]
    found.lost[name] = "status -11"


def test_claims_hold() -> None:
    """Where nothing differs, every claim holds."""
    assert failing() == []


@pytest.mark.parametrize(
    "change",
    [
        set_to("code", ["a2"]),
        set_to("guards", ["s0 > 2"]),
        set_to("strides", [["log", [2]]]),
        set_to("constraints", {"mirror.log.default": "require_contiguous"}),
        set_to("warnings", ["UserWarning: new"]),
        set_to("error", ["RuntimeError", "graph.py:call_function"]),
        set_to("message", "other"),
        set_to("fallbacks", []),
        lose,
    ],
)
@pytest.mark.parametrize("way", ["call_function", "graph", "set_proxy", "nothing_allowed"])
def test_a_difference_fails(change: Any, way: str) -> None:
    """A single difference in a single compile makes the claim of its way fail, and no other."""
    assert failing(change, way) == [f"`{way}`: all is as in stock"]


def test_whole_messages() -> None:
    """Where nothing is allowed, the whole message counts, unless lowering-hooks cut it."""
    other = set_to("whole_message", "m2")
    assert failing(other, "nothing_allowed") == ["`nothing_allowed`: all is as in stock"]
    assert failing(other, "call_function") == []

    def cut(found: Found, name: str) -> None:
        found.seen[name] |= {"whole_message": "m2", "is_cut": True}

    assert failing(cut, "nothing_allowed") == []


def test_what_stock_changes_is_left_out() -> None:
    """A compile that differs between two runs of stock is counted, and compared with no other way."""

    def both(found: Found, name: str) -> None:
        found.seen[name]["code"] = ["a2"]

    assert failing(both, "stock again") == []


def test_too_few_graphs() -> None:
    """Fewer graphs than promised are a failure."""
    found = {part: {name: Found(compiles()) for name in WAYS} for part in ("op_db-0", "built")}
    found[PLAIN] = {"stock": Found(), PLAIN: Found()}
    told = verdicts("2.15", {"every": 1, **summary(found)})
    assert not next(told)[1]
