"""The layout constraint that an op would have had without ``set_proxy``, recorded before it is let in.

``call_function`` gives an op a layout constraint in its implicit fallback, and none where the allow list has
the op.  So what that branch would have decided is recorded beforehand, for the overload that is lowered now.
What each release decides by stands in ``compat.RELEASES``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from ..compat import LayoutConstraint, release_of
from ..inductor.modules import lowering_in_progress
from ..inductor.site import node_in_progress

_Rule = Callable[[Any], Any]

_CANNOT_BE_RECORDED: Final = object()


def _overloads(name: str) -> list[Any]:
    """Return the overloads that ``"ns::op"`` or ``"ns::op.overload"`` names; none for an unknown op."""
    torch = sys.modules["torch"]
    namespace, _, op = name.partition("::")
    op, _, overload = op.partition(".")
    packet = getattr(getattr(torch.ops, namespace), op, None)
    if packet is None:
        return []
    names = packet.overloads()
    return [getattr(packet, n) for n in names if not overload or n == overload]


def overloads_in_turn(lowering: Any, name: str) -> list[Any]:
    """Return those of the overloads that ``name`` stands for that Inductor is about to make a fallback for.

    ``call_function`` asks the allow list by a name without the overload.  The overload is the target of the
    node that is being lowered; the others' constraints are their owner's business until it is their turn.
    Where no such node is known, every overload may be meant whose owner has registered no constraint.
    """
    target = overload_in_turn(name)
    if target is not None:
        return [target]
    return [op for op in _overloads(name) if not _has_constraint(lowering, op)]


def overload_in_turn(name: Any) -> Any:
    """Return the overload that is being lowered; None where that is not one of those ``name`` stands for."""
    target = getattr(node_in_progress(lowering_in_progress()), "target", None)
    if not isinstance(name, str) or target is None:
        return None
    return target if any(op is target for op in _overloads(name)) else None


def makes_implicit_fallbacks(lowering: Any) -> bool:
    return bool(getattr(lowering.config, "implicit_fallbacks", True))


def _has_constraint(lowering: Any, op: Any) -> bool:
    # PyTorch 2.0-2.4: layout_constraints; 2.5-2.15: _maybe_layout_constraints; if missing: nothing is known.
    tables = (getattr(lowering, name, None) for name in ("_maybe_layout_constraints", "layout_constraints"))
    return any(isinstance(table, dict) and op in table for table in tables)


def record_layout_constraints(lowering: Any, ops: list[Any]) -> bool:
    """Record the layout constraints of ``ops``, of all or of none, and return whether they could be."""
    constraint_of = _layout_rule(lowering)
    if constraint_of is None:
        return True  # said once, when the hook was made
    constraints = [constraint_of(op) for op in ops]
    if _CANNOT_BE_RECORDED in constraints:
        return False
    for op, constraint in zip(ops, constraints, strict=True):
        if constraint is not None:
            lowering.add_layout_constraint(op, constraint)
    return True


def _layout_rule(lowering: Any) -> _Rule | None:
    """Return the function that gives an op the layout constraint of its implicit fallback.

    The constraint is None where the op is to have none.  What each release does stands in
    ``compat.RELEASES``.  None is returned where it is not known.
    """
    if not hasattr(lowering, "add_layout_constraint"):  # seen in 2.0.0 to 2.15.0
        return None
    # What 2.8 to 2.15 decide by, in torch._library.utils and torch._inductor.lowering.
    utils = sys.modules.get("torch._library.utils")
    tag_of = getattr(utils, "get_layout_constraint_tag", None)
    constraint_of = getattr(lowering, "tag_to_layout_constraint", None)
    if tag_of is not None and constraint_of is not None:
        return lambda op: constraint_of(tag_of(op, with_default=True))

    kind = _decided_by()
    if kind == "none":
        return lambda op: None
    if kind == "on arguments":
        return lambda op: _CANNOT_BE_RECORDED if _is_tagged(op, "needs_fixed_stride_order") else None
    if kind == "tag":
        return lambda op: _constraint_by_tag(lowering, op, None)
    if kind == "tag or contiguous":
        return lambda op: _constraint_by_tag(lowering, op, lowering.require_contiguous)
    return None


def _decided_by() -> LayoutConstraint | None:
    """Return what the table says of the loaded PyTorch."""
    release = release_of(str(sys.modules["torch"].__version__))
    return None if release is None else release.layout_constraint


def _constraint_by_tag(lowering: Any, op: Any, default: Any) -> Any:
    if _is_tagged(op, "needs_fixed_stride_order"):
        return lowering.constrain_to_fx_strides
    return None if _is_tagged(op, "flexible_layout") else default


def _is_tagged(op: Any, tag: str) -> bool:
    return getattr(sys.modules["torch"].Tag, tag) in op.tags


def caveat(lowering: Any) -> str:
    """Say what the strategy cannot do on this PyTorch; empty where there is nothing to say."""
    if _layout_rule(lowering) is None:
        return (
            "this PyTorch has no known way to record a layout constraint beforehand, so the kernels of "
            "allowed ops may be handed other strides than without lowering-hooks"
        )
    if _decided_by() == "on arguments":
        return (
            "on this PyTorch the strides of ops tagged needs_fixed_stride_order can only be kept by "
            "Inductor's own, possibly slow, way, which they take"
        )
    return ""
