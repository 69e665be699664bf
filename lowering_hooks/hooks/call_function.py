"""The ``call_function`` strategy: Inductor's own function in full, with a bounded text for allowed ops.

This strategy replaces two functions of Inductor:

* ``OperatorIssue.operator_str`` returns a bounded text for an op of an allowed namespace (``operator_text``).
* ``GraphLowering.call_function`` calls the original, and counts the fallback if one was made.

Branch, layout constraint and generated code are therefore Inductor's own.
"""

from __future__ import annotations

import functools
import itertools
import logging
import sys
import types
from collections.abc import Callable
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any, Final

from ..compat import call_function_problems, wraps
from ..inductor.modules import GRAPH, Inductor, attribute, loaded, name_of
from ..inductor.site import site_of
from ..records import Records
from ..replacement import Replacement, as_function
from .mark import marked, peeled
from .operator_text import OperatorText

log = logging.getLogger("lowering_hooks")


class CallFunctionHook:
    """Wraps ``call_function`` and replaces ``operator_str`` of one loaded Inductor."""

    strategy: Final = "call_function"
    # The error messages and the log of allowed ops are all that changes.
    caveat: Final = ""

    def __init__(self, inductor: Inductor, records: Records, text: OperatorText) -> None:
        self._inductor = inductor
        self._records = records
        self._text = text
        self._overload = text.overload
        # PyTorch 2.4-2.15: what calls an op with an effect token; if missing: such ops are not counted.
        self._with_effects = attribute(sys.modules.get("torch._higher_order_ops.effects"), "with_effects")
        lowerings = inductor.lowering.lowerings
        if not isinstance(lowerings, dict):
            raise TypeError("torch._inductor.lowering.lowerings is no dict")
        self._lowerings: dict[Any, Any] = lowerings
        # False once removed.  A wrapper that somebody else wrapped meanwhile stays in their chain, and only
        # passes calls on from then on.
        self._live = False
        lowering_class = inductor.lowering_class
        original = peeled(vars(lowering_class)["call_function"])
        self._replacement = Replacement(lowering_class, "call_function", self._wrap(original), original)

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        return call_function_problems(inductor.graph, inductor.exc, peeled)

    def install(self) -> None:
        self._live = True
        self._text.install()
        self._replacement.put()

    def remove(self) -> None:
        self._live = False
        self._replacement.put_back()
        self._text.remove()

    def displaced_by(self) -> str | None:
        now = loaded()
        if now is not None and now.lowering_class is not self._replacement.owner:
            return f"a reload of {GRAPH}"
        standing = self._replacement.standing()
        if not wraps(standing, self._replacement.new):
            return name_of(standing)
        return self._text.displaced_by()

    def conflicts(self) -> tuple[str, ...]:
        if self._replacement.stands() or self.displaced_by():
            return ()
        name = name_of(self._replacement.standing())
        return (f"GraphLowering.call_function was wrapped after us by {name}",)

    def _wrap(self, original: Any) -> Callable[..., Any]:
        run = as_function(original)
        # The bound method, not the dictionary: a traceback that shows local variables would show all of it.
        note_fallback, count = self._note_fallback, self._lowerings.__len__
        note_effect, with_effects = self._note_effect, self._with_effects or object()

        # Hot path: runs once per node of every graph, between steps that push everything out of the
        # processor's caches, so it reads only local variables and two lengths.
        def call_function(self: Any, target: Any, args: Any, kwargs: Any) -> Any:
            known = count()
            try:
                return run(self, target, args, kwargs)
            finally:
                if count() > known:
                    note_fallback(target, count() - known, self)
                elif target is with_effects:
                    note_effect(args, self)

        def call_function_of_others(self: Any, *args: Any, **kwargs: Any) -> Any:
            known = count()
            try:
                return run(self, *args, **kwargs)
            finally:
                if count() > known:
                    note_fallback(args[0] if args else None, count() - known, self)
                elif args and args[0] is with_effects:
                    note_effect(args[1] if len(args) > 1 else (), self)

        wrapper = call_function if _takes_what_inductors_own_takes(original) else call_function_of_others
        return marked(functools.update_wrapper(wrapper, original), original)

    def _note_fallback(self, target: Any, added: int, lowering: Any) -> None:
        """Count the fallback of an op if it is among the last ``added`` lowerings.  Never raises."""
        try:
            # The others are of ops that Inductor met on the way, or in another thread.
            newest = itertools.islice(reversed(self._lowerings), added)
            if not self._live or all(op is not target for op in newest):
                return
            if not isinstance(target, self._overload) or not isinstance(target.namespace, str):
                return
            allow_list = self._inductor.graph.FALLBACK_ALLOW_LIST
            if target.name().split(".")[0] not in allow_list:
                self._records.fell_back(str(target), site_of(lowering, target), self._text.allows(target))
        except Exception:
            # The allow list may be anybody's object.  A count is not worth a failed compile.
            log.debug("could not count the fallback of %s", type(target), exc_info=True)

    def _note_effect(self, args: Any, lowering: Any) -> None:
        """Count the fallback of an op with an effect token, ``args[1]``.  Never raises.

        Inductor makes one for each call, and no entry in ``lowerings`` (seen in 2.4.1, 2.8.0, 2.12.1 and
        2.15.0).
        """
        try:
            op = args[1]
            if self._live and isinstance(op, self._overload) and op not in self._lowerings:
                site = site_of(lowering, self._with_effects)
                self._records.fell_back(str(op), site, self._text.allows(op))
        except Exception:
            log.debug("could not count the fallback of an op with an effect token", exc_info=True)


def _takes_what_inductors_own_takes(function: Any) -> bool:
    """Whether ``function`` takes (self, target, args, kwargs) by these very names, and nothing else."""
    if type(function) is not types.FunctionType:
        return False
    code = function.__code__
    takes_more = code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
    names = code.co_varnames[: code.co_argcount]
    return names == ("self", "target", "args", "kwargs") and not takes_more
