"""Keeps which namespaces are allowed: in the process, and for a block."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Flags of code objects, as `inspect` names them, which takes too long to import.
_CO_GENERATOR: Final = 0x20
_CO_COROUTINE: Final = 0x80
_CO_ASYNC_GENERATOR: Final = 0x200

DEFAULT: Final = frozenset({"vllm", "vllm_aiter"})
EVERY: Final = "*"
EXPECTED: Final = (
    "the part of an op's name before '::', such as 'vllm', without ':', '*', commas or blanks, "
    "or '*' alone for every namespace"
)


def traced_as_constant(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Have Dynamo call ``function`` where it would trace it, and take what it returns for a constant.

    Dynamo keeps that constant among the globals of the code that it began with, by the name that stands in
    the ``def``, on old releases in the place of what has that name.  So it must be a name that nobody else
    has.
    """
    # PyTorch 2.0-2.15: torch.compiler.assume_constant_result sets it; if missing: such code breaks graphs.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@traced_as_constant
def _lowering_hooks_is_traced() -> bool:
    """Whether Dynamo is tracing the code of this package that calls this, for then Dynamo calls it itself."""
    # CPython 3.10-3.13: the frame of the caller.
    caller = sys._getframe(1).f_globals  # pyright: ignore[reportPrivateUsage]
    return str(caller.get("__name__")).partition(".")[0] != __name__.partition(".")[0]


is_traced = _lowering_hooks_is_traced


def validated(names: Iterable[Any]) -> frozenset[str]:
    """Return ``names`` as a set of plain strings.

    Raises:
        ValueError: One of them is not a namespace.  It is named, and nothing is taken.
    """
    names = tuple(names)
    for name in names:
        if not isinstance(name, str) or not is_namespace(str.__str__(name)):
            raise ValueError(f"invalid namespace {name!r}: expected {EXPECTED}")
    # A subclass of str may compare and hash by code of its own.
    return frozenset(map(str.__str__, names))


def is_namespace(name: str) -> bool:
    """Whether ``name`` is what :data:`EXPECTED` says."""
    if name == EVERY:
        return True
    return bool(name) and not any(c in ":*," or c.isspace() for c in name)


class _Block(NamedTuple):
    """What ``allowing`` blocks add, for the thread or task that entered them.

    Attributes:
        names: The namespaces of this block and of those around it.
        outer: The block around this one; None where there is none.
    """

    names: frozenset[str]
    outer: _Block | None


_NO_BLOCK: Final = _Block(frozenset(), None)
_block: ContextVar[_Block] = ContextVar("lowering_hooks_allowing", default=_NO_BLOCK)


class Namespaces:
    """The allowed namespaces.

    Each change, and each look, is one call of a built-in set of strings, which runs no Python code.  So no
    lock is needed, and code that comes in between (a signal handler, a finalizer, another thread, a forked
    process) finds the set as it was before or after.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = set(allowed)

    def current(self) -> frozenset[str]:
        """Return what is allowed here and now, the enclosing ``allowing`` blocks included."""
        return _block.get().names.union(self._allowed)

    def allows(self, namespace: str) -> bool:
        """Whether ``namespace`` is allowed here and now."""
        allowed = self._allowed
        if namespace in allowed or EVERY in allowed:
            return True
        block = _block.get().names
        return namespace in block or EVERY in block

    def allow(self, names: Iterable[str]) -> frozenset[str]:
        """See :func:`lowering_hooks.allow`."""
        self._allowed.update(validated(names))
        return self.current()

    def disallow(self, names: Iterable[str]) -> frozenset[str]:
        """See :func:`lowering_hooks.disallow`."""
        self._allowed.difference_update(validated(names))
        return self.current()

    def allowing(self, names: Iterable[str]) -> Allowing:
        """See :func:`lowering_hooks.allowing`."""
        return Allowing(self, validated(names))


class Allowing:
    """Allows namespaces in a ``with`` block, or while a decorated function runs, for one thread or task.

    It keeps nothing of the blocks that it opens, so it may be entered again, inside itself and by several
    threads at once.  Where Dynamo traces it, it does nothing: what is traced is lowered later, and a block
    that cannot be traced would keep it from being compiled.
    """

    __slots__ = ("_names", "_namespaces")

    def __init__(self, namespaces: Namespaces, names: frozenset[str]) -> None:
        self._namespaces = namespaces
        self._names = names

    def __enter__(self) -> frozenset[str]:
        if is_traced():
            return self._names
        outer = _block.get()
        _block.set(_Block(outer.names | self._names, outer))
        return self._namespaces.current()

    def __exit__(self, *raised: object) -> None:
        if is_traced():
            return
        _block.set(_block.get().outer or _NO_BLOCK)

    def __call__(self, function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        """Decorate ``function``, a coroutine function included.

        Raises:
            TypeError: It is no function, or one that yields: its body would run outside of the block.
        """
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if not callable(function) or flags & (_CO_GENERATOR | _CO_ASYNC_GENERATOR):
            raise TypeError(
                f"allowing() cannot decorate {function!r}: expected a function that does not yield; "
                "put a with block around the loop that asks it for its values"
            )
        if flags & _CO_COROUTINE:
            return self._around_coroutine(function)

        @functools.wraps(function)
        def run_allowed(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            if is_traced():
                return function(*args, **kwargs)
            with self:
                return function(*args, **kwargs)

        return run_allowed

    def _around_coroutine(self, function: Callable[_Parameters, Any]) -> Callable[_Parameters, Any]:
        @functools.wraps(function)
        async def run_allowed(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Any:
            with self:
                return await function(*args, **kwargs)

        return run_allowed
