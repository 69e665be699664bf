"""One node in a line, however much of it is missing or breaks: on a stand-in for Inductor."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import pytest

from lowering_hooks.describe.graph import MAX_OPERANDS, extent_text, graph_text
from lowering_hooks.describe.node import fields_of, node_text, op_of
from lowering_hooks.describe.op import operator_text, target_name
from lowering_hooks.describe.stock_size import tree_characters


class Endless(list):
    """A list that cannot be gone through."""

    def __iter__(self) -> Any:
        raise RuntimeError("no elements")


@pytest.fixture
def make(stand):
    """Make a node of a class of this name, with these fields."""

    def node(kind: str, **fields: object) -> Any:
        made = type(kind, (stand.ir.IRNode,), {})()
        vars(made).update(fields)
        return made

    return node


def test_a_node_that_cannot_be_described(make) -> None:
    """It is named by its class, alone and in a graph, and the others are described."""
    broken = make("Broken", name="buf0", layout=types.SimpleNamespace(size=Endless([1])))
    assert node_text(broken) == "<Broken>"
    user = make("User", name="buf1", inputs=[make("Input", name="arg0"), broken])
    assert [line.strip() for line in graph_text([user], {}).splitlines()[1:]] == [
        "arg0 Input()",
        "buf0 <Broken>",
        "buf1 User(from=[arg0, buf0])",
    ]


def test_an_op_known_by_name(make) -> None:
    """The kernel of a buffer, or of the buffer that it is an output of, may have no more than the op's name."""
    kernel = make("FallbackKernel", kernel="torch.ops.lib.op.default")
    assert op_of(kernel) == op_of(make("MultiOutput", inputs=[kernel])) == "lib.op.default"
    inner = make("MultiOutput", inputs=[kernel])
    assert op_of(make("MultiOutput", inputs=[inner])) is None


def test_origins_that_are_no_collection(make) -> None:
    """They are left out."""
    node = make("Buffer", origins=3)
    assert fields_of(node, node) == ""


def test_a_node_of_many_operands(make) -> None:
    """A line names some, and counts the others."""
    inputs = [make("Input", name=f"arg{i}") for i in range(MAX_OPERANDS + 3)]
    line = graph_text([make("Concat", name="buf0", inputs=inputs)], {}).splitlines()[-1]
    assert f"arg{MAX_OPERANDS - 1}, ... 3 more]" in line
    assert f"arg{MAX_OPERANDS}" not in line


def test_arguments_that_cannot_be_gone_through() -> None:
    """The text says so, or is silent where it would only count."""
    endless = Endless([1])
    assert "could not be described: no elements" in graph_text([endless], {})
    assert extent_text([endless], {}) == ""
    assert tree_characters([endless]) == 0
    assert operator_text("target", [endless], {}).splitlines()[1] == "  args[0]: <Endless>"


def test_the_size_of_a_text_of_slots(stand) -> None:
    """What a dataclass prints is counted where its fields are slots, too; of any other text nothing is sure."""
    root: Any = stand.ir.IRNode
    del root.__str__, root.__repr__

    @dataclasses.dataclass(slots=True, eq=False)
    class Slotted(root):
        inner: Any

    one, two = Slotted(None), Slotted(Slotted(None))
    assert tree_characters([root()]) == 0
    assert 0 < tree_characters([one]) <= len(repr(one))
    assert 2 * tree_characters([one]) <= tree_characters([two]) <= len(repr(two))


def test_a_target_that_is_a_function() -> None:
    """It is named with its module."""
    assert target_name(target_name) == "lowering_hooks.describe.op.target_name"
    assert target_name(len) == "builtins.len"
