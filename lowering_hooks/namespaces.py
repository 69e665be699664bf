"""Which namespaces are allowed: process-wide, and for a block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

DEFAULT: Final = frozenset({"vllm", "vllm_aiter"})
EVERY: Final = "*"
ACCEPTED: Final = (
    "the part of an op's name before '::', such as 'vllm', without ':', '*', commas or blanks; "
    "or '*' alone for every namespace"
)


def validated(names: Iterable[Any]) -> frozenset[str]:
    """Return ``names`` as a set of plain strings.

    Raises:
        ValueError: One of them is not a namespace.  It is named, and nothing is taken.
    """
    names = tuple(names)
    for name in names:
        if not isinstance(name, str) or not _is_namespace(str.__str__(name)):
            raise ValueError(f"not a namespace: {name!r}; accepted: {ACCEPTED}")
    # A subclass of str may compare and hash by code of its own.
    return frozenset(map(str.__str__, names))


def _is_namespace(name: str) -> bool:
    if name == EVERY:
        return True
    return bool(name) and not any(c in ":*," or c.isspace() for c in name)


# What `allowing` adds, for the thread or task that entered it.
_block: ContextVar[frozenset[str]] = ContextVar("lowering_hooks_allowing", default=frozenset())


class Namespaces:
    """The allowed namespaces.

    Each change, and each look, is one call of a built-in set of strings, which runs no Python code.  So no
    lock is needed, and whoever comes in between (a signal handler, a finalizer, another thread, a forked
    process) finds the set as it was before or after.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = set(allowed)

    def current(self) -> frozenset[str]:
        """Return what is allowed here and now, the enclosing ``allowing`` blocks included."""
        return _block.get().union(self._allowed)

    def allows(self, namespace: str) -> bool:
        """Whether ops of ``namespace`` are described by us."""
        allowed = self._allowed
        if namespace in allowed or EVERY in allowed:
            return True
        block = _block.get()
        return namespace in block or EVERY in block

    def allow(self, names: Iterable[str]) -> frozenset[str]:
        self._allowed.update(validated(names))
        return self.current()

    def disallow(self, names: Iterable[str]) -> frozenset[str]:
        self._allowed.difference_update(validated(names))
        return self.current()

    @contextmanager
    def allowing(self, names: Iterable[str]) -> Iterator[frozenset[str]]:
        token = _block.set(_block.get() | validated(names))
        try:
            yield self.current()
        finally:
            _block.reset(token)
