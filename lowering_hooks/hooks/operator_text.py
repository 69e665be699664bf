"""Replaces ``OperatorIssue.operator_str``: a short text for the ops of allowed namespaces.

Inductor's own text of an op prints the arguments with everything behind them.
``GraphLowering.call_function`` asks for it to log a fallback, and the errors of a lowering ask for their
message.  Both strategies use this hook.  The text of any other op is Inductor's own, cut where it passes the
limit.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, cast

from ..compat import function_in, operator_text_problems, release_of, wrapped_functions, wraps
from ..describe.graph import MAX_ERROR_NODES, extent_text, graph_text
from ..describe.op import operator_text, site_text
from ..describe.stock_size import tree_characters
from ..inductor.modules import Inductor, attribute, lowering_in_progress, name_of
from ..inductor.site import Site, site_of
from ..replacement import Replacement
from .mark import marked, peeled

if TYPE_CHECKING:
    from ..inductor.objects import Argument, Foreign, Op, Target
    from ..namespaces import Namespaces
    from ..records import Records
    from ..settings import Detail
    from .writing import Writer


class OperatorText:
    """Stands in the place of ``operator_str`` of one loaded Inductor.

    Attributes:
        overload: The class of ops, ``torch._ops.OpOverload``.
        live: False once removed.  A replacement that another library wrapped meanwhile stays in that chain,
            and from then on only passes calls on.
    """

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
        self._detail: Detail = detail
        self._writer = writer
        # PyTorch 2.0-2.15: a class; if not: this strategy cannot be used.
        overload: Foreign = inductor.torch._ops.OpOverload
        if not isinstance(overload, type):
            raise TypeError("torch._ops.OpOverload is no class")
        self.overload: type[Op] = overload
        self._call_function_codes = _codes_of_call_function(inductor)
        self._log_codes = self._call_function_codes + _code_of_lazy_string()
        self._is_eager = _builds_the_log_text_eagerly(inductor)
        self.live = False

        issue_class = inductor.exc.OperatorIssue
        original = peeled(vars(issue_class)["operator_str"])
        function = function_in(original, issue_class)
        if function is None:
            raise TypeError("torch._inductor.exc.OperatorIssue.operator_str is not a static method")
        self._function = marked(_OperatorStr(self, function), original)
        self._replacement = Replacement(issue_class, "operator_str", staticmethod(self._function), original)

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        """Return what keeps ``operator_str`` from being replaced, one sentence each."""
        return operator_text_problems(inductor.exc, peeled)

    @property
    def place(self) -> tuple[object, str]:
        """The class, and the name in it, of what is replaced."""
        return self._replacement.owner, self._replacement.name

    def install(self) -> None:
        """Put the replacement into Inductor."""
        self.live = True
        self._replacement.put()

    def remove(self) -> None:
        """Put back what was there; what was put over the replacement stays."""
        self.live = False
        self._replacement.put_back()

    def displaced_by(self) -> str | None:
        """Return the dotted name of what replaced it; None where it stands or is visibly called."""
        if self._replacement.stands() or wraps(self._standing_function(), self._function):
            return None
        return name_of(self._standing_function())

    def conflicts(self) -> tuple[str, ...]:
        """Return who wrapped the replacement, in a sentence."""
        if self._replacement.stands() or self.displaced_by():
            return ()
        name = name_of(self._standing_function())
        return (f"{name} wrapped OperatorIssue.operator_str after lowering-hooks did",)

    def _standing_function(self) -> Foreign:
        standing = self._replacement.standing()
        function = attribute(standing, "__func__")
        return standing if function is None else function

    def allows(self, target: Target) -> bool:
        """Whether ``target`` is an op of an allowed namespace.  Never raises."""
        try:
            return isinstance(target, self.overload) and self._namespaces.allows(target.namespace)
        except Exception:
            return False

    def text(
        self,
        target: Target,
        args: Sequence[Argument],
        kwargs: Mapping[str, Argument],
        stock_text: Callable[[], str],
        asker: CodeType,
    ) -> str:
        """Return the text of an op with its arguments.

        Args:
            target: The op.
            args: Its positional arguments.
            kwargs: Its other arguments.
            stock_text: Writes the original's text.
            asker: The code that asks for the text.
        """
        site, is_allowed = _site_of(target), self.allows(target)
        is_shown, is_cut = not self._is_thrown_away(asker), False
        start = time.perf_counter()
        if not is_allowed or (self._detail == "full" and is_shown):
            short = functools.partial(_short, target, args, kwargs, site, is_allowed=is_allowed)
            text, is_cut = self._writer.operator(
                target, site, [args, kwargs], stock_text, short, is_shown=is_shown
            )
            # Another library's text may be an object of any kind, which Inductor formats as one.
            written: Foreign = text
            characters = len(text) if isinstance(written, str) else 0
        elif is_shown:
            text = self._described(target, args, kwargs, site, asker)
            characters = tree_characters([args, kwargs])
        else:
            text, characters = operator_text(target, (), {}), 0
        if is_allowed and not is_cut:
            seconds = time.perf_counter() - start
            self._records.described(str(target), site, seconds, characters, shown=is_shown)
        return text

    def _is_thrown_away(self, asker: CodeType) -> bool:
        """Whether ``asker`` throws the text away.

        Up to PyTorch 2.12 ``call_function`` builds the text of its log line even where INFO is off.
        """
        return self._is_eager and _is_one_of(asker, self._call_function_codes) and not self._is_logged()

    def _is_logged(self) -> bool:
        """Whether anyone wants the log line, as far as can be told.  Never raises."""
        try:
            # PyTorch 2.0-2.15: graph.log; if missing: the text is built, as if it were logged.
            return bool(self._inductor.graph.log.isEnabledFor(logging.INFO))
        except Exception:
            return True

    def _described(
        self,
        target: Target,
        args: Sequence[Argument],
        kwargs: Mapping[str, Argument],
        site: Site,
        asker: CodeType,
    ) -> str:
        if self._detail != "graph":
            return _short(target, args, kwargs, site, is_allowed=True)
        if _is_one_of(asker, self._log_codes):
            behind = graph_text(args, kwargs)
        else:
            behind = graph_text(args, kwargs, MAX_ERROR_NODES)
        return "\n".join(filter(None, (operator_text(target, args, kwargs), site_text(site), behind)))


class _OperatorStr:
    """What stands for ``operator_str``, in a static method, and passes on to the hook what it is asked for.

    It is an object, which no class binds.  A ``with`` block of other code may read it off the class and put
    it back without the static method; Python would then pass the error that asks for its own text to a
    function, as one argument too many.
    """

    def __init__(self, hook: OperatorText, original: Callable[..., str]) -> None:
        # First: it copies the attributes of the original, which may be a wrapper around another such object.
        functools.update_wrapper(self, original)
        self._hook = hook
        self._original = original

    def __copy__(self) -> _OperatorStr:
        """Return this very object, as of a function."""
        return self

    def __deepcopy__(self, memo: object) -> _OperatorStr:
        """Return this very object, as of a function: a copy of a log record holds it."""
        return self

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Have it pickled by its name, as a function is."""
        return getattr, self._hook.place

    def __call__(
        self,
        target: Target,
        args: Sequence[Argument],
        kwargs: Mapping[str, Argument],
        *more: Foreign,
        **named: Foreign,
    ) -> str:
        stock_text = functools.partial(self._original, target, args, kwargs, *more, **named)
        if not self._hook.live:
            return stock_text()
        # CPython 3.10-3.13: the frame of the caller.
        asker = sys._getframe(1).f_code  # pyright: ignore[reportPrivateUsage]
        return self._hook.text(target, args, kwargs, stock_text, asker)


def _short(
    target: Target,
    args: Sequence[Argument],
    kwargs: Mapping[str, Argument],
    site: Site,
    *,
    is_allowed: bool,
) -> str:
    # The advice to set LOWERING_HOOKS_DETAIL is for allowed ops only: it changes no other op's text.
    behind = extent_text(args, kwargs, advise=is_allowed)
    return "\n".join(filter(None, (operator_text(target, args, kwargs), site_text(site), behind)))


def _site_of(target: Target) -> Site:
    """Return where ``target`` is being lowered; NOWHERE where something else is, or nothing.

    A logging handler may keep its records, and ask a ``LazyString`` for its text at any time.
    """
    return site_of(lowering_in_progress(), target)


def _is_one_of(code: CodeType, codes: Sequence[CodeType]) -> bool:
    return any(code is other for other in codes)


def _codes_of_call_function(inductor: Inductor) -> tuple[CodeType, ...]:
    """Return the code of Inductor's own ``call_function``, whatever wraps it; none where it is not seen."""
    defined = cast("dict[str, Foreign]", vars(inductor.lowering_class))
    return tuple(
        function.__code__
        for function in wrapped_functions(defined.get("call_function"))
        if getattr(function, "__globals__", None) is vars(inductor.graph)
    )


def _code_of_lazy_string() -> tuple[CodeType, ...]:
    """Return the code that asks for the text of a log record."""
    # PyTorch 2.13-2.15: LazyString.__str__; if missing: with DETAIL=graph the log shows as much as an error.
    lazy_string = attribute(sys.modules.get("torch._logging"), "LazyString")
    code = getattr(getattr(lazy_string, "__str__", None), "__code__", None)
    return (code,) if isinstance(code, CodeType) else ()


def _builds_the_log_text_eagerly(inductor: Inductor) -> bool:
    """Whether the table says so of this PyTorch; False where it has no row for it."""
    release = release_of(str(attribute(inductor.torch, "__version__")))
    return release is not None and release.log_text == "eager"
