"""The compiled result is what stock PyTorch makes: code, strides, constraints, guards, errors.

Each way of compiling runs all cases in one fresh process (fidelity_worker.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache as cached
from pathlib import Path
from typing import Any

import pytest

import lowering_hooks

TESTS = Path(__file__).parent
PACKAGE = Path(lowering_hooks.__file__).parent

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
ERRORS = ["no_implicit_fallbacks", "no_implicit_fallbacks_decomposition", "failing_lowering"]

Cases = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def cases(run, tmp_path_factory) -> Cases:
    folder = tmp_path_factory.mktemp("fidelity")

    @cached
    def compiled(mode: str) -> dict[str, Any]:
        output = folder / f"{mode}.json"
        run(TESTS / "fidelity_worker.py", mode, str(output), str(PACKAGE))
        return json.loads(output.read_text())["cases"]

    return compiled


def test_every_case_is_compared_and_none_is_broken(cases) -> None:
    for mode in ("stock", "hooked", "set_proxy"):
        assert sorted(cases(mode)) == sorted(STRIDES + RESULTS + ERRORS)
        assert {name: case["broken"] for name, case in cases(mode).items() if "broken" in case} == {}


@pytest.mark.parametrize("name", STRIDES + RESULTS)
def test_generated_code_is_identical_to_stock(cases, name: str) -> None:
    stock, hooked = cases("stock")[name], cases("hooked")[name]
    assert stock["code"], "stock generated no code: there is nothing to compare"
    assert hooked["code"] == stock["code"]
    assert hooked["constraints"] == stock["constraints"]
    assert hooked["guards"] == stock["guards"]
    assert hooked["strides"] == stock["strides"]
    assert hooked["equal"] is stock["equal"] is True
    assert hooked["error"] is None


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_stock(cases, name: str) -> None:
    stock, hooked = cases("stock")[name], cases("hooked")[name]
    assert stock["error"]
    assert hooked["error"] == stock["error"]
    assert hooked["message"].split("\n")[:2] == stock["message"].split("\n")[:2]
    assert "args[0]: Pointwise(dtype=torch.float32, size=[5, 7], device=cpu" in hooked["message"]


@pytest.mark.parametrize("name", STRIDES + RESULTS)
def test_under_a_forced_set_proxy_kernels_see_the_strides_of_stock(cases, name: str) -> None:
    stock, proxied = cases("stock")[name], cases("set_proxy")[name]
    assert stock["strides"] or name == "own_lowering"
    assert proxied["strides"] == stock["strides"]
    assert proxied["constraints"] == stock["constraints"]
    assert proxied["equal"] is True
    assert proxied["texts"] == []


@pytest.mark.parametrize("name", ERRORS)
def test_under_a_forced_set_proxy_errors_are_those_of_stock(cases, name: str) -> None:
    stock, proxied = cases("stock")[name], cases("set_proxy")[name]
    assert proxied["error"] == stock["error"]


def test_the_cases_tell_a_plain_set_proxy_from_stock(cases) -> None:
    """Otherwise the tests above would pass whatever was done to the strides."""
    stock, plain = cases("stock"), cases("plain")
    changed = [name for name in STRIDES if plain[name]["strides"] != stock[name]["strides"]]
    assert len(changed) >= 4, changed
    assert plain["demo"]["equal"] is False
    assert plain["no_implicit_fallbacks"]["error"] is None


@pytest.mark.parametrize("name", [n for n in STRIDES + RESULTS if n != "own_lowering"])
def test_the_texts_were_built_and_bounded(cases, name: str) -> None:
    """The hooked compiles above logged at INFO, so that the look at the IR is part of what was compared."""
    texts = cases("hooked")[name]["texts"]
    assert texts
    for text in texts:
        assert text.startswith("Creating implicit fallback for:\n  target: fidelity.")
        assert len(text) < 4000


def test_dynamic_shapes_has_a_guard_to_lose(cases) -> None:
    assert cases("stock")["dynamic_shapes"]["guards"]
