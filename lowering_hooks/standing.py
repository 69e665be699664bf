"""What stands in Inductor, and how it moves towards what is asked for.

Two things can be asked for, and each is settled on its own: a strategy (:class:`StandingStrategy`), and the
bounded texts of IR nodes (:class:`StandingTexts`).  The manager calls ``settle`` with its lock held, so
nothing here imports, logs or waits; what there is to log is returned.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .asked import AskedStrategy, AskedTexts, Hookable, differs, plan
from .status import BoundedIRState, Hooked, Idle

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from .compat import Choice, Strategy
    from .hooks import BoundedIR, Hook, Writer
    from .inductor.modules import Inductor
    from .namespaces import Namespaces
    from .records import Records
    from .settings import Detail

# A level of logging and a text.
Message = tuple[int, str]

# The strategies that hook something, the better one first.
_STRATEGIES: Final[tuple[Strategy, ...]] = ("call_function", "set_proxy")
# What a WARNING that nothing is hooked ends with.
_UPGRADE_OR_END: Final = (
    "upgrade lowering-hooks, which may know this PyTorch, or set LOWERING_HOOKS=0 to end this message"
)
_INSTALL_OR_END: Final = (
    "install lowering-hooks again with what it needs, or set LOWERING_HOOKS=0 to end this message"
)
_REPORT: Final = "report this with what lowering-hooks status --json prints"
_REPORT_OR_END: Final = f"{_REPORT}, or set LOWERING_HOOKS=0 to end this message"


class Means(NamedTuple):
    """What it takes to hook a loaded Inductor, all of it imported before the lock is taken.

    Attributes:
        inductor: The Inductor to hook.
        version: The version of PyTorch; None where it is not known.
        choice: What ``compat`` chose for that version.
        hooks: The package ``lowering_hooks.hooks``.
        writer: Writes bounded texts.
        bounds_texts: Whether the texts of IR nodes are bounded, whatever becomes of the strategy.
    """

    inductor: Inductor
    version: str | None
    choice: Choice
    hooks: types.ModuleType
    writer: Writer
    bounds_texts: bool = False


class BrokenContractError(Exception):
    """The installed Inductor is not what a hook needs; the message says in what."""


class StandingStrategy:
    """The strategy that was asked for, and the hook that stands.

    Attributes:
        standing: The hook that stands, or why none does.
    """

    def __init__(
        self, asked: AskedStrategy, namespaces: Namespaces, records: Records, detail: Detail
    ) -> None:
        self._namespaces = namespaces
        self._records = records
        self._detail = detail
        self.standing: Idle | Hooked = asked.otherwise
        # The request that was settled last, and the Inductor that it was settled for.
        self._settled: tuple[AskedStrategy, Inductor | None] = asked, None
        self._warned: set[str] = set()  # caveats that a WARNING has told already

    def is_settled(self, asked: AskedStrategy) -> bool:
        """Whether ``settle`` has followed a request."""
        return self._settled[0] is asked

    def differs(self, asked: AskedStrategy, inductor: Inductor | None) -> bool:
        """Whether ``settle`` has something to do: another request, or another Inductor."""
        return differs(asked, self._settled, inductor)

    def settle(self, asked: AskedStrategy, means: Means | None) -> list[Message]:
        """Hook or unhook as was asked for, and return what is to be logged.

        Args:
            asked: What was asked for last.
            means: None where nothing can be hooked, or nothing is to be.
        """
        inductor = None if means is None else means.inductor
        if not self.differs(asked, inductor):
            return []
        messages: list[Message] = []
        if asked.strategy is None:
            self._unhook()
            self.standing = asked.otherwise
        elif means is not None:  # else nothing differs
            try:
                messages = self._hook_by_plan(asked.strategy, means)
            except Exception as error:  # what was half done cannot be taken back
                messages = self._not_hooked(means, described(error), functools.partial(what_to_do, error))
        self._settled = asked, inductor
        return messages

    def give_up(self, asked: AskedStrategy, inductor: Inductor, problem: str) -> None:
        """Settle for nothing, where the package ``hooks`` cannot be imported."""
        self._settled = asked, inductor
        if isinstance(self.standing, Idle):
            self.standing = Idle("inactive", problem) if asked.strategy else asked.otherwise

    def _hook_by_plan(self, request: Hookable, means: Means) -> list[Message]:
        """Install the first strategy whose contract holds, and return what is to be logged."""
        strategies, why, advice = plan(request, means.choice)
        broken: list[str] = []
        cause: BaseException | None = None
        for strategy in strategies:
            standing = self.standing
            if self._stands(strategy, means.inductor) and isinstance(standing, Hooked):
                self.standing = standing._replace(reason=_reason([*broken, why], standing.hook), problem="")
                return []
            try:
                hook = self._hook(strategy, means, [*broken, why])
            except BrokenContractError as error:
                broken.append(f"{strategy} cannot be used: {error}")
                cause = error.__cause__
                continue
            caveat = "" if hook.caveat in self._warned else hook.caveat
            self._warned.add(hook.caveat)
            hooked = f"lowering-hooks hooked PyTorch {means.version} by {strategy}"
            messages = [(logging.INFO, f"{hooked}: {_reason([*broken, why], hook)}")]
            if broken and not advice:
                advice = _report_or_ask_for(strategy)
            warnings = [*broken, *filter(None, (advice, caveat))]
            if warnings:
                messages.append((logging.WARNING, f"{hooked} only: {'; '.join(warnings)}"))
            return messages

        what = functools.partial(self._what_to_do, strategies, means, cause)
        return self._not_hooked(means, "; ".join(broken), what)

    def _not_hooked(self, means: Means, reason: str, advice: Callable[[], str]) -> list[Message]:
        """Keep the hook that stands, if one does, and return what is to be logged.

        Args:
            means: What was tried with.
            reason: Why nothing new is hooked.
            advice: Says what a user can do about it; it is asked where nothing stands.
        """
        if isinstance(self.standing, Hooked):
            self.standing = self.standing._replace(problem=reason)
            stays = f"lowering-hooks stays hooked by {self.standing.hook.strategy}"
            return [(logging.WARNING, f"{stays}: {reason}")]
        self.standing = Idle("inactive", reason)
        but = " but the bounded texts of IR nodes," if means.bounds_texts else ""
        text = f"nothing is hooked{but} and PyTorch {means.version} runs as without lowering-hooks: {reason}"
        return [(logging.WARNING, f"{text}; {advice()}")]

    def _what_to_do(self, tried: tuple[Strategy, ...], means: Means, cause: BaseException | None) -> str:
        """Return what a user can do where none of the strategies that were tried can be used.

        Args:
            tried: The strategies.
            means: What they were tried with.
            cause: What the last of them raised; None where it raised nothing.
        """
        for strategy in _STRATEGIES:
            if strategy not in tried:
                with contextlib.suppress(BrokenContractError):
                    self._made(strategy, means)
                    return f"{strategy} can be used: ask for it with LOWERING_HOOKS_STRATEGY or apply()"
        is_missing = isinstance(cause, ImportError)
        return _UPGRADE_OR_END if means.choice.upgrade_may_help and not is_missing else what_to_do(cause)

    def _stands(self, strategy: Strategy, inductor: Inductor) -> bool:
        standing, settled_for = self.standing, self._settled[1]
        return (
            isinstance(standing, Hooked)
            and standing.hook.strategy == strategy
            and settled_for is not None
            and inductor.is_same_as(settled_for)
            and standing.hook.displaced_by() is None
        )

    def _hook(self, strategy: Strategy, means: Means, why: list[str]) -> Hook:
        """Install ``strategy`` in the place of what stands.

        Raises:
            BrokenContractError: The strategy cannot be used; what stands is left as it was.
        """
        standing, inductor = self.standing, means.inductor
        before = (*standing.earlier, standing.hook) if isinstance(standing, Hooked) else ()
        # An Inductor that is imported anew does not end the one before, which other modules still use.
        settled_for = self._settled[1]
        is_another = settled_for is not None and not inductor.is_same_as(settled_for)
        earlier = before if is_another and all(hook.strategy == strategy for hook in before) else ()
        stood = isinstance(standing, Hooked) and standing.hook.displaced_by() is None
        hook = self._made(strategy, means)
        try:
            hook.install()
            self.standing = Hooked(hook, _reason(why, hook), earlier)
        except BaseException as error:
            hook.remove()
            if stood and isinstance(standing, Hooked):
                standing.hook.install()
            if not isinstance(error, Exception):
                raise
            raise BrokenContractError(described(error)) from error
        if not earlier:
            for replaced in before:
                replaced.remove()
        return hook

    def _made(self, strategy: Strategy, means: Means) -> Hook:
        """Return a hook whose contract holds, and which changes nothing until it is installed."""
        try:
            problems: tuple[str, ...] = means.hooks.problems_of(strategy, means.inductor)
            if not problems:
                hook: Hook = means.hooks.make_hook(
                    strategy, means.inductor, self._namespaces, self._records, self._detail, means.writer
                )
                return hook
        except Exception as error:  # an internal of another type than ever seen, or one that raises
            raise BrokenContractError(described(error)) from error
        raise BrokenContractError("; ".join(problems))

    def _unhook(self) -> None:
        if isinstance(self.standing, Hooked):
            for hook in (self.standing.hook, *reversed(self.standing.earlier)):
                hook.remove()


class StandingTexts:
    """Which texts of IR nodes are to be bounded, and the hooks that bound them.

    Attributes:
        problem: What keeps the texts from being bounded; empty where nothing does.
    """

    def __init__(self, asked: AskedTexts) -> None:
        self.problem = ""
        self._settled: tuple[AskedTexts, Inductor | None] = asked, None
        self._hooks: list[BoundedIR] = []  # one for each Inductor that was loaded
        self._writer: Writer | None = None  # once a hook stands

    def stand(self) -> bool:
        """Whether texts are bounded."""
        return bool(self._hooks)

    def state(self, asked: AskedTexts) -> BoundedIRState:
        """Return how the texts are bounded, as the status tells it, while ``asked`` is asked for."""
        if self._hooks and self._writer is not None:
            return self._writer.mode
        is_waiting = asked.mode is not False and self._settled[0] is not asked
        return "pending" if is_waiting else False

    def conflicts(self) -> tuple[str, ...]:
        """Return what others have done to the texts, one sentence each."""
        return tuple(conflict for hook in self._hooks for conflict in hook.conflicts())

    def differs(self, asked: AskedTexts, inductor: Inductor | None) -> bool:
        """Whether ``settle`` has something to do: another request, or another Inductor."""
        return differs(asked, self._settled, inductor)

    def follow(self, asked: AskedTexts) -> None:
        """Have the hooks that stand follow another mode at once, whether Inductor is still loaded or not."""
        if self._hooks and self._writer is not None:
            self._writer.mode = asked.mode

    def settle(self, asked: AskedTexts, means: Means | None) -> list[Message]:
        """Bound the texts of IR nodes, or no longer, as was asked for, and return what is to be logged."""
        inductor = None if means is None else means.inductor
        if not self.differs(asked, inductor):
            return []
        messages: list[Message] = []
        self.problem = ""
        if asked.mode is False:
            while self._hooks:
                self._hooks.pop().remove()
        elif means is not None:  # else nothing differs
            try:
                self._bound(means)
            except Exception as error:
                problem = str(error) if isinstance(error, BrokenContractError) else described(error)
                self.problem = _unbounded(problem)
                text = f"lowering-hooks bounds no texts of IR nodes: {problem}"
                messages = [(logging.WARNING, f"{text}; LOWERING_HOOKS_BOUNDED_IR=off ends this message")]
        if self._writer is not None:
            self._writer.mode = asked.mode if self._hooks else False
        self._settled = asked, inductor
        return messages

    def give_up(self, asked: AskedTexts, inductor: Inductor, problem: str) -> None:
        """Settle for nothing, where the package ``hooks`` cannot be imported, and have ``problem`` told."""
        self._settled = asked, inductor
        self.problem = _unbounded(problem) if problem else ""

    def _bound(self, means: Means) -> None:
        ir: Any = sys.modules.get("torch._inductor.ir")
        problems: tuple[str, ...] = means.hooks.BoundedIR.problems(ir)
        if problems:
            raise BrokenContractError("; ".join(problems))
        for hook in self._hooks:
            if hook.root is ir.IRNode:
                hook.wrap_all()
                return
        self._writer = means.writer
        new: BoundedIR = means.hooks.BoundedIR(ir, means.writer)
        try:
            new.install()
            self._hooks.append(new)
        except BaseException:
            new.remove()
            raise


def _unbounded(problem: str) -> str:
    return f"the texts of IR nodes cannot be bounded: {problem}"


def _reason(why: list[str], hook: Hook) -> str:
    return "; ".join(filter(None, (*why, hook.caveat)))


def _report_or_ask_for(strategy: Strategy) -> str:
    """Return what a user can do where only the second strategy can be used."""
    return f"{_REPORT}, or set LOWERING_HOOKS_STRATEGY={strategy} to end this message"


def what_to_do(cause: BaseException | None) -> str:
    """Return what a user can do about an error: install what is missing, else report it."""
    return _INSTALL_OR_END if isinstance(cause, ImportError) else _REPORT_OR_END


def described(error: BaseException) -> str:
    """Return the class and the message of an error."""
    return f"{type(error).__name__}: {error}"
