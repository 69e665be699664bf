"""The ``set_proxy`` strategy: allowed ops are let in by Inductor's allow list, strides kept.

For releases that nobody verified.  ``FALLBACK_ALLOW_LIST`` is a set of op names that ``call_function`` asks
before it builds the text, so a set that also says yes for allowed namespaces ends the hang.  But that branch
gives an op no layout constraint, and its kernel may then be handed other strides than stock would hand it.
So the constraint that the other branch would have decided on is recorded first.
"""

from __future__ import annotations

import copy
import logging
import operator
import sys
from collections.abc import Callable, Container, Iterator, MutableSet
from typing import Any, Final

from .. import namespaces
from ..compat import LayoutConstraint, release_of, set_proxy_problems
from ..compat.namespaces import PYTORCH
from ..inductor.modules import Inductor, loaded, lowering_in_progress, name_of
from ..inductor.site import NOWHERE, node_in_progress, site_of
from ..inductor.vllm import is_vllms
from ..namespaces import Namespaces
from ..records import Records
from ..replacement import Replacement
from .operator_text import OperatorText

log = logging.getLogger("lowering_hooks")

_MARK: Final = "_lowering_hooks_proxy"
_NAME: Final = "FALLBACK_ALLOW_LIST"


def _binary(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: AllowListProxy, other: Any) -> Any:
        return operation(self._inner, _inner_of(other))

    return method


def _reflected(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: AllowListProxy, other: Any) -> Any:
        return operation(other, self._inner)

    return method


def _in_place(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: AllowListProxy, other: Any) -> Any:
        self._inner = operation(self._inner, _inner_of(other))
        return self

    return method


class AllowListProxy(MutableSet[Any]):
    """A set of op names that also holds every op of the given namespaces.

    Only membership differs: ``"ns::op"`` and ``"ns::op.overload"`` are in it if ``ns`` is one of
    ``namespaces``, exactly, or if ``namespaces`` holds ``"*"``; never if ``ns`` is PyTorch's own, whose ops
    have rules of their own in that branch (``require_contiguous`` in backward).  Everything else is the inner
    set's: iteration, length, changes, set algebra, equality, copies, pickles and the attributes this class
    does not know.

    Before it says yes for an op that Inductor has no lowering for, it records the layout constraint that the
    op would have had without it (``torch/_inductor/graph.py``, the implicit fallback of ``call_function``).
    Where that cannot be done it says what the inner set says: on PyTorch 2.3 and 2.4 for ops tagged
    ``needs_fixed_stride_order``.  So it does with ``torch._inductor.config.implicit_fallbacks`` off.

    Args:
        inner: The set to stand around.  If it is such a proxy already, its inner set is taken.
        namespaces: The allowed namespaces, such as ``{"vllm"}``.  Asked at every membership test.
        on_fallback: Called when Inductor is about to make a fallback of an op that has no lowering yet: with
            the op's name, its overload (None where it is not known) and whether the op was let in.
    """

    _lowering_hooks_proxy: Final = True

    def __init__(
        self,
        inner: Any,
        namespaces: Container[str],
        on_fallback: Callable[[str, Any, bool], None] | None = None,
    ) -> None:
        self._inner = inner._inner if is_proxy(inner) else inner
        self._namespaces = namespaces
        self._on_fallback = on_fallback
        self._failed = False

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not self._covers(name):
            return name in self._inner or self._passed_over(name)
        if name in self._inner and not is_vllms(self._inner):
            return True  # the set's own entry, which stock gives no constraint
        return self._let_in(name) or name in self._inner

    def _covers(self, name: str) -> bool:
        namespace, separator, _ = name.partition("::")
        if not separator or namespace in PYTORCH:
            return False
        return namespace in self._namespaces or namespaces.EVERY in self._namespaces

    def _let_in(self, name: str) -> bool:
        lowering = sys.modules.get("torch._inductor.lowering")
        if lowering is None:
            return True
        try:
            if not _makes_implicit_fallbacks(lowering):
                return False
            unknown = [op for op in _overloads_in_turn(lowering, name) if op not in lowering.lowerings]
            if not _record_layout_constraints(lowering, unknown):
                return False
            if unknown and self._on_fallback is not None:
                self._on_fallback(name, _overload_in_turn(name), True)
        except Exception:
            # Without the constraint the kernel might read garbage.  Rather the slow way than that.
            if not self._failed:
                self._failed = True
                log.warning(
                    "the layout constraint of %s could not be recorded; it and others like it take "
                    "Inductor's own, possibly slow, way; please report this with the PyTorch version",
                    name,
                    exc_info=True,
                )
            return False
        return True

    def _passed_over(self, name: Any) -> bool:
        """Say that an op is not let in, and count it if Inductor is about to make a fallback of it."""
        try:
            lowering, op = sys.modules["torch._inductor.lowering"], _overload_in_turn(name)
            is_new = op is not None and op not in lowering.lowerings
            if is_new and self._on_fallback is not None and _makes_implicit_fallbacks(lowering):
                self._on_fallback(name, op, False)
        except Exception:
            log.debug("could not count the fallback of %s", type(name), exc_info=True)
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inner)

    def __reversed__(self) -> Iterator[Any]:
        return iter(reversed(self._inner))

    def __len__(self) -> int:
        return len(self._inner)

    def add(self, value: Any) -> None:
        self._inner.add(value)

    def discard(self, value: Any) -> None:
        self._inner.discard(value)

    def remove(self, value: Any) -> None:
        self._inner.remove(value)

    def pop(self) -> Any:
        return self._inner.pop()

    def clear(self) -> None:
        self._inner.clear()

    def isdisjoint(self, other: Any) -> bool:
        return bool(self._inner.isdisjoint(_inner_of(other)))

    def __getattr__(self, name: str) -> Any:
        # Reached for what is defined neither here nor by MutableSet: copy, union, update, ...
        if name == "_inner":  # an instance that __init__ never saw
            raise AttributeError(name)
        return getattr(self._inner, name)

    __hash__ = None  # type: ignore[assignment]
    __eq__ = _binary(operator.eq)
    __ne__ = _binary(operator.ne)
    __le__ = _binary(operator.le)
    __lt__ = _binary(operator.lt)
    __ge__ = _binary(operator.ge)
    __gt__ = _binary(operator.gt)
    __and__ = _binary(operator.and_)
    __or__ = _binary(operator.or_)
    __sub__ = _binary(operator.sub)
    __xor__ = _binary(operator.xor)
    __rand__ = _reflected(operator.and_)
    __ror__ = _reflected(operator.or_)
    __rsub__ = _reflected(operator.sub)
    __rxor__ = _reflected(operator.xor)
    __iand__ = _in_place(operator.iand)
    __ior__ = _in_place(operator.ior)
    __isub__ = _in_place(operator.isub)
    __ixor__ = _in_place(operator.ixor)

    def __copy__(self) -> Any:
        return copy.copy(self._inner)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self._inner, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._inner.__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"AllowListProxy({self._inner!r})"


def is_proxy(allow_list: Any) -> bool:
    """Whether ``allow_list`` is an :class:`AllowListProxy`, of this copy of the package or of another."""
    # On the type: somebody's proxy around ours may pass on the attributes of what it holds.
    return getattr(type(allow_list), _MARK, False) is True


class SetProxyHook:
    """Puts the proxy into both modules that hold the allow list."""

    strategy: Final = "set_proxy"

    def __init__(
        self, inductor: Inductor, allowed: Namespaces, records: Records, text: OperatorText | None
    ) -> None:
        self._allowed = allowed
        self._records = records
        self._text = text  # None where its contract is broken
        self._live = False
        found = inductor.lowering.FALLBACK_ALLOW_LIST
        proxy = AllowListProxy(found, _WhileLive(self), self._fell_back)
        self._replacements = tuple(
            Replacement(module, _NAME, proxy, proxy._inner) for module in (inductor.lowering, inductor.graph)
        )
        self.caveat = _caveat(inductor.lowering)

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        return set_proxy_problems(inductor.graph, inductor.lowering)

    def install(self) -> None:
        self._live = True
        for replacement in self._replacements:
            replacement.put()
        if self._text is not None:
            self._text.install()

    def remove(self) -> None:
        self._live = False
        for replacement in self._replacements:
            replacement.put_back()
        # A graph module that was imported anew has taken the proxy from lowering by name.
        now, of_lowering = loaded(), self._replacements[0]
        if now is not None:
            Replacement(now.graph, _NAME, of_lowering.new, of_lowering.old).put_back()
        if self._text is not None:
            self._text.remove()

    def displaced_by(self) -> str | None:
        for replacement in self._replacements:
            if not replacement.stands():
                return name_of(replacement.standing())
        return None if self._text is None else self._text.displaced_by()

    def conflicts(self) -> tuple[str, ...]:
        return ()

    def _fell_back(self, name: str, op: Any, allowed: bool) -> None:
        if self._live:
            site = NOWHERE if op is None else site_of(lowering_in_progress(), op)
            self._records.fell_back(name if op is None else str(op), site, allowed)

    def allows(self, namespace: str) -> bool:
        return self._live and namespace in self._allowed.current()


class _WhileLive:
    """The allowed namespaces as a container that is empty once the hook is removed."""

    def __init__(self, hook: SetProxyHook) -> None:
        self._hook = hook

    def __contains__(self, namespace: object) -> bool:
        return isinstance(namespace, str) and self._hook.allows(namespace)


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


def _overloads_in_turn(lowering: Any, name: str) -> list[Any]:
    """Return those of the overloads that ``name`` stands for that Inductor is about to make a fallback for.

    ``call_function`` asks the allow list by a name without the overload.  The overload is the target of the
    node that is being lowered; the others' constraints are their owner's business until it is their turn.
    Where no such node is known, every overload may be meant whose owner has registered no constraint.
    """
    target = _overload_in_turn(name)
    if target is not None:
        return [target]
    return [op for op in _overloads(name) if not _has_constraint(lowering, op)]


def _overload_in_turn(name: Any) -> Any:
    """Return the overload that is being lowered; None where that is not one of those ``name`` stands for."""
    target = getattr(node_in_progress(lowering_in_progress()), "target", None)
    if not isinstance(name, str) or target is None:
        return None
    return target if any(op is target for op in _overloads(name)) else None


def _makes_implicit_fallbacks(lowering: Any) -> bool:
    return bool(getattr(lowering.config, "implicit_fallbacks", True))


def _has_constraint(lowering: Any, op: Any) -> bool:
    # PyTorch 2.0-2.4: layout_constraints; 2.5-2.15: _maybe_layout_constraints; if missing: nothing is known.
    tables = (getattr(lowering, name, None) for name in ("_maybe_layout_constraints", "layout_constraints"))
    return any(isinstance(table, dict) and op in table for table in tables)


_Rule = Callable[[Any], Any]


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


_CANNOT_BE_RECORDED: Final = object()


def _is_tagged(op: Any, tag: str) -> bool:
    return getattr(sys.modules["torch"].Tag, tag) in op.tags


def _record_layout_constraints(lowering: Any, ops: list[Any]) -> bool:
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


def _caveat(lowering: Any) -> str:
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


def _inner_of(other: Any) -> Any:
    return other._inner if is_proxy(other) else other
