"""Replaces ``OperatorIssue.operator_str``: a short text for the ops of allowed namespaces.

Inductor's own text of an op prints the arguments with everything behind them.
``GraphLowering.call_function`` asks for it to log a fallback, the errors of a lowering for their message, and
whoever else likes to.  Both strategies use this hook.  The text of any other op is Inductor's own, cut where
it passes the limit.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

from ..compat import operator_text_problems, release_of, wrapped_functions
from ..describe.graph import MAX_ERROR_NODES, extent_text, graph_text
from ..describe.op import operator_text, site_text
from ..describe.stock_size import tree_characters
from ..inductor.modules import Inductor, attribute, lowering_in_progress, name_of
from ..inductor.site import Site, site_of
from ..namespaces import Namespaces
from ..records import Records
from ..replacement import Replacement
from ..settings import Detail
from .mark import marked, peeled
from .writing import Writer

log = logging.getLogger("lowering_hooks")


class OperatorText:
    """What stands in the place of ``operator_str`` of one loaded Inductor."""

    def __init__(
        self,
        inductor: Inductor,
        namespaces: Namespaces,
        records: Records,
        detail: Detail,
        writer: Writer,
    ) -> None:
        self._inductor = inductor
        self._namespaces = namespaces
        self._records = records
        self._detail = detail
        self._writer = writer
        self.overload: Any = inductor.torch._ops.OpOverload
        if not isinstance(self.overload, type):
            raise TypeError("torch._ops.OpOverload is no class")
        self._call_function_codes = _codes_of_call_function(inductor)
        self._log_codes = self._call_function_codes + _code_of_lazy_string()
        self._is_eager = _builds_the_log_text_eagerly(inductor)
        # False once removed.  A wrapper that somebody else wrapped meanwhile stays in their chain, and only
        # passes calls on from then on.
        self._live = False

        issue_class = inductor.exc.OperatorIssue
        original = peeled(vars(issue_class)["operator_str"])
        self._replacement = Replacement(
            issue_class, "operator_str", staticmethod(self._wrap(original)), original
        )

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        return operator_text_problems(inductor.exc, peeled)

    def install(self) -> None:
        self._live = True
        self._replacement.put()

    def remove(self) -> None:
        self._live = False
        self._replacement.put_back()

    def displaced_by(self) -> str | None:
        if self._replacement.stands():
            return None
        standing = self._replacement.standing()
        return name_of(attribute(standing, "__func__") or standing)

    def allows(self, target: Any) -> bool:
        """Whether ``target`` is an op of an allowed namespace.  Never raises."""
        try:
            return isinstance(target, self.overload) and self._namespaces.allows(target.namespace)
        except Exception:
            return False

    def _wrap(self, static: Any) -> Callable[..., str]:
        hook = self
        original: Callable[..., str] = static.__func__

        @functools.wraps(original)
        def operator_str(
            target: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *more: Any, **named: Any
        ) -> str:
            def inductors_own() -> str:
                return original(target, args, kwargs, *more, **named)

            if not hook._live:
                return inductors_own()
            asker, site, is_allowed = sys._getframe(1).f_code, _site_of(target), hook.allows(target)
            is_seen, is_cut = not hook._is_unseen(asker), False
            start = time.perf_counter()
            if not is_allowed or (hook._detail == "full" and is_seen):
                values = [args, kwargs]
                short = functools.partial(_short, target, args, kwargs, site, is_allowed)
                text, is_cut = hook._writer.operator(target, site, values, inductors_own, short, is_seen)
                characters = len(text)
            elif is_seen:
                text = hook._bounded(target, args, kwargs, site, _is_one_of(asker, hook._log_codes))
                characters = tree_characters([args, kwargs])
            else:
                text, characters = operator_text(target, (), {}), 0
            if is_allowed and not is_cut:
                seconds = time.perf_counter() - start
                hook._records.described(str(target), site, seconds, is_seen, characters)
            return text

        return marked(operator_str, static)

    def _is_unseen(self, asker: CodeType) -> bool:
        """Whether ``asker`` throws the text away.

        Up to PyTorch 2.12 ``call_function`` builds the text of its log line even where INFO is off.
        """
        return self._is_eager and _is_one_of(asker, self._call_function_codes) and not self._is_logged()

    def _is_logged(self) -> bool:
        """Whether anyone wants the log line, as far as can be told.  Never raises."""
        try:
            return bool(self._inductor.graph.log.isEnabledFor(logging.INFO))  # seen in 2.0.0 to 2.15.0
        except Exception:
            return True

    def _bounded(
        self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any], site: Site, for_the_log: bool
    ) -> str:
        if self._detail != "graph":
            return _short(target, args, kwargs, site, True)
        behind = graph_text(args, kwargs) if for_the_log else graph_text(args, kwargs, MAX_ERROR_NODES)
        return "\n".join(filter(None, (operator_text(target, args, kwargs), site_text(site), behind)))


def _short(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any], site: Site, is_allowed: bool) -> str:
    behind = extent_text(args, kwargs, advise=is_allowed)  # LOWERING_HOOKS_DETAIL is for allowed ops
    return "\n".join(filter(None, (operator_text(target, args, kwargs), site_text(site), behind)))


def _site_of(target: Any) -> Site:
    """Return where ``target`` is being lowered; NOWHERE where something else is, or nothing.

    A logging handler may keep its records, and ask a ``LazyString`` for its text at any time.
    """
    return site_of(lowering_in_progress(), target)


def _is_one_of(code: CodeType, codes: Sequence[CodeType]) -> bool:
    return any(code is other for other in codes)


def _codes_of_call_function(inductor: Inductor) -> tuple[CodeType, ...]:
    """Return the code of Inductor's own ``call_function``, whatever wraps it; none where it is not seen."""
    standing = vars(inductor.lowering_class).get("call_function")
    return tuple(
        function.__code__
        for function in wrapped_functions(standing)
        if getattr(function, "__globals__", None) is vars(inductor.graph)
    )


def _code_of_lazy_string() -> tuple[CodeType, ...]:
    """Return the code that asks for the text of a log record: ``torch._logging.LazyString.__str__``.

    PyTorch 2.13 and later log a ``LazyString``, whose text each handler asks for.
    """
    lazy_string = attribute(sys.modules.get("torch._logging"), "LazyString")
    code = getattr(getattr(lazy_string, "__str__", None), "__code__", None)
    return (code,) if isinstance(code, CodeType) else ()


def _builds_the_log_text_eagerly(inductor: Inductor) -> bool:
    """Whether the table says so of this PyTorch; of one that nobody verified it is not known."""
    release = release_of(str(attribute(inductor.torch, "__version__")))
    return release is not None and release.log_text == "eager"
