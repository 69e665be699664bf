"""Which layout constraint is recorded beforehand, on a stand-in for Inductor; test_set_proxy.py has PyTorch's own."""

from __future__ import annotations

import types

import pytest

from lowering_hooks.hooks.layout_constraints import (
    caveat,
    has_decomposition,
    makes_implicit_fallbacks,
    overload_in_turn,
    overloads_in_turn,
    record_layout_constraints,
)


@pytest.fixture
def op(stand):
    return stand.torch.ops.lib.op.default


def lower(stand, target) -> None:
    """Have a node with this target be the one that is lowered now."""
    node = types.SimpleNamespace(target=target, name="node", meta={})
    stand.virtualized.V.graph = types.SimpleNamespace(current_node=node)


def recorded(stand) -> dict[object, object]:
    return dict(stand.lowering._maybe_layout_constraints)


def test_implicit_fallbacks(stand) -> None:
    """They are made unless the configuration says otherwise."""
    assert makes_implicit_fallbacks(stand.lowering) is True
    stand.lowering.config.implicit_fallbacks = False
    assert makes_implicit_fallbacks(stand.lowering) is False
    del stand.lowering.config.implicit_fallbacks
    assert makes_implicit_fallbacks(stand.lowering) is True


def test_a_decomposition(op) -> None:
    """It is in Inductor's table, or PyTorch has one; a lowering without either name knows none."""
    known = types.SimpleNamespace(decompositions={op: None}, get_decompositions=lambda ops: {})
    assert has_decomposition(known, op) is True
    known.decompositions = {}
    assert has_decomposition(known, op) is False
    known.get_decompositions = dict.fromkeys
    assert has_decomposition(known, op) is True
    assert has_decomposition(types.SimpleNamespace(), op) is False


def test_the_overload_in_turn(stand, op) -> None:
    """It is the target of the node that is lowered, if the name stands for it."""
    assert overload_in_turn("lib::op") is None, "nothing is lowered"
    lower(stand, op)
    assert overload_in_turn("lib::op") is op
    assert overload_in_turn("lib::op.default") is op
    for other in ("lib::op.out", "lib::other", "other::op", None, 3):
        assert overload_in_turn(other) is None
    lower(stand, None)
    assert overload_in_turn("lib::op") is None


def test_the_overloads_in_turn(stand, op) -> None:
    """Where the node is not known, they are those that have no constraint of their own."""
    packet = stand.torch.ops.lib.op
    packet.out = stand._ops.OpOverload("lib::op.out")
    packet.overloads = lambda: ["default", "out"]
    assert overloads_in_turn(stand.lowering, "lib::op") == [op, packet.out]
    assert overloads_in_turn(stand.lowering, "lib::op.out") == [packet.out]
    stand.lowering._maybe_layout_constraints[op] = None
    assert overloads_in_turn(stand.lowering, "lib::op") == [packet.out]
    stand.lowering.layout_constraints = {packet.out: "before 2.5"}
    assert overloads_in_turn(stand.lowering, "lib::op") == []
    lower(stand, op)
    assert overloads_in_turn(stand.lowering, "lib::op") == [op]
    stand.torch.ops.lib.unknown = None
    assert overloads_in_turn(stand.lowering, "lib::unknown") == []


def test_by_inductors_own_functions(stand, op) -> None:
    """The tag that an op without one counts as having is asked for."""
    stand.utils.get_layout_constraint_tag = lambda op, with_default=False: f"default {with_default}"
    assert record_layout_constraints(stand.lowering, [op]) is True
    assert recorded(stand) == {op: "constraint for default True"}
    assert caveat(stand.lowering) == ""


FIXED, FLEXIBLE, BOTH = {"fixed"}, {"flexible"}, {"fixed", "flexible"}
REFUSED = object()


@pytest.mark.parametrize("missing", ["lowering", "utils"])
@pytest.mark.parametrize(
    ("version", "tags", "constraint"),
    [
        ("2.7.1", set(), None),
        ("2.7.1", FIXED, "strides"),
        ("2.7.1", FLEXIBLE, None),
        ("2.7.1", BOTH, "strides"),
        ("2.6.0", set(), "contiguous"),
        ("2.6.0", FIXED, "strides"),
        ("2.6.0", FLEXIBLE, None),
        ("2.4.1", set(), None),
        ("2.4.1", FIXED, REFUSED),
        ("2.4.1", FLEXIBLE, None),
        ("2.2.2", FIXED, None),
        ("2.99.0", FIXED, None),
    ],
)
def test_by_the_table(stand, op, version, tags, constraint, missing) -> None:
    """Without those functions the table of releases says what is recorded."""
    if missing == "lowering":
        del stand.lowering.tag_to_layout_constraint
    else:
        del stand.utils.get_layout_constraint_tag
    stand.lowering.constrain_to_fx_strides, stand.lowering.require_contiguous = "strides", "contiguous"
    stand.torch.__version__ = version
    stand.torch.Tag = types.SimpleNamespace(needs_fixed_stride_order="fixed", flexible_layout="flexible")
    other = stand._ops.OpOverload("lib::other")
    op.tags, other.tags = tags, set()
    assert record_layout_constraints(stand.lowering, [other, op]) is (constraint is not REFUSED)
    assert recorded(stand).get(op) == (None if constraint is REFUSED else constraint)
    if constraint is REFUSED:
        assert recorded(stand) == {}, "of all or of none"
    told = caveat(stand.lowering)
    assert told.startswith("this PyTorch has no known way") is (version == "2.99.0")
    assert told.startswith("on this PyTorch the strides of ops tagged") is (version == "2.4.1")
    assert bool(told) is (version in ("2.4.1", "2.99.0"))


def test_without_a_way_to_record_one(stand, op) -> None:
    """It is told once, by the caveat, and the op is admitted."""
    del stand.lowering.add_layout_constraint
    assert record_layout_constraints(stand.lowering, [op]) is True
    assert recorded(stand) == {}
    assert "may be handed other strides" in caveat(stand.lowering)
