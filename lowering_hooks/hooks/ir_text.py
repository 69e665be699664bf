"""Bounds the text of IR nodes, wherever it is asked for.

``operator_str`` is not the only place that prints IR.  Errors and assertions hold nodes, the scheduler logs
at DEBUG each node that it has placed, and backends of other libraries print what they like
(docs/printed-ir.md).  What all of them have in common is ``str()`` or ``repr()`` of an IR node.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import types
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ..compat import ir_text_problems, wraps_one
from ..inductor.modules import attribute, lowering_in_progress, name_of
from ..inductor.nodes import is_ir_class
from ..replacement import Replacement, as_function
from ..telling import tell, tell_later

if TYPE_CHECKING:
    from ..inductor.objects import Foreign, IRNode, TorchModule
    from .writing import Writer

_TEXTS: Final = ("__str__", "__repr__")
# The attribute of a wrapper that holds its mark.
_MARK: Final = "_lowering_hooks_text"


class _Mark(NamedTuple):
    """The mark that a wrapper of this module bears.

    Attributes:
        wrapper: The wrapper itself: functools.wraps copies attributes, so that the wrapper of another library
            around this one bears the same mark.
        replacement: What put the wrapper where it stands.
        original: The text that it stands for, as a class has it.
    """

    wrapper: Foreign
    replacement: Replacement
    original: Foreign


class BoundedIR:
    """Wraps ``__str__`` and ``__repr__`` of the IR classes of one loaded Inductor, later ones included.

    Args:
        ir: ``torch._inductor.ir``.
        writer: Writes the texts.

    Attributes:
        root: The class that all IR classes derive from, ``IRNode``.
    """

    def __init__(self, ir: TorchModule, writer: Writer) -> None:
        self.root: type[object] = ir.IRNode
        self._writer = writer
        self._live = False
        self._subclass_hook = Replacement(self.root, "__init_subclass__", self._init_subclass())
        # Classes that are still being made: a decorator, such as that of a dataclass, may give them a text.
        self._new: list[weakref.ref[type[object]]] = []
        self._refusing: weakref.WeakSet[type[object]] = weakref.WeakSet()  # classes that take no wrapper
        self._first_node_hook: Replacement | None = None
        # The graph that was lowered when this hook last looked for texts that others have put back.
        self._looked_for: Callable[[], Foreign] = lambda: None

    @staticmethod
    def problems(ir: TorchModule) -> tuple[str, ...]:
        """Return what keeps the texts from being bounded, one sentence each."""
        return ir_text_problems(ir)

    def install(self) -> None:
        """Wrap the texts of all classes, and of those that are defined from now on."""
        self._live = True
        self.wrap_all()
        self._writer.before_operators.append(self._wrap_again)
        self._subclass_hook.put()

    def wrap_all(self) -> None:
        """Wrap the texts of all classes that are not wrapped, such as those that others have put there."""
        for kind in _classes(self.root):
            try:
                self._wrap_texts(kind)
            except Exception:
                # A class that takes no attribute keeps no other from being bounded; `conflicts` names it.
                self._refusing.add(kind)

    def conflicts(self) -> tuple[str, ...]:
        """Return what stands unbounded in the place of wrappers of this hook, in a sentence."""
        still_made = {reference() for reference in self._new}
        found = [
            (kind.__qualname__, name_of(text), kind in self._refusing)
            for kind in _classes(self.root)
            if kind not in still_made
            for _, text in self._unbounded(kind)
        ]
        if not found:
            return ()
        # One that apply() can bound first.
        kind_name, text_name, _ = min(found, key=lambda one: one[2])
        count = len({kind for kind, *_ in found})
        what = (
            f"{text_name} replaced the text of {kind_name}, which is not bounded (IR classes in all: {count})"
        )
        if all(refuses for *_, refuses in found):
            return (f"{what}; it takes no other text",)
        return (f"{what}; lowering_hooks.apply() bounds what stands now",)

    def remove(self) -> None:
        """Put back what was there; a wrapper that was put over one of these stays."""
        self._live = False
        with contextlib.suppress(ValueError):  # it was not installed
            self._writer.before_operators.remove(self._wrap_again)
        self._subclass_hook.put_back()
        self._wrap_new()
        for kind in _classes(self.root):
            for name in _TEXTS:
                text: Foreign = vars(kind).get(name)
                replacement = _replacement(text)
                if replacement is None:
                    continue
                if replacement.owner is kind and replacement.name == name:
                    replacement.put_back()
                else:  # others have read it off its class, and put it here
                    setattr(kind, name, getattr(text, _MARK).original)

    def _wrap_again(self) -> None:
        """Wrap what was put back over the wrappers, by a ``with`` block that began before.  Never raises.

        It looks at all classes once for each graph: that takes as long as a hundred short texts.
        """
        try:
            graph = lowering_in_progress()
            if graph is not None and self._looked_for() is graph:
                return
            self.wrap_all()
            # PyTorch 2.0-2.15: only a graph has a current_node, and outside of a compile there is none; if
            # missing: the classes are looked at for each text.
            if attribute(graph, "current_node") is not None:
                self._looked_for = weakref.ref(graph)
        except Exception as error:
            what = type(error).__name__
            tell_later(logging.DEBUG, "lowering-hooks could not bound the texts of all IR classes: %s", what)

    def _wrap_texts(self, kind: type[object], *, is_made: bool = True) -> None:
        """Wrap the texts of a class that are not bounded.

        The decorator of a dataclass generates a ``__repr__`` unless the class has one, so that a class that
        is not made yet is given none.
        """
        for name, original in self._unbounded(kind):
            if not is_made and name == "__repr__" and name not in vars(kind):
                continue
            wrapper = self._writer.wrap(as_function(original))
            replacement = Replacement(kind, name, wrapper)
            setattr(wrapper, _MARK, _Mark(wrapper, replacement, original))
            replacement.put()

    def _unbounded(self, kind: type[object]) -> list[tuple[str, Foreign]]:
        """Return the texts of a class, with their names, that are not bounded."""
        if not is_ir_class(kind):
            return []
        defined: list[tuple[str, Foreign]] = [(name, vars(kind).get(name)) for name in _TEXTS]
        texts = [(name, self._inherited_text(kind, name) if text is None else text) for name, text in defined]
        # A block may have put into the class what it inherits: one that says nothing, or that of a layout.
        short = [None, object.__repr__]
        short += [vars(base).get(name) for base in self._layouts(kind) for name in _TEXTS]
        # By identity: nothing is known of what others have put there, not even how it compares.
        return [
            (name, text)
            for name, text in texts
            if not any(text is other for other in short) and not _is_bounded(text)
        ]

    def _layouts(self, kind: type[object]) -> list[type[object]]:
        # PyTorch 2.0-2.5: a layout derives from IRNode and is no IR class; if it does not: there are none.
        return [base for base in kind.__mro__ if issubclass(base, self.root) and not is_ir_class(base)]

    def _inherited_text(self, kind: type[object], name: str) -> Foreign:
        """Return a text that a class inherits from a class that is no IR class; None where none is needed.

        Such is the text of a mixin.  For IRNode it is ``object.__str__``, which asks for the ``__repr__``:
        one that is generated for a later dataclass may not be wrapped yet.
        """
        if kind is self.root:
            return object.__str__ if name == "__str__" else None
        # What this hook has added to a class hides nothing that stands behind it.
        owner = next(base for base in kind.__mro__ if name in vars(base) and not _is_added(base, name))
        return None if owner is object or is_ir_class(owner) else vars(owner)[name]

    def _init_subclass(self) -> Foreign:
        hook = self
        root: Foreign = self.root
        # PyTorch 2.0-2.15: IRNode defines none; if it does: it is called.
        original: Foreign = vars(self.root).get("__init_subclass__")

        def on_subclass(cls: Foreign, /, **kwargs: Foreign) -> None:
            if original is None:
                cast("Foreign", super(root, cls)).__init_subclass__(**kwargs)
            else:
                original.__get__(None, cls)(**kwargs)
            if hook._live:
                # A `with` block that put it back has bound it to the root: any class may be the new one.
                for kind in _classes(root) if cls is root else (cls,):
                    hook._is_made(kind)

        return classmethod(on_subclass)

    def _is_made(self, kind: type[object]) -> None:
        """Wrap the texts that a new class has by now, others before its first node or text.  Never raises."""
        try:
            self._wrap_texts(kind, is_made=False)
            self._new.append(weakref.ref(kind))
            self._writer.before_next.append(self._wrap_new)
            if self._first_node_hook is None:
                self._watch_first_node()
        except Exception:
            tell(logging.DEBUG, "lowering-hooks could not bound the text of %s", name_of(kind), exc_info=True)

    def _watch_first_node(self) -> None:
        # PyTorch 2.0-2.15: every node's constructor calls it; if missing: the next text wraps the rest.
        original = vars(self.root).get("__post_init__")
        if not isinstance(original, types.FunctionType):
            return
        hook = self

        @functools.wraps(original)
        def on_first_node(node: IRNode, /, *args: Foreign, **kwargs: Foreign) -> Foreign:
            hook._wrap_new()
            return original(node, *args, **kwargs)

        self._first_node_hook = Replacement(self.root, "__post_init__", on_first_node, original)
        self._first_node_hook.put()

    def _wrap_new(self) -> None:
        """Wrap the texts that decorators have given the new classes.  Never raises."""
        first_node_hook, self._first_node_hook = self._first_node_hook, None
        new, self._new = self._new, []
        try:
            if first_node_hook is not None:
                first_node_hook.put_back()
            for reference in new:
                kind = reference()
                if kind is not None:
                    self._wrap_texts(kind)
        except Exception as error:
            what = type(error).__name__
            tell_later(logging.DEBUG, "lowering-hooks could not bound the text of a new IR class: %s", what)


def _classes(root: type[object]) -> Iterator[type[object]]:
    """Yield ``root`` and the classes that are derived from it, each once."""
    pending = [root]
    seen = {root}
    while pending:
        kind = pending.pop()
        yield kind
        derived = set(type.__subclasses__(kind)) - seen
        seen |= derived
        pending += derived


def _is_bounded(text: Foreign) -> bool:
    """Whether a text is a wrapper of this module, or visibly calls one."""
    return wraps_one(text, lambda function: _replacement(function) is not None)


def _replacement(text: Foreign) -> Replacement | None:
    """Return the replacement that put a text where it stands; None where the text has no mark of its own."""
    mark: Foreign = getattr(text, _MARK, None) if type(text) is types.FunctionType else None
    # By the name of its class: it may be the mark of another copy of the package, whose wrapper does as well.
    is_mark = type(mark).__name__ == _Mark.__name__
    return mark.replacement if is_mark and mark.wrapper is text else None


def _is_added(kind: type[object], name: str) -> bool:
    """Whether a class has a text only because a wrapper was put there."""
    replacement = _replacement(vars(kind).get(name))
    return replacement is not None and replacement.owner is kind and replacement.adds
