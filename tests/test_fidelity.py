"""The compiled result is what stock PyTorch makes: code, strides, constraints, guards, errors.

Each way of compiling runs all cases in one fresh process (fidelity_worker.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache as cached
from pathlib import Path
from typing import Any

import pytest
from installed import DEMO_IS_EQUAL, RELEASE, SERIES

from lowering_hooks.cli.compile_process import WORKER_FOLDER

TESTS = Path(__file__).parent

# Kept in step with the worker by test_every_case_is_compared.
FEEDS = [
    "transposed",
    "transposed_result",
    "permuted",
    "permuted_back",
    "expanded",
    "padded",
    "padded_rows",
    "sliced",
    "sliced_input",
    "channels_last",
    "channels_last_permute",
    "reduced",
    "reduced_keepdim",
    "layer_norm",
    "softmax",
    "concatenated",
]
STRIDES = [f"strides_{feed}" for feed in FEEDS]
RESULTS = [
    "demo",
    "mutable",
    "multiple_outputs",
    "arguments",
    "dynamic_shapes",
    "training",
    "decomposition",
    "subgraph",
    "own_lowering",
]
# With CI set, Inductor refuses a fallback of an op that has a decomposition; 2.0 does not look at it.
IN_CI, FIRST_TO_ASK_FOR_CI = "decomposition_in_ci", (2, 1)
ERRORS = ["no_implicit_fallbacks", "no_implicit_fallbacks_decomposition", "failing_lowering"]

# What stock cannot compile, up to which series, and why.
REFUSED = {
    "mutable": ((2, 2), "functionalization has no way with mutable custom ops"),
    "multiple_outputs": ((2, 0), "a list among the outputs is no IR node"),
    "subgraph": ((2, 2), "torch.cond, if there is one, has no lowering"),
}

MODES = ("stock", "hooked", "bounded_ir", "cut", "set_proxy", "plain")

Cases = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def cases(run, record, tmp_path_factory) -> Iterator[Cases]:
    folder = tmp_path_factory.mktemp("fidelity")

    @cached
    def compiled(mode: str) -> dict[str, Any]:
        output = folder / f"{mode}.json"
        detail = "graph" if mode == "bounded_ir" else "args"
        run(TESTS / "fidelity_worker.py", mode, str(output), str(WORKER_FOLDER), LOWERING_HOOKS_DETAIL=detail)
        return json.loads(output.read_text())["cases"]

    yield compiled
    if compiled.cache_info().currsize == len(MODES):
        record("fidelity", summary(compiled))


def summary(cases: Cases) -> dict[str, int]:
    """Count what the compatibility table shows."""
    stock = cases("stock")
    made = [name for name, case in stock.items() if case["code"]]

    def changed(mode: str) -> int:
        """Return how many tensors reach their kernel with other strides than in stock."""
        pairs = [(stock[name]["strides"], cases(mode)[name]["strides"]) for name in made]
        assert all(len(a) == len(b) for a, b in pairs)
        return sum(x != y for a, b in pairs for x, y in zip(a, b, strict=True))

    return {
        "cases": len(made),
        "cases_identical": sum(
            written(cases("hooked")[n]["code"]) == written(stock[n]["code"]) for n in made
        ),
        "tensors": sum(len(stock[name]["strides"]) for name in made),
        "changed_by_plain_set_proxy": changed("plain"),
        "changed_by_set_proxy": changed("set_proxy"),
        "changed_by_call_function": changed("hooked"),
    }


def written(code: list[str]) -> list[str]:
    """Return ``code`` with the names sorted that stock writes into a comment in no order.

    Those of a kernel that spans subgraphs, seen to change from process to process on 2.5 and 2.6.
    """

    def in_order(comment: re.Match[str]) -> str:
        return re.sub(r"\[(.*?)\]", lambda m: str(sorted(m[1].split(", "))), comment[0])

    return [re.sub(r"# Unsorted Source Nodes: .*", in_order, source) for source in code]


def compiled_by_stock(name: str) -> None:
    last, why = REFUSED.get(name, ((0, 0), ""))
    if last >= SERIES:
        pytest.skip(f"stock refuses it on this series: {why}")


def test_every_case_is_compared(cases) -> None:
    """Each way of compiling runs every case, and none fails but those that stock refuses."""
    expected = {*STRIDES, *RESULTS, *ERRORS, IN_CI}
    if SERIES < (2, 2):
        expected.remove("subgraph")  # there is no torch.cond
    for mode in MODES:
        assert set(cases(mode)) == expected
        assert {name: case["broken"] for name, case in cases(mode).items() if "broken" in case} == {}
        errors = {n for n, case in cases(mode).items() if case["error"] and n not in (*ERRORS, IN_CI)}
        assert errors == {name for name, (last, _) in REFUSED.items() if last >= SERIES} & expected


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(cases, name: str) -> None:
    """A model that stock refuses is refused with the same error."""
    if REFUSED[name][0] < SERIES:
        pytest.skip("stock compiles it on this series, and the code is compared")
    if name not in cases("stock"):
        pytest.skip("there is no torch.cond before 2.2")
    stock, hooked = cases("stock")[name], cases("hooked")[name]
    assert hooked["error"] == stock["error"]
    assert hooked["message"].split("\n")[:2] == stock["message"].split("\n")[:2]


@pytest.mark.parametrize("mode", ["hooked", "bounded_ir", "cut"])
@pytest.mark.parametrize("name", STRIDES + RESULTS)
def test_generated_code(cases, name: str, mode: str) -> None:
    """Generated code, constraints, guards, strides and results are identical to stock's."""
    compiled_by_stock(name)
    stock, hooked = cases("stock")[name], cases(mode)[name]
    assert stock["code"], "stock generated no code: there is nothing to compare"
    assert written(hooked["code"]) == written(stock["code"])
    assert hooked["constraints"] == stock["constraints"]
    assert hooked["guards"] == stock["guards"]
    assert hooked["strides"] == stock["strides"]
    assert hooked["equal"] is stock["equal"] is (name != "demo" or DEMO_IS_EQUAL)


@pytest.mark.parametrize("mode", ["hooked", "bounded_ir", "cut"])
@pytest.mark.parametrize("name", ERRORS)
def test_errors(cases, name: str, mode: str) -> None:
    """An error is the one that stock raises."""
    stock, hooked = cases("stock")[name], cases(mode)[name]
    assert stock["error"]
    assert hooked["error"] == stock["error"]
    assert hooked["message"].split("\n")[:2] == stock["message"].split("\n")[:2]
    # At most 300 characters of a text are left whole in that mode, and 2.0 writes less for this one.
    if mode != "cut":
        assert "args[0]: Pointwise(dtype=torch.float32, size=[5, 7], device=cpu" in hooked["message"]


@pytest.mark.parametrize("mode", ["hooked", "bounded_ir", "cut", "set_proxy"])
def test_in_ci(cases, mode: str) -> None:
    """What Inductor refuses with CI set is refused alike, under a forced set proxy as well."""
    stock, hooked = cases("stock")[IN_CI], cases(mode)[IN_CI]
    assert (stock["error"] is None) is (SERIES < FIRST_TO_ASK_FOR_CI)
    assert hooked["error"] == stock["error"]
    assert hooked.get("message", "").split("\n")[:2] == stock.get("message", "").split("\n")[:2]
    assert hooked["strides"] == stock["strides"]


@pytest.mark.parametrize("name", STRIDES + RESULTS)
def test_strides_under_a_set_proxy(cases, name: str) -> None:
    """Under a forced set proxy, kernels see the strides of stock."""
    compiled_by_stock(name)
    stock, proxied = cases("stock")[name], cases("set_proxy")[name]
    assert stock["strides"] or name == "own_lowering"
    assert proxied["strides"] == stock["strides"]
    assert proxied["constraints"] == stock["constraints"]
    assert proxied["equal"] is stock["equal"]
    # An op with a decomposition takes Inductor's own way, text included; so do ops with this tag where it cannot
    # keep their strides.
    refused = ["decomposable.default", *["_fixed.default"] * (RELEASE.layout_constraint == "on arguments")]
    assert [text for text in proxied["texts"] if not any(op in text for op in refused)] == []


@pytest.mark.parametrize("name", ERRORS)
def test_errors_under_a_set_proxy(cases, name: str) -> None:
    """Under a forced set proxy, an error is the one that stock raises."""
    stock, proxied = cases("stock")[name], cases("set_proxy")[name]
    assert proxied["error"] == stock["error"]


def test_a_plain_set_proxy_differs(cases) -> None:
    """The cases tell a plain set proxy from stock.

    Otherwise the tests above would pass whatever was done to the strides.
    """
    stock, plain = cases("stock"), cases("plain")
    changed = [name for name in STRIDES if plain[name]["strides"] != stock[name]["strides"]]
    if RELEASE.layout_constraint == "none":
        assert changed == []
    else:
        assert len(changed) >= 4, changed
    assert plain["demo"]["equal"] is False
    assert plain["no_implicit_fallbacks"]["error"] is None


@pytest.mark.parametrize("name", [n for n in STRIDES + RESULTS if n != "own_lowering"])
def test_the_texts_were_built_and_bounded(cases, name: str) -> None:
    """The hooked compiles above logged at INFO, so that the look at the IR is part of what was compared."""
    compiled_by_stock(name)
    texts = cases("hooked")[name]["texts"]
    assert texts
    for text in texts:
        assert text.startswith("Creating implicit fallback for:\n  target: fidelity.")
        assert len(text) < 4000


def test_the_texts_were_cut(cases) -> None:
    """In the mode that compares cut texts, most texts were cut."""
    texts = [text for case in cases("cut").values() for text in case["texts"]]
    cut = [text for text in texts if "lowering-hooks cut this text" in text]
    assert len(cut) > len(texts) / 2 > 0


def test_dynamic_shapes_has_a_guard_to_lose(cases) -> None:
    """The case of dynamic shapes has a guard that could be lost."""
    assert cases("stock")["dynamic_shapes"]["guards"]
