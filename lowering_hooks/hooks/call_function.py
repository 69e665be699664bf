"""The ``call_function`` strategy: the original function in full, with a bounded text for allowed ops.

Two replacements.  ``OperatorIssue.operator_str`` returns the bounded text for an op of an allowed namespace,
and calls what stood there before for every other.  ``GraphLowering.call_function`` always calls what stood
there before, and sees whether a fallback was made; the text finds in its frame what is being lowered.  So
branch, layout constraint and generated code are Inductor's own.
"""

from __future__ import annotations

import functools
import itertools
import logging
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .compat import call_function_problems, wrapped_functions
from .inductor import GRAPH, Inductor, attribute, loaded, name_of
from .ir_graph import tree_characters
from .namespaces import Namespaces
from .records import Records
from .settings import Detail
from .site import Site, site_of
from .text import extent_text, graph_text, operator_text, site_text

log = logging.getLogger("lowering_hooks")

# How far up from operator_str its call_function is looked for.  Logging handlers, which ask for a
# LazyString's text, and wrappers of others stand in between.
_MAX_FRAMES: Final = 100

# Shorter texts are not added up.
_HINT_FLOOR: Final = 0.1
# Seconds that the ops of a namespace may spend in Inductor's own text before a hint is given.
HINT_SECONDS: Final = 5.0

# On our functions: (the function itself, what it stands for in the class).  The function itself, because
# functools.wraps copies attributes, and somebody's wrapper around ours must not be taken for ours.
_MARK: Final = "_lowering_hooks"


class CallFunctionHook:
    """Wraps ``call_function`` and ``operator_str`` of one loaded Inductor."""

    strategy: Final = "call_function"
    # The error messages and the log of allowed ops are all that changes.
    caveat: Final = ""

    def __init__(self, inductor: Inductor, namespaces: Namespaces, records: Records, detail: Detail) -> None:
        self._inductor = inductor
        self._lowering_class = inductor.graph.GraphLowering
        self._issue_class = inductor.exc.OperatorIssue
        self._namespaces = namespaces
        self._records = records
        self._detail = detail
        self._overload: Any = inductor.torch._ops.OpOverload
        if not isinstance(self._overload, type):
            raise TypeError("torch._ops.OpOverload is no class")
        lowerings = inductor.lowering.lowerings
        if not isinstance(lowerings, dict):
            raise TypeError("torch._inductor.lowering.lowerings is no dict")
        self._lowerings: dict[Any, Any] = lowerings
        # False once removed.  A wrapper of ours that somebody else wrapped meanwhile stays in their chain,
        # and from then on only passes calls on.
        self._live = False
        self._spent: dict[str, float] = {}  # seconds in Inductor's text, by namespaces that are not allowed
        # By thread, the text that the running call_function was last given, under what it was asked for: on
        # 2.13 and later every log handler asks anew.
        self._last_texts: dict[int, tuple[Any, str]] = {}

        self._original = _peeled(vars(self._lowering_class)["call_function"])
        self._original_str = _peeled(vars(self._issue_class)["operator_str"])
        self._wrapper = self._wrap_call_function(self._original)
        self._wrapper_str = staticmethod(self._wrap_operator_str(self._original_str))

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        return call_function_problems(inductor.graph, inductor.exc)

    def install(self) -> None:
        self._live = True
        self._issue_class.operator_str = self._wrapper_str
        self._lowering_class.call_function = self._wrapper

    def remove(self) -> None:
        """Put back what was there, unless somebody has put something else over it."""
        self._live = False
        if vars(self._lowering_class).get("call_function") is self._wrapper:
            self._lowering_class.call_function = self._original
        if vars(self._issue_class).get("operator_str") is self._wrapper_str:
            self._issue_class.operator_str = self._original_str

    def displaced_by(self) -> str | None:
        """Say who replaced what we installed, as a dotted name; None where it stands or is visibly called."""
        now = loaded()
        if now is None or attribute(now.graph, "GraphLowering") is not self._lowering_class:
            return f"a reload of {GRAPH}"
        standing: Any = vars(self._lowering_class).get("call_function")
        if self._wrapper not in wrapped_functions(standing):
            return name_of(standing)
        standing_str = vars(self._issue_class).get("operator_str")
        if standing_str is not self._wrapper_str:
            return name_of(getattr(standing_str, "__func__", standing_str))
        return None

    def conflicts(self) -> tuple[str, ...]:
        standing = vars(self._lowering_class).get("call_function")
        if standing is self._wrapper or self.displaced_by():
            return ()
        return (f"GraphLowering.call_function was wrapped after us by {name_of(standing)}",)

    def _allows(self, target: Any) -> bool:
        try:
            return isinstance(target, self._overload) and self._namespaces.allows(target.namespace)
        except Exception:
            return False

    def _wrap_call_function(self, original: Callable[..., Any]) -> Callable[..., Any]:
        # Called for every node of every graph, between steps that push everything out of the processor's
        # caches: hence the local names, and nothing before the call but a length.
        run = _unbound(original)
        hook, lowerings, last_texts = self, self._lowerings, self._last_texts

        def call_function(self: Any, target: Any, args: Any, kwargs: Any) -> Any:
            known = len(lowerings)
            try:
                return run(self, target, args, kwargs)
            finally:
                if last_texts:
                    last_texts.pop(threading.get_ident(), None)
                if len(lowerings) > known:
                    hook._note_fallback(target, len(lowerings) - known, self)

        self._code = call_function.__code__
        functools.update_wrapper(call_function, original)
        setattr(call_function, _MARK, (call_function, original))
        return call_function

    def _wrap_operator_str(self, static: Any) -> Callable[..., str]:
        hook = self
        original: Callable[..., str] = static.__func__

        @functools.wraps(original)
        def operator_str(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
            if not hook._live:
                return original(target, args, kwargs)
            if not hook._allows(target):
                start = time.perf_counter()
                text = original(target, args, kwargs)
                hook._hint(target, time.perf_counter() - start)
                return text
            # The three errors ask in their __init__, on all of 2.0 to 2.15; call_function asks for the log.
            caller = sys._getframe(1)
            in_error = caller.f_code.co_name == "__init__"
            # None where call_function has returned long since: a logging handler may keep its records, and
            # ask a LazyString for its text at any time.  (An `allowing` block may have ended by then.)
            lowering = hook._lowering(target, caller)
            asked = (id(target), id(args), id(kwargs), in_error)
            last = hook._last_texts.get(threading.get_ident()) if lowering is not None else None
            if last is not None and last[0] == asked:
                return last[1]
            shown = in_error or hook._is_logged()
            site = site_of(lowering)
            start = time.perf_counter()
            if hook._detail == "full" and shown and not in_error:
                text = original(target, args, kwargs)
                characters = len(text)
            else:
                # Up to 2.12 call_function asks for the text whether it is logged or not.
                unseen = lowering is not None and not shown
                text = (
                    operator_text(target, (), {})
                    if unseen
                    else hook._bounded(target, args, kwargs, site, in_error)
                )
                characters = tree_characters([args, kwargs])
            seconds = time.perf_counter() - start
            hook._records.described(str(target), site, seconds, shown, characters)
            if lowering is not None:  # what was asked for lives until call_function returns
                hook._last_texts[threading.get_ident()] = (asked, text)
            return text

        setattr(operator_str, _MARK, (operator_str, static))
        return operator_str

    def _lowering(self, target: Any, frame: types.FrameType | None) -> Any:
        """Return the ``GraphLowering`` whose innermost ``call_function`` lowers ``target``, or None."""
        for _ in range(_MAX_FRAMES):
            if frame is None:
                return None
            if frame.f_code is self._code:
                found = frame.f_locals
                return found["self"] if found["target"] is target else None
            frame = frame.f_back
        return None

    def _bounded(
        self,
        target: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        site: Site,
        in_error: bool,
    ) -> str:
        text = operator_text(target, args, kwargs)
        behind = graph_text if self._detail == "graph" and not in_error else extent_text
        return "\n".join(filter(None, (text, site_text(site), behind(args, kwargs))))

    def _is_logged(self) -> bool:
        """Whether the log line is wanted by anyone, as far as can be told.  Never raises."""
        try:
            return bool(self._inductor.graph.log.isEnabledFor(logging.INFO))  # seen in 2.0.0 to 2.15.0
        except Exception:
            return True

    def _hint(self, target: Any, seconds: float) -> None:
        """Say once for each namespace that allowing it would have saved the time."""
        if seconds <= _HINT_FLOOR:
            return
        try:
            namespace = target.namespace
            before = self._spent.get(namespace, 0.0)
            self._spent[namespace] = before + seconds
            if before <= HINT_SECONDS < before + seconds:
                log.warning(
                    "Inductor spent %.1f s writing out the arguments of ops of the namespace %s, last of %s; "
                    "to end that: lowering_hooks.allow(%r), or LOWERING_HOOKS_NAMESPACES=%s",
                    before + seconds,
                    namespace,
                    target,
                    namespace,
                    namespace,
                )
        except Exception:  # no op that has a namespace
            log.debug("no hint for %s", type(target), exc_info=True)

    def _note_fallback(self, target: Any, added: int, lowering: Any) -> None:
        """Count the fallback of an allowed op if it is among the last ``added`` lowerings.  Never raises."""
        try:
            # The others are of ops that Inductor met on the way, or in another thread.
            newest = itertools.islice(reversed(self._lowerings), added)
            if not self._live or not self._allows(target) or all(op is not target for op in newest):
                return
            allow_list = self._inductor.graph.FALLBACK_ALLOW_LIST
            if target.name().split(".")[0] not in allow_list:
                self._records.fell_back(str(target), site_of(lowering))
        except Exception:
            # The allow list may be anybody's object.  A count is not worth a failed compile.
            log.debug("could not count the fallback of %s", target, exc_info=True)


def _unbound(original: Any) -> Callable[..., Any]:
    """Return ``original``, as it stands in the class, as a function of self and the rest."""
    if type(original) is types.FunctionType:
        return original
    # A descriptor that binds in its own way, such as what wrapt.wrap_function_wrapper leaves: a proxy, which
    # calls itself a function when it is asked by isinstance.
    return lambda self, *rest: original.__get__(self, type(self))(*rest)


def _peeled(standing: Any) -> Any:
    """Return what stood in the class before ``standing``, if that is a wrapper of ours; else ``standing``.

    Ours as a hook of this process left it, or another copy of this package.
    """
    function = getattr(standing, "__func__", standing)
    mark = getattr(function, _MARK, None)
    return mark[1] if mark is not None and mark[0] is function else standing
