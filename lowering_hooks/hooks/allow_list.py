"""The set that ``set_proxy`` puts in the place of Inductor's allow list."""

from __future__ import annotations

import copy
import logging
import operator
import sys
from collections.abc import Callable, Container, Iterator, MutableSet
from typing import Any, Final

from .. import namespaces
from ..compat.namespaces import PYTORCH
from ..inductor.vllm import is_vllms
from .layout_constraints import (
    makes_implicit_fallbacks,
    overload_in_turn,
    overloads_in_turn,
    record_layout_constraints,
)

log = logging.getLogger("lowering_hooks")

_MARK: Final = "_lowering_hooks_proxy"


def _binary(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: _SetAround, other: Any) -> Any:
        return operation(self._inner, _inner_of(other))

    return method


def _reflected(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: _SetAround, other: Any) -> Any:
        return operation(other, self._inner)

    return method


def _in_place(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: _SetAround, other: Any) -> Any:
        self._inner = operation(self._inner, _inner_of(other))
        return self

    return method


class _SetAround(MutableSet[Any]):
    """All of a set but membership, as the inner set has it, also what MutableSet does not know."""

    _inner: Any

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


class AllowListProxy(_SetAround):
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
            if not makes_implicit_fallbacks(lowering):
                return False
            unknown = [op for op in overloads_in_turn(lowering, name) if op not in lowering.lowerings]
            if not record_layout_constraints(lowering, unknown):
                return False
            if unknown and self._on_fallback is not None:
                self._on_fallback(name, overload_in_turn(name), True)
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
            lowering, op = sys.modules["torch._inductor.lowering"], overload_in_turn(name)
            is_new = op is not None and op not in lowering.lowerings
            if is_new and self._on_fallback is not None and makes_implicit_fallbacks(lowering):
                self._on_fallback(name, op, False)
        except Exception:
            log.debug("could not count the fallback of %s", type(name), exc_info=True)
        return False

    def __repr__(self) -> str:
        return f"AllowListProxy({self._inner!r})"


def is_proxy(allow_list: Any) -> bool:
    """Whether ``allow_list`` is an :class:`AllowListProxy`, of this copy of the package or of another."""
    # On the type: somebody's proxy around ours may pass on the attributes of what it holds.
    return getattr(type(allow_list), _MARK, False) is True


def _inner_of(other: Any) -> Any:
    return other._inner if is_proxy(other) else other
