"""Bounds the text of IR nodes themselves, wherever Inductor asks for it.

``operator_str`` is not the only place that prints IR.  At DEBUG the scheduler logs each node it has placed
(seen in 2.4.1, 2.8.0 and 2.12.1), with everything behind it, so that TORCH_LOGS=+inductor does not end
either.  Here a node is written in full, and what stands behind it by name.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

from ..inductor import is_ir_class
from ..ir_graph import BOXES, held
from ..replacement import Replacement

_TEXTS: Final = ("__str__", "__repr__")
# Nodes without a name, which are written in full, inside one another: a view of a view of a computation.
_MAX_UNNAMED: Final = 8

# The node whose text is being made, and how many are around it.
_writing: ContextVar[tuple[Any, int]] = ContextVar("lowering_hooks_writing", default=(None, 0))


class BoundedIR:
    """Wraps ``__str__`` and ``__repr__`` of the IR classes of one loaded Inductor."""

    def __init__(self, ir: Any) -> None:
        self.root: Final[type] = ir.IRNode
        self._live = False
        self._replacements: list[Replacement] = []

    def install(self) -> None:
        self._live = True
        for kind in _classes(self.root):
            for name in _TEXTS:
                original = vars(kind).get(name)
                if type(original) is types.FunctionType:
                    replacement = Replacement(kind, name, self._wrap(original))
                    self._replacements.append(replacement)
                    replacement.put()

    def remove(self) -> None:
        self._live = False
        while self._replacements:
            self._replacements.pop().put_back()

    def _wrap(self, original: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(original)
        def text(node: Any, *args: Any, **kwargs: Any) -> str:
            # Loops.__str__ takes names; seen in 2.0.1 and 2.5.1.
            outer, depth = _writing.get()
            # A class may ask its base class, or its __repr__ its __str__: that is still the same node.
            if not self._live or outer is node or type(node).__name__ in BOXES:
                return original(node, *args, **kwargs)
            if depth and (isinstance(held(node, "name"), str) or depth > _MAX_UNNAMED):
                return _name(node)
            token = _writing.set((node, depth + 1))
            try:
                return original(node, *args, **kwargs)
            finally:
                _writing.reset(token)

        return text


def _classes(root: type) -> Iterator[type]:
    """Yield ``root`` and what is derived from it, layouts left out."""
    pending: list[type] = [root]
    seen: set[type] = {root}
    while pending:
        kind = pending.pop()
        if is_ir_class(kind):
            yield kind
        derived: set[type] = set(type.__subclasses__(kind)) - seen
        seen |= derived
        pending += derived


def _name(node: Any) -> str:
    name = held(node, "name")
    return f"<{name} {type(node).__name__}>" if isinstance(name, str) else f"<{type(node).__name__}>"
