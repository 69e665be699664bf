"""The ``call_function`` strategy: the original runs in full, with a short text for allowed ops.

This hook replaces two functions of Inductor:

* ``OperatorIssue.operator_str`` returns a short text for an op of an allowed namespace (``operator_text``).
* ``GraphLowering.call_function`` calls the original, and counts the fallback if one was made.

Branch, layout constraint and generated code are therefore stock's.
"""

from __future__ import annotations

import functools
import itertools
import logging
import sys
import types
from collections.abc import Callable
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import TYPE_CHECKING, cast

from ..compat import call_function_problems, passes_over, wraps
from ..inductor.modules import GRAPH, Inductor, attribute, loaded, name_of
from ..inductor.site import site_of
from ..replacement import Replacement, as_function
from ..telling import tell, tell_the_rest
from .mark import marked, peeled

if TYPE_CHECKING:
    from ..compat import Strategy
    from ..inductor.objects import Foreign, GraphLowering, Target
    from ..records import Records
    from .operator_text import OperatorText


class CallFunctionHook:
    """Wraps ``call_function`` and replaces ``operator_str`` of one loaded Inductor."""

    strategy: Strategy = "call_function"
    # Nothing but the error messages and the log of allowed ops changes.
    caveat: str = ""

    def __init__(self, inductor: Inductor, records: Records, text: OperatorText) -> None:
        self._inductor = inductor
        self._records = records
        self._text = text
        self._overload = text.overload
        # PyTorch 2.4-2.15: with_effects calls an op with an effect token; if missing: they are not counted.
        self._with_effects = attribute(sys.modules.get("torch._higher_order_ops.effects"), "with_effects")
        # PyTorch 2.0-2.15: a dict, which keeps the order of entry; if not: this strategy cannot be used.
        lowerings: object = inductor.lowering.lowerings
        if not isinstance(lowerings, dict):
            raise TypeError("torch._inductor.lowering.lowerings is no dict")
        self._lowerings = cast("dict[Target, object]", lowerings)
        # False once removed.  A wrapper that another library wrapped meanwhile stays in that chain, and from
        # then on only passes calls on.
        self._live = False
        lowering_class = inductor.lowering_class
        original = peeled(vars(lowering_class)["call_function"])
        self._replacement = Replacement(lowering_class, "call_function", self._wrap(original), original)

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        """Return what keeps this strategy from being used, one sentence each."""
        return call_function_problems(inductor.graph, inductor.exc, peeled)

    def install(self) -> None:
        """Put the wrapper and the short text into Inductor."""
        self._live = True
        self._text.install()
        self._replacement.put()

    def remove(self) -> None:
        """Put back what was there; a wrapper around this one stays, and calls through it."""
        self._live = False
        self._replacement.put_back()
        self._text.remove()

    def displaced_by(self) -> str | None:
        """Return the dotted name of what replaced this hook; None where it stands or is visibly called."""
        now = loaded()
        if now is not None and now.lowering_class is not self._replacement.owner:
            return f"a reload of {GRAPH}"
        standing = self._replacement.standing()
        if not wraps(standing, self._replacement.new):
            return name_of(standing)
        return self._text.displaced_by()

    def conflicts(self) -> tuple[str, ...]:
        """Return who wrapped this hook, one sentence each."""
        if self.displaced_by():
            return ()
        found = self._text.conflicts()
        if not self._replacement.stands():
            name = name_of(self._replacement.standing())
            found = (f"{name} wrapped GraphLowering.call_function after lowering-hooks did", *found)
        passing_over = passes_over(attribute(self._inductor.graph, "GraphLowering"), self._replacement.owner)
        if passing_over is not None:
            what = (
                f"{name_of(passing_over)} stands for GraphLowering.call_function and does not call Inductor's"
            )
            found += (f"{what}: the fallbacks that it makes are not counted",)
        return found

    def _wrap(self, original: Foreign) -> Callable[..., Foreign]:
        run = as_function(original)
        # The bound method and not the dict: a traceback with local variables would show all of the dict.
        note_fallback, count = self._note_fallback, self._lowerings.__len__
        note_effect, with_effects = self._note_effect, self._with_effects or object()

        # Hot path: runs once per node of every graph, so it reads only local variables and calls `len` twice.
        def call_function(self: GraphLowering, target: Target, args: Foreign, kwargs: Foreign) -> Foreign:
            known = count()
            try:
                return run(self, target, args, kwargs)
            except BaseException:
                tell_the_rest()  # the error has a text
                raise
            finally:
                if count() > known:
                    note_fallback(target, count() - known, self)
                elif target is with_effects:
                    note_effect(args, self)

        # For a function that another library put there, whose parameters may be others.
        def call_any_function(self: GraphLowering, /, *args: Foreign, **kwargs: Foreign) -> Foreign:
            known = count()
            try:
                return run(self, *args, **kwargs)
            except BaseException:
                tell_the_rest()
                raise
            finally:
                if count() > known:
                    note_fallback(args[0] if args else None, count() - known, self)
                elif args and args[0] is with_effects:
                    note_effect(args[1] if len(args) > 1 else (), self)

        wrapper = call_function if _has_inductors_parameters(original) else call_any_function
        return marked(functools.update_wrapper(wrapper, original), original)

    def _note_fallback(self, target: Target, added: int, lowering: GraphLowering) -> None:
        """Count the fallback of an op if it is among the last ``added`` lowerings.  Never raises."""
        tell_the_rest()
        try:
            # The other new entries are of ops that Inductor met on the way, or in another thread.
            newest = itertools.islice(reversed(self._lowerings), added)
            if not self._live or all(op is not target for op in newest):
                return
            if not isinstance(target, self._overload) or not isinstance(target.namespace, str):
                return
            allow_list = self._inductor.graph.FALLBACK_ALLOW_LIST
            if target.name().split(".")[0] not in allow_list:
                site = site_of(lowering, target)
                self._records.fell_back(str(target), site, allowed=self._text.allows(target))
        except Exception:
            # The allow list may be an object of any kind.  A count is not worth a failed compile.
            tell(
                logging.DEBUG,
                "lowering-hooks could not count the fallback of %s",
                name_of(target),
                exc_info=True,
            )

    def _note_effect(self, args: Foreign, lowering: GraphLowering) -> None:
        """Count the fallback of an op with an effect token, ``args[1]``.  Never raises."""
        # PyTorch 2.4-2.15: each call makes a fallback, and no entry in `lowerings`; if not: it counts twice.
        try:
            op = args[1]
            if self._live and isinstance(op, self._overload) and op not in self._lowerings:
                site = site_of(lowering, self._with_effects)
                self._records.fell_back(str(op), site, allowed=self._text.allows(op))
        except Exception:
            tell(logging.DEBUG, "lowering-hooks could not count an op with an effect token", exc_info=True)


def _has_inductors_parameters(function: Foreign) -> bool:
    """Whether ``function`` takes (self, target, args, kwargs) by these very names, and nothing else."""
    if type(function) is not types.FunctionType:
        return False
    code = function.__code__
    takes_more = code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
    names = code.co_varnames[: code.co_argcount]
    return names == ("self", "target", "args", "kwargs") and not takes_more
