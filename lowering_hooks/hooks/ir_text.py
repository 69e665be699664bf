"""Bounds the text of IR nodes, wherever Inductor, or anybody else, asks for it.

``operator_str`` is not the only place that prints IR.  Errors and assertions hold nodes, at DEBUG the
scheduler logs each one that it has placed, and backends of others print what they like
(docs/printed-ir.md).  What all of them have in common is ``str()`` or ``repr()`` of an IR node.
"""

from __future__ import annotations

import functools
import logging
import types
import weakref
from collections.abc import Iterator
from typing import Any, Final

from ..compat import ir_text_problems
from ..inductor.modules import name_of
from ..inductor.nodes import is_ir_class
from ..replacement import Replacement, as_function
from .writing import Writer

log = logging.getLogger("lowering_hooks")

_TEXTS: Final = ("__str__", "__repr__")
# On our functions: (the function itself, the replacement that put it where it stands).  The function itself,
# because functools.wraps copies attributes, and somebody's wrapper around ours must not be taken for ours.
_MARK: Final = "_lowering_hooks_text"


class BoundedIR:
    """Wraps ``__str__`` and ``__repr__`` of the IR classes of one loaded Inductor, later ones included.

    Args:
        ir: ``torch._inductor.ir``.
        writer: What writes the texts.
    """

    def __init__(self, ir: Any, writer: Writer) -> None:
        self.root: Final[type] = ir.IRNode
        self._writer = writer
        self._live = False
        self._subclass_hook = Replacement(self.root, "__init_subclass__", self._init_subclass())
        # Classes that are being made: a decorator, such as that of a dataclass, may still give them a text.
        self._new: list[weakref.ref[type]] = []
        self._first_node_hook: Replacement | None = None

    @staticmethod
    def problems(ir: Any) -> tuple[str, ...]:
        return ir_text_problems(ir)

    def install(self) -> None:
        self._live = True
        for kind in _classes(self.root):
            self._wrap_texts(kind)
        self._subclass_hook.put()

    def remove(self) -> None:
        self._live = False
        self._subclass_hook.put_back()
        self._wrap_new()
        for kind in _classes(self.root):
            for name in _TEXTS:
                replacement = _replacement(vars(kind).get(name))
                if replacement is not None and replacement.owner is kind:
                    replacement.put_back()

    def _wrap_texts(self, kind: type) -> None:
        if not is_ir_class(kind):
            return
        for name in _TEXTS:
            original = vars(kind).get(name) or self._text_of_others(kind, name)
            if original is not None and _replacement(original) is None:
                wrapper = self._writer.wrap(as_function(original))
                replacement = Replacement(kind, name, wrapper)
                setattr(wrapper, _MARK, (wrapper, replacement))
                replacement.put()

    def _text_of_others(self, kind: type, name: str) -> Any:
        """Return a text that a class inherits from no IR class; None where it has none that nests.

        That is a mixin's, and for IRNode ``object.__str__``, which asks for the ``__repr__``: one that is
        generated for a later dataclass may not be wrapped yet.
        """
        if kind is self.root:
            return object.__str__ if name == "__str__" else None
        if len(kind.__bases__) == 1:
            return None
        owner = next(base for base in kind.__mro__ if name in vars(base))
        return None if owner is object or is_ir_class(owner) else vars(owner)[name]

    def _init_subclass(self) -> Any:
        hook = self
        root: Any = self.root
        # PyTorch 2.0-2.15: IRNode defines none; if it does: it is called.
        original = vars(root).get("__init_subclass__")

        def on_subclass(cls: Any, /, **kwargs: Any) -> None:
            if original is None:
                super(root, cls).__init_subclass__(**kwargs)
            else:
                original.__get__(None, cls)(**kwargs)
            if hook._live:
                hook._is_made(cls)

        return classmethod(on_subclass)

    def _is_made(self, kind: type) -> None:
        """Wrap what a new class has by now, and the rest before its first node or text.  Never raises."""
        try:
            self._wrap_texts(kind)
            self._new.append(weakref.ref(kind))
            self._writer.before_next.append(self._wrap_new)
            if self._first_node_hook is None:
                self._watch_first_node()
        except Exception:
            log.debug("the text of %s could not be bounded", name_of(kind), exc_info=True)

    def _watch_first_node(self) -> None:
        # PyTorch 2.0-2.15: every node's constructor calls it; if missing: the next text wraps the rest.
        original = vars(self.root).get("__post_init__")
        if not isinstance(original, types.FunctionType):
            return
        hook = self

        @functools.wraps(original)
        def on_first_node(node: Any, *args: Any, **kwargs: Any) -> Any:
            hook._wrap_new()
            return original(node, *args, **kwargs)

        self._first_node_hook = Replacement(self.root, "__post_init__", on_first_node, original)
        self._first_node_hook.put()

    def _wrap_new(self) -> None:
        """Wrap what decorators have given the new classes.  Never raises."""
        first_node_hook, self._first_node_hook = self._first_node_hook, None
        new, self._new = self._new, []
        try:
            if first_node_hook is not None:
                first_node_hook.put_back()
            for reference in new:
                kind = reference()
                if kind is not None and self._live:
                    self._wrap_texts(kind)
        except Exception:
            log.debug("the text of a new IR class could not be bounded", exc_info=True)


def _classes(root: type) -> Iterator[type]:
    """Yield ``root`` and what is derived from it."""
    pending: list[type] = [root]
    seen: set[type] = {root}
    while pending:
        kind = pending.pop()
        yield kind
        derived: set[type] = set(type.__subclasses__(kind)) - seen
        seen |= derived
        pending += derived


def _replacement(text: Any) -> Replacement | None:
    """Return the replacement that put a text where it stands; None where it is not ours."""
    mark: Any = getattr(text, _MARK, None)
    is_ours = isinstance(mark, tuple) and len(mark) == 2 and mark[0] is text
    return mark[1] if is_ours else None
