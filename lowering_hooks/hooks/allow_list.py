"""The set that ``set_proxy`` puts in the place of Inductor's allow list."""

from __future__ import annotations

import copy
import logging
import operator
import sys
from collections.abc import Callable, Container, Iterator, MutableSet
from typing import Final, Protocol, TypeAlias

from ..compat.namespaces import PYTORCH
from ..inductor.objects import Foreign, Op, TorchModule
from ..inductor.vllm import is_vllms
from ..namespaces import EVERY
from ..telling import tell
from .layout_constraints import (
    has_decomposition,
    makes_implicit_fallbacks,
    overload_in_turn,
    overloads_in_turn,
    record_layout_constraints,
)

# Both copies of the package look for this attribute on the type of a set, to know an AllowListProxy.
_MARK: Final = "_lowering_hooks_proxy"

# A set and something else, to a set, a bool or NotImplemented.
_Operation: TypeAlias = Callable[[Foreign, Foreign], Foreign]


def _binary(name: str) -> _Operation:
    operation: _Operation = getattr(operator, name)
    return lambda self, other: operation(self.inner, inner_of(other))


def _reflected(name: str) -> _Operation:
    operation: _Operation = getattr(operator, name)
    return lambda self, other: operation(other, self.inner)


def _in_place(name: str) -> _Operation:
    operation: _Operation = getattr(operator, name)

    def method(self: _SetAround, other: Foreign) -> _SetAround:
        self.inner = operation(self.inner, inner_of(other))
        return self

    return method


class OnFallback(Protocol):
    """What an :class:`AllowListProxy` calls when Inductor is about to make a fallback of an op."""

    def __call__(self, name: str, op: Op, *, is_allowed: bool) -> None:
        """Note the fallback.

        Args:
            name: The name that the allow list was asked for.
            op: The overload that is being lowered; None where it is not known.
            is_allowed: Whether the op's namespace is allowed.
        """
        ...


class _SetAround(MutableSet[object]):
    """Hands everything but membership on to an inner set, also what MutableSet does not define.

    PyTorch 2.0-2.6: the inner set is a ``set``; 2.7-2.15: an ``OrderedSet``, whose answers differ.
    """

    def __init__(self, inner: Foreign) -> None:
        self.inner: Foreign = inner

    def __iter__(self) -> Iterator[object]:
        return iter(self.inner)

    def __reversed__(self) -> Iterator[object]:
        return iter(reversed(self.inner))

    def __len__(self) -> int:
        return len(self.inner)

    def add(self, value: object) -> None:
        """Add ``value`` to the inner set."""
        self.inner.add(value)

    def discard(self, value: object) -> None:
        """Discard ``value`` from the inner set."""
        self.inner.discard(value)

    def remove(self, value: object) -> None:
        """Remove ``value`` from the inner set; KeyError where it is not in that set."""
        self.inner.remove(value)

    def pop(self) -> object:
        """Remove and return an element of the inner set."""
        return self.inner.pop()

    def clear(self) -> None:
        """Empty the inner set."""
        self.inner.clear()

    def isdisjoint(self, other: Foreign) -> bool:
        """Whether the inner set has no element in common with ``other``."""
        return bool(self.inner.isdisjoint(inner_of(other)))

    def __getattr__(self, name: str) -> object:
        # Python comes here for what neither this class nor MutableSet defines: copy, union, update, ...
        if name == "inner":  # an instance whose __init__ was never called
            raise AttributeError(name)
        return getattr(self.inner, name)

    __hash__ = None  # type: ignore[assignment]
    __eq__ = _binary("eq")
    __ne__ = _binary("ne")
    __le__ = _binary("le")
    __lt__ = _binary("lt")
    __ge__ = _binary("ge")
    __gt__ = _binary("gt")
    __and__ = _binary("and_")
    __or__ = _binary("or_")
    __sub__ = _binary("sub")
    __xor__ = _binary("xor")
    __rand__ = _reflected("and_")
    __ror__ = _reflected("or_")
    __rsub__ = _reflected("sub")
    __rxor__ = _reflected("xor")
    __iand__ = _in_place("iand")
    __ior__ = _in_place("ior")
    __isub__ = _in_place("isub")
    __ixor__ = _in_place("ixor")

    def __copy__(self) -> object:
        return copy.copy(self.inner)

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        return copy.deepcopy(self.inner, memo)

    def __reduce_ex__(self, protocol: Foreign) -> Foreign:
        return self.inner.__reduce_ex__(protocol)


class AllowListProxy(_SetAround):
    """A set of op names that also holds every op of the given namespaces.

    Only membership differs: ``"ns::op"`` and ``"ns::op.overload"`` are in it if ``ns`` is one of
    ``namespaces``, exactly, or if ``namespaces`` holds ``"*"``; never if ``ns`` is PyTorch's own, whose ops
    have rules of their own in that branch (``require_contiguous`` in backward).  Everything else is the inner
    set's: iteration, length, changes, set algebra, equality, copies, pickles and the attributes this class
    does not know.

    Before it says yes for an op that Inductor has no lowering for, it records the layout constraint that the
    op would have had without it (``torch/_inductor/graph.py``, the implicit fallback of ``call_function``).
    Where the constraint cannot be recorded, it says what the inner set says: on PyTorch 2.3 and 2.4 for ops
    tagged ``needs_fixed_stride_order``.  It does the same for ops that have a decomposition, and where
    ``implicit_fallbacks`` of ``torch._inductor.config`` is off.

    Args:
        inner: The set to stand around.  If it is such a proxy already, its inner set is taken.
        namespaces: The allowed namespaces, such as ``{"vllm"}``.  Each membership test asks them.
        on_fallback: Called when Inductor is about to make a fallback of an op that has no lowering yet.
    """

    _lowering_hooks_proxy: Final = True

    def __init__(
        self,
        inner: Foreign,
        namespaces: Container[str],
        on_fallback: OnFallback | None = None,
    ) -> None:
        super().__init__(inner_of(inner))
        self._namespaces = namespaces
        self._on_fallback = on_fallback
        self._has_warned = False

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not self._covers(name):
            if name in self.inner:
                return True
            self._count_refused(name, is_allowed=False)
            return False
        if name in self.inner and not is_vllms(self.inner):
            return True  # the set's own entry, which stock gives no constraint
        if self._admits(name) or name in self.inner:
            return True
        self._count_refused(name, is_allowed=True)
        return False

    def _covers(self, name: str) -> bool:
        namespace, separator, _ = name.partition("::")
        if not separator or namespace in PYTORCH:
            return False
        return namespace in self._namespaces or EVERY in self._namespaces

    def _admits(self, name: str) -> bool:
        """Whether an op of an allowed namespace may take the allow list's branch, its constraint recorded."""
        lowering: TorchModule = sys.modules.get("torch._inductor.lowering")
        if lowering is None:
            return True
        try:
            if not makes_implicit_fallbacks(lowering):
                return False
            unknown = [op for op in overloads_in_turn(lowering, name) if op not in lowering.lowerings]
            if any(has_decomposition(lowering, op) for op in unknown):
                return False
            if not record_layout_constraints(lowering, unknown):
                return False
            if unknown and self._on_fallback is not None:
                self._on_fallback(name, overload_in_turn(name), is_allowed=True)
        except Exception:
            # Refuse the op instead: Inductor's own branch may be slow but keeps the strides.
            if not self._has_warned:
                self._has_warned = True
                tell(
                    logging.WARNING,
                    "lowering-hooks could not record the layout constraint of %s; this op and others like it "
                    "take Inductor's own, possibly slow, way; please report this with the PyTorch version",
                    name,
                    exc_info=True,
                )
            return False
        return True

    def _count_refused(self, name: object, *, is_allowed: bool) -> None:
        """Count an op that is not admitted, if Inductor is about to make a fallback of it.  Never raises."""
        try:
            lowering: TorchModule = sys.modules["torch._inductor.lowering"]
            op = overload_in_turn(name)
            is_new = op is not None and op not in lowering.lowerings
            if is_new and self._on_fallback is not None and makes_implicit_fallbacks(lowering):
                self._on_fallback(str(name), op, is_allowed=is_allowed)
        except Exception:
            tell(
                logging.DEBUG, "lowering-hooks could not count the fallback of %s", type(name), exc_info=True
            )

    def __repr__(self) -> str:
        return f"AllowListProxy({self.inner!r})"


def is_proxy(allow_list: object) -> bool:
    """Whether ``allow_list`` is an :class:`AllowListProxy`, of this copy of the package or of another."""
    # On the type: a proxy of another library around this one may hand on the attributes of what it holds.
    return getattr(type(allow_list), _MARK, False) is True


def inner_of(other: Foreign) -> Foreign:
    """Return the inner set of a proxy, and anything else as it is."""
    return other.inner if is_proxy(other) else other
