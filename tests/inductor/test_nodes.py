"""Nodes are read as they are stored, whatever keeps them: on a stand-in for Inductor."""

from __future__ import annotations

from typing import Any

from stand_in import purge

from lowering_hooks.inductor.nodes import fields, held, ir_in, is_ir_class, unboxed


class Slotted:
    """An object without a ``__dict__``, as a dataclass with slots makes them."""

    __slots__ = ("first", "second")


def test_slots() -> None:
    """A field in a slot is read like any other, and one that is not set counts as none."""
    value: Any = Slotted()
    value.second = 2
    assert fields(value) == {"second": 2}
    assert (held(value, "first"), held(value, "second"), held(value, "third")) == (None, 2, None)


def test_a_dict_beside_slots() -> None:
    """A class may add a ``__dict__`` to the slots of its base, and hide a slot by its own of that name."""

    class Both(Slotted):
        pass

    class Hidden(Slotted):
        __slots__ = ("second",)

    both: Any = Both()
    both.first, both.third = 1, 3
    assert fields(both) == {"third": 3, "first": 1}
    hidden: Any = Hidden()
    Slotted.second.__set__(hidden, "of the base")  # type: ignore[attr-defined]
    assert held(hidden, "second") == fields(hidden)["second"] == "of the base"
    hidden.second = "its own"
    assert held(hidden, "second") == fields(hidden)["second"] == "its own"


def box(root: type, data: object) -> Any:
    node = type("TensorBox", (root,), {})()
    node.data = data
    return node


def test_boxes(stand) -> None:
    """Boxes say nothing, but for one that holds no node, and where they have no end."""
    node = stand.ir.IRNode()
    assert unboxed(box(stand.ir.IRNode, box(stand.ir.IRNode, node))) is node
    empty = box(stand.ir.IRNode, None)
    assert unboxed(box(stand.ir.IRNode, empty)) is empty
    endless = box(stand.ir.IRNode, None)
    endless.data = endless
    assert unboxed(endless) is endless


def test_a_cell_that_is_still_empty(stand) -> None:
    """A closure is searched past a variable that is assigned later."""
    node = stand.ir.IRNode()

    def reads() -> object:
        return later, node

    assert ir_in([reads]) == [node]
    later = None
    assert ir_in([reads]) == [node]


def test_without_ir(stand) -> None:
    """No class is one of IR where the module of IR is gone."""
    root = stand.ir.IRNode
    assert is_ir_class(type("One", (root,), {}))
    purge("torch._inductor.ir")
    assert not is_ir_class(type("Another", (root,), {}))
