"""The place in the model: the innermost frame that is not PyTorch's own, read from the end of a trace."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest
import torch
from stand_in import purge

from lowering_hooks.inductor.modules import lowering_in_progress
from lowering_hooks.inductor.site import NOWHERE, site_of, source_of

TORCH = str(Path(torch.__file__).parent)
COLLECTIVES = f"{TORCH}/distributed/_functional_collectives.py"
BESIDE = f"{Path(TORCH).parent}/torchvision/ops/boxes.py"


def traced(*frames: str) -> types.SimpleNamespace:
    """Return a node whose trace has a frame for each ``file:line``, the outermost first."""
    lines = [
        '  File "{}", line {}, in forward\n    x = f(x)\n'.format(*frame.rsplit(":", 1)) for frame in frames
    ]
    return types.SimpleNamespace(meta={"stack_trace": "".join(lines)})


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        (["/m/run.py:1", "/m/model.py:7"], "/m/model.py:7"),
        (["/m/run.py:1", "/m/model.py:7", f"{COLLECTIVES}:142"], "/m/model.py:7"),
        (["/m/model.py:7", f"{TORCH}/nn/modules/module.py:1", "/m/layer.py:3", f"{COLLECTIVES}:1"], "/m/layer.py:3"),
        ([f"{TORCH}/a.py:1", f"{COLLECTIVES}:142"], f"{COLLECTIVES}:142"),
        (["/m/model.py:7", f"{BESIDE}:5"], f"{BESIDE}:5"),
        (["/m/torch/model.py:7", f"{COLLECTIVES}:1"], "/m/torch/model.py:7"),
        (["<string>:3", f"{COLLECTIVES}:1"], "<string>:3"),
        ([], None),
    ],
)  # fmt: skip
def test_the_place(frames, place) -> None:
    """The place is the innermost frame outside of PyTorch, where there is one."""
    assert source_of(traced(*frames)) == place


def test_a_node_that_breaks() -> None:
    """Nothing is known of a node that does not tell its target."""

    class Node:
        @property
        def target(self) -> object:
            raise RuntimeError("no target")

    assert site_of(types.SimpleNamespace(current_node=Node()), "target") == NOWHERE


def test_outside_of_a_compile(stand) -> None:
    """Nothing is being lowered where nothing tells what is."""
    stand.virtualized.V.graph = graph = object()
    assert lowering_in_progress() is graph
    purge("torch._inductor.virtualized")
    assert lowering_in_progress() is None


def test_long_traces() -> None:
    """The search finds the model behind many frames of PyTorch, and at the end of a long trace."""
    many = [f"{TORCH}/nn/modules/module.py:{i}" for i in range(200)]
    assert source_of(traced("/m/model.py:7", *many)) == "/m/model.py:7"
    assert source_of(traced(*["/m/run.py:1"] * 50_000, "/m/model.py:7")) == "/m/model.py:7"


def test_time() -> None:
    """The time of the search does not grow with what comes before the frame."""
    node = traced(*[f"{TORCH}/a.py:1"] * 200_000)
    start = time.perf_counter()
    assert source_of(node) == f"{TORCH}/a.py:1"
    assert time.perf_counter() - start < 0.1  # some 2,000 frames; all of them take a second
    hostile = types.SimpleNamespace(meta={"stack_trace": 'File "' * 1_000_000})
    start = time.perf_counter()
    assert source_of(hostile) is None
    assert time.perf_counter() - start < 0.5


class Unreadable:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        return "unreadable"


@pytest.mark.parametrize(
    "loaded", [Unreadable(), types.SimpleNamespace(), types.SimpleNamespace(__file__=None), None], ids=repr
)
def test_without_a_known_torch(monkeypatch, loaded) -> None:
    """The place is the innermost frame where the folder of PyTorch is not known."""
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "torch", loaded)
        places = source_of(traced("/m/model.py:7", f"{COLLECTIVES}:1")), source_of(traced())
    assert places == (f"{COLLECTIVES}:1", None)


@pytest.mark.parametrize(
    "node", [None, Unreadable(), types.SimpleNamespace(meta={"stack_trace": 3})], ids=repr
)
def test_no_node(node) -> None:
    """An object that is no node has no place."""
    assert source_of(node) is None
