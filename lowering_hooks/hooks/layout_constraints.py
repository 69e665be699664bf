"""Records the layout constraint that an op would have had without ``set_proxy``, before the op is admitted.

``call_function`` gives an op a layout constraint in its implicit fallback, and none where the allow list has
the op.  So ``set_proxy`` records beforehand what that branch would have decided, for the overload that is
being lowered.  ``compat.RELEASES`` says what each release decides by.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, TypeAlias

from ..compat import LayoutConstraint, release_of
from ..inductor.modules import lowering_in_progress
from ..inductor.objects import Foreign, Op, TorchModule
from ..inductor.site import node_in_progress

# Returns the constraint of an op, which Inductor calls with the FX node and the arguments; None for none.
_Rule: TypeAlias = Callable[[Op], Foreign]

# A rule returns this for an op whose constraint cannot be recorded beforehand.
_CANNOT_BE_RECORDED: Final = object()


def makes_implicit_fallbacks(lowering: TorchModule) -> bool:
    """Whether Inductor makes a fallback of an op without a lowering, in place of an error."""
    # PyTorch 2.0-2.15: config.implicit_fallbacks, True by default; if missing: that default.
    return bool(getattr(lowering.config, "implicit_fallbacks", True))


def has_decomposition(lowering: TorchModule, op: Op) -> bool:
    """Whether Inductor knows a decomposition of ``op``.

    An implicit fallback of such an op may end in an error, where the allow list's branch never asks: if the
    op is in the table of decompositions, and, with the environment variable CI set, if there is one at all
    (``torch/_inductor/lowering.py``, ``make_fallback``).
    """
    # PyTorch 2.0-2.15: these two names of lowering; if missing: make_fallback cannot ask them either.
    decompositions = getattr(lowering, "decompositions", ())
    get_decompositions = getattr(lowering, "get_decompositions", None)
    return op in decompositions or (get_decompositions is not None and bool(get_decompositions([op])))


def overload_in_turn(name: object) -> Op:
    """Return the overload that is being lowered; None where ``name`` does not stand for it."""
    target = getattr(node_in_progress(lowering_in_progress()), "target", None)
    if not isinstance(name, str) or target is None:
        return None
    return target if any(op is target for op in _overloads(name)) else None


def overloads_in_turn(lowering: TorchModule, name: str) -> list[Op]:
    """Return those of the overloads that ``name`` stands for that Inductor is about to make a fallback for.

    ``call_function`` asks the allow list by a name without the overload.  The overload is the target of the
    node that is being lowered; the others keep whatever constraint they have until it is their turn.  Where
    no such node is known, the answer is every overload that has no constraint registered.
    """
    target = overload_in_turn(name)
    if target is not None:
        return [target]
    return [op for op in _overloads(name) if not _has_constraint(lowering, op)]


def _overloads(name: str) -> list[Op]:
    """Return the overloads that ``"ns::op"`` or ``"ns::op.overload"`` names; none for an unknown op."""
    torch: TorchModule = sys.modules["torch"]
    namespace, _, op = name.partition("::")
    op, _, overload = op.partition(".")
    packet = getattr(getattr(torch.ops, namespace), op, None)
    if packet is None:
        return []
    return [getattr(packet, known) for known in packet.overloads() if not overload or known == overload]


def _has_constraint(lowering: TorchModule, op: Op) -> bool:
    # PyTorch 2.0-2.4: layout_constraints; 2.5-2.15: _maybe_layout_constraints; if missing: op counts as free.
    tables = (getattr(lowering, name, None) for name in ("_maybe_layout_constraints", "layout_constraints"))
    return any(isinstance(table, dict) and op in table for table in tables)


def record_layout_constraints(lowering: TorchModule, ops: list[Op]) -> bool:
    """Record the layout constraints of ``ops``, of all or of none, and return whether they could be."""
    constraint_of = _layout_rule(lowering)
    if constraint_of is None:
        return True  # the caveat of the hook has said so
    constraints = [constraint_of(op) for op in ops]
    if _CANNOT_BE_RECORDED in constraints:
        return False
    for op, constraint in zip(ops, constraints, strict=True):
        if constraint is not None:
            lowering.add_layout_constraint(op, constraint)
    return True


def _layout_rule(lowering: TorchModule) -> _Rule | None:
    """Return the rule by which the implicit fallback decides; None where this PyTorch's is not known."""
    # PyTorch 2.0-2.15: lowering.add_layout_constraint; if missing: nothing can be recorded.
    if not hasattr(lowering, "add_layout_constraint"):
        return None
    # PyTorch 2.8-2.15: these two functions decide; if missing: the table of releases says what does.
    utils = sys.modules.get("torch._library.utils")
    tag_of = getattr(utils, "get_layout_constraint_tag", None)
    constraint_of = getattr(lowering, "tag_to_layout_constraint", None)
    if tag_of is not None and constraint_of is not None:
        return lambda op: constraint_of(tag_of(op, with_default=True))
    rules: dict[LayoutConstraint | None, _Rule] = {
        "none": lambda _op: None,
        "on arguments": _unless_tagged,
        "tag": lambda op: _constraint_by_tag(lowering, op, None),
        "tag or contiguous": lambda op: _constraint_by_tag(lowering, op, lowering.require_contiguous),
    }
    return rules.get(_decides_by())


def _decides_by() -> LayoutConstraint | None:
    """Return what the table of releases says of the loaded PyTorch; None where it has no row."""
    torch: TorchModule = sys.modules["torch"]
    release = release_of(str(torch.__version__))
    return None if release is None else release.layout_constraint


def _unless_tagged(op: Op) -> object:
    return _CANNOT_BE_RECORDED if _is_tagged(op, "needs_fixed_stride_order") else None


def _constraint_by_tag(lowering: TorchModule, op: Op, default: Foreign) -> Foreign:
    if _is_tagged(op, "needs_fixed_stride_order"):
        return lowering.constrain_to_fx_strides
    return None if _is_tagged(op, "flexible_layout") else default


def _is_tagged(op: Op, tag: str) -> bool:
    torch: TorchModule = sys.modules["torch"]
    return getattr(torch.Tag, tag) in op.tags


def caveat(lowering: TorchModule) -> str:
    """Say what the strategy cannot do on this PyTorch; empty where there is nothing to say."""
    if _layout_rule(lowering) is None:
        return (
            "this PyTorch has no known way to record a layout constraint beforehand, so the kernels of "
            "allowed ops may be handed other strides than without lowering-hooks"
        )
    if _decides_by() == "on arguments":
        return (
            "on this PyTorch the strides of ops tagged needs_fixed_stride_order can only be kept by "
            "Inductor's own, possibly slow, way, which they take"
        )
    return ""
