"""Decides what is put into Inductor, and when.

What is asked for and what stands are two values, and :meth:`Manager._settle` moves the second towards the
first.  Whoever asks (``apply()``, ``remove()``, ``bounded_ir()``) only leaves a new request and settles; so
does the end of Inductor's import.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from .compat import Choice, Strategy, choose
from .inductor.loading import LoadingFinder, half_imported
from .inductor.modules import GRAPH, Inductor, loaded
from .inductor.versions import installed_version, torch_is_there, torch_version
from .inductor.vllm import vllm_conflict
from .namespaces import Namespaces
from .records import Records, Report
from .settings import BoundedIRMode, Settings, bounded_ir_mode, requested
from .status import BoundedIRState, Hooked, Idle, State, Status

if TYPE_CHECKING:
    from .hooks import BoundedIR, Hook, Writer

log = logging.getLogger("lowering_hooks")

# How often a call settles anew because somebody asked for something else meanwhile.
_MAX_ROUNDS: Final = 100
# What a request to hook something can name.
Hookable = Literal["auto", "call_function", "set_proxy"]
# A level of logging and a text.
Message = tuple[int, str]


class _Asked(NamedTuple):
    """What somebody asked for last.  Every call makes a new one, and identity tells whether it was settled.

    Attributes:
        strategy: What is to be hooked; None where nothing is.
        otherwise: What is said while nothing is hooked.
    """

    strategy: Hookable | None
    otherwise: Idle


class _AskedIR(NamedTuple):
    """Whether the texts of IR nodes are to be bounded, as somebody asked last."""

    mode: BoundedIRMode


class Manager:
    """One per process and copy of the package.

    The lock serves other threads only.  Its own thread may come back while it is held, from a signal handler
    or a finalizer: then it leaves its request, and the call that it interrupted settles that as well.
    Nothing is imported and nothing is logged while the lock is held.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._settling = False
        self._finder = LoadingFinder(GRAPH, self._settle)

        self._asked = _Asked(None, Idle("inactive", "not applied"))
        # The request that was settled last, and the Inductor that it was settled for.
        self._settled: tuple[_Asked, Inductor | None] = self._asked, None
        self._standing: Idle | Hooked = self._asked.otherwise

        # As `bounded_ir()` was called last, whatever `remove()` did since.
        self._bounds_ir = settings.bounded_ir
        self._asked_ir = _AskedIR(False)
        self._settled_ir: tuple[_AskedIR, Inductor | None] = self._asked_ir, None
        self._bounded_ir: list[BoundedIR] = []  # one for each Inductor that was loaded
        self._ir_problem = ""  # why the texts could not be bounded
        self._writer: Writer | None = None  # once Inductor is there

        self._hooks: Any = None  # the package `hooks`, once it was needed
        self._told: set[str] = set()  # caveats that a WARNING has told already
        self.namespaces = Namespaces(settings.namespaces)
        self.records = Records()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Begin in a forked process, where nobody may be left to release the lock."""
        self._lock = threading.RLock()
        self._settling = False
        self.records.forked()

    # What can be asked for.

    def apply(self, strategy: Any = "auto") -> Status:
        self.ask_for(strategy)
        return self.status()

    def ask_for(self, strategy: Any = "auto") -> None:
        """Hook as ``apply`` does, without looking at what came of it."""
        request = requested(strategy)
        if request == "auto":
            request = self._settings.strategy
        if self._settings.off is not None:
            self._standing = Idle("inactive", f"switched off by LOWERING_HOOKS={self._settings.off}")
            return
        if request == "none":
            self._asked = _Asked(None, Idle("inactive", "strategy none was asked for"))
        else:
            self._asked = _Asked(request, self._asked.otherwise)
        self._asked_ir = _AskedIR(self._bounds_ir)
        self._wait_and_settle()

    def remove(self) -> Status:
        if self._settings.off is None and (self._asked.strategy or isinstance(self._standing, Hooked)):
            self._asked = _Asked(None, Idle("removed", "removed by remove()"))
        self._asked_ir = _AskedIR(False)
        self._settle()
        return self.status()

    def bound_ir(self, enabled: Any) -> Status:
        mode = bounded_ir_mode(enabled)
        self._bounds_ir = mode
        self._asked_ir = _AskedIR(mode if self._settings.off is None else False)
        if self._asked_ir.mode and self._bounded_ir and self._writer is not None:
            self._writer.mode = mode  # what stands follows at once, whether Inductor is still loaded or not
        self._wait_and_settle()
        return self.status()

    def report(self) -> Report:
        return self.records.report(self.namespaces.allows)

    def _wait_and_settle(self) -> None:
        if self._asked.strategy is not None or self._asked_ir.mode:
            self._finder.install()
        self._settle()

    # What stands.

    def status(self) -> Status:
        self._settle()
        version, found = installed_version("lowering-hooks"), torch_version()
        choice = choose(str(found))
        outlook = _outlook(self._asked.strategy, found, choice) if self._asked.strategy else None
        with self._lock:
            state, strategy, reason, conflicts = self._standing_in_words(outlook)
            if self._ir_problem:
                reason += f"; {self._ir_problem}"
            bounded_ir: BoundedIRState = False
            if self._bounded_ir and self._writer is not None:
                bounded_ir = self._writer.mode
            if self._asked_ir.mode and not self._bounded_ir and self._settled_ir[0] is not self._asked_ir:
                bounded_ir = "pending"
        return Status(
            version=version,
            torch_version=found,
            strategy=strategy,
            state=state,
            reason=reason,
            namespaces=self.namespaces.current(),
            conflicts=conflicts,
            bounded_ir=bounded_ir,
        )

    def _standing_in_words(
        self, outlook: tuple[State, Strategy, str] | None
    ) -> tuple[State, Strategy, str, tuple[str, ...]]:
        """Tell what stands, else what is asked for, else why nothing is; and what others have done."""
        standing, is_settled, inductor = self._standing, self._settled[0] is self._asked, loaded()
        conflicts = vllm_conflict(inductor) if inductor is not None else ()
        if isinstance(standing, Idle):
            if outlook is None or is_settled:
                return standing.state, "none", standing.reason, conflicts
            return *outlook, conflicts
        hook = standing.hook
        conflicts += hook.conflicts()
        by = hook.displaced_by()
        if by is not None:
            reason = f"replaced after us by {by}; lowering_hooks.apply() hooks what stands now"
            return "displaced", hook.strategy, reason, conflicts
        reason = standing.reason
        if outlook is not None and not is_settled and outlook[1] != hook.strategy:
            reason += f"; {outlook[1]} is asked for: {outlook[2]}"
        return "active", hook.strategy, reason, conflicts

    # From what is asked for to what stands.

    def _settle(self) -> None:
        """Move what stands towards what is asked for, as far as the loaded Inductor allows.

        Never raises: it runs inside other people's imports.
        """
        for _ in range(_MAX_ROUNDS):
            inductor = self._complete_inductor()
            if not self._strategy_differs(inductor) and not self._ir_differs(inductor):
                return
            version, choice = None, None
            if inductor is not None and (self._asked.strategy is not None or self._asked_ir.mode):
                # What may import comes first: nothing may be imported once the lock is held.
                if not self._import_hooks(inductor):
                    return
                version = torch_version()
                choice = choose(str(version))
            else:
                inductor = None  # whatever is asked for from here on waits for the next round
            messages: list[Message] = []
            with self._lock:
                if self._settling:
                    return  # the call that this one has interrupted goes on until all is settled
                self._settling = True
                try:
                    messages += self._settle_strategy(inductor, version, choice)
                    messages += self._settle_ir(inductor)
                finally:
                    self._settling = False
            for level, message in messages:
                log.log(level, "%s", message)

    def _import_hooks(self, inductor: Inductor) -> bool:
        """Import what is put into Inductor, and return whether it is there."""
        try:
            from . import hooks
        except Exception as error:
            if not half_imported(sys.modules.get(f"{__package__}.hooks")):
                self._give_up(inductor, _described(error))
            return False
        if half_imported(hooks):
            return False  # whoever is in the middle of importing it, in whatever thread, settles afterwards
        self._hooks = hooks
        if self._writer is None:
            self._writer = hooks.Writer(self.records)
        return True

    def _strategy_differs(self, inductor: Inductor | None) -> bool:
        return _differs(self._asked, self._asked.strategy is not None, self._settled, inductor)

    def _ir_differs(self, inductor: Inductor | None) -> bool:
        return _differs(self._asked_ir, self._asked_ir.mode is not False, self._settled_ir, inductor)

    def _complete_inductor(self) -> Inductor | None:
        """Return the loaded Inductor; None while it is being imported."""
        inductor = loaded()
        return inductor if inductor is not None and self._finder.is_complete(inductor.graph) else None

    def _give_up(self, inductor: Inductor, problem: str) -> None:
        """Settle for nothing, where our own modules cannot be imported."""
        with self._lock:
            self._settled, self._settled_ir = (self._asked, inductor), (self._asked_ir, inductor)
            if isinstance(self._standing, Idle):
                self._standing = Idle("inactive", problem) if self._asked.strategy else self._asked.otherwise
        log.warning("nothing was hooked and PyTorch runs as without lowering-hooks: %s", problem)

    def _settle_strategy(
        self, inductor: Inductor | None, version: str | None, choice: Choice | None
    ) -> list[Message]:
        """Hook or unhook as was asked for, and return what is to be logged."""
        asked = self._asked
        if not self._strategy_differs(inductor):
            return []
        messages: list[Message] = []
        if asked.strategy is None or inductor is None or choice is None:
            self._unhook()
            self._standing = asked.otherwise
        else:
            try:
                messages = self._hook_by_plan(asked.strategy, inductor, version, choice)
            except Exception as error:
                problem = _described(error)
                messages = [(logging.WARNING, f"nothing was hooked: {problem}")]
                if isinstance(self._standing, Idle):
                    self._standing = Idle("inactive", problem)
        self._settled = asked, inductor
        return messages

    def _hook_by_plan(
        self, request: Hookable, inductor: Inductor, version: str | None, choice: Choice
    ) -> list[Message]:
        """Install the first strategy whose contract holds, and return what is to be logged."""
        strategies, why, advice = _plan(request, choice)
        broken: list[str] = []
        for strategy in strategies:
            standing = self._standing
            if self._stands(strategy, inductor) and isinstance(standing, Hooked):
                self._standing = standing._replace(reason=_reason([*broken, why], standing.hook))
                return []
            try:
                hook = self._hook(strategy, inductor, [*broken, why])
            except _BrokenContractError as error:
                broken.append(f"{strategy} cannot be used: {error}")
                continue
            untold = "" if hook.caveat in self._told else hook.caveat
            self._told.add(hook.caveat)
            reason = _reason([*broken, why], hook)
            messages = [(logging.INFO, f"PyTorch {version} hooked by {strategy}: {reason}")]
            warnings = [*broken, *filter(None, (advice, untold))]
            if warnings:
                text = f"PyTorch {version} is hooked by {strategy} only: {'; '.join(warnings)}"
                messages.append((logging.WARNING, text))
            return messages

        reason = "; ".join(broken)
        if isinstance(self._standing, Hooked):
            return [(logging.WARNING, f"{reason}; {self._standing.hook.strategy} stays")]
        self._standing = Idle("inactive", reason)
        text = f"nothing is hooked and PyTorch {version} runs as without lowering-hooks: {reason}"
        return [(logging.WARNING, text)]

    def _stands(self, strategy: Strategy, inductor: Inductor) -> bool:
        standing, settled_for = self._standing, self._settled[1]
        return (
            isinstance(standing, Hooked)
            and standing.hook.strategy == strategy
            and settled_for is not None
            and inductor.is_same_as(settled_for)
            and standing.hook.displaced_by() is None
        )

    def _hook(self, strategy: Strategy, inductor: Inductor, why: list[str]) -> Hook:
        """Install ``strategy`` in the place of what stands.

        Raises:
            _BrokenContractError: It cannot be used; what stands is left as it was.
        """
        hooks, standing = self._hooks, self._standing
        before = (*standing.earlier, standing.hook) if isinstance(standing, Hooked) else ()
        # An Inductor that is imported anew does not end the one before, which other modules still use.
        settled_for = self._settled[1]
        is_another = settled_for is not None and not inductor.is_same_as(settled_for)
        earlier = before if is_another and all(hook.strategy == strategy for hook in before) else ()
        hook: Hook | None = None
        try:
            problems: tuple[str, ...] = hooks.problems_of(strategy, inductor)
            if problems:
                raise _BrokenContractError("; ".join(problems))
            hook = hooks.make_hook(
                strategy, inductor, self.namespaces, self.records, self._settings.detail, self._writer
            )
            hook.install()
            self._standing = Hooked(hook, _reason(why, hook), earlier)
        except BaseException as error:
            # An internal that is of another type than ever seen, or that raises when it is looked at.
            if hook is not None:
                hook.remove()
                if isinstance(standing, Hooked):
                    standing.hook.install()
            if isinstance(error, _BrokenContractError) or not isinstance(error, Exception):
                raise
            raise _BrokenContractError(_described(error)) from error
        if not earlier:
            for replaced in before:
                replaced.remove()
        return hook

    def _unhook(self) -> None:
        if isinstance(self._standing, Hooked):
            for hook in (self._standing.hook, *reversed(self._standing.earlier)):
                hook.remove()

    def _settle_ir(self, inductor: Inductor | None) -> list[Message]:
        """Bound the texts of IR nodes, or no longer, as was asked for, and return what is to be logged."""
        asked = self._asked_ir
        if not self._ir_differs(inductor):
            return []
        messages: list[Message] = []
        self._ir_problem = ""
        if asked.mode is not False:
            try:
                self._bound_ir_now()
            except Exception as error:
                problem = str(error) if isinstance(error, _BrokenContractError) else _described(error)
                self._ir_problem = f"the texts of IR nodes cannot be bounded: {problem}"
                messages = [(logging.WARNING, self._ir_problem)]
        else:
            while self._bounded_ir:
                self._bounded_ir.pop().remove()
        if self._writer is not None:
            self._writer.mode = asked.mode if self._bounded_ir else False
        self._settled_ir = asked, inductor
        return messages

    def _bound_ir_now(self) -> None:
        ir: Any = sys.modules.get("torch._inductor.ir")
        problems: tuple[str, ...] = self._hooks.BoundedIR.problems(ir)
        if problems:
            raise _BrokenContractError("; ".join(problems))
        if any(bounded.root is ir.IRNode for bounded in self._bounded_ir):
            return
        bounded: BoundedIR = self._hooks.BoundedIR(ir, self._writer)
        try:
            bounded.install()
            self._bounded_ir.append(bounded)
        except BaseException:
            bounded.remove()
            raise


class _BrokenContractError(Exception):
    """The installed Inductor is not what a strategy needs; the text says in what."""


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _differs(
    asked: object, needs_inductor: bool, settled: tuple[object, Inductor | None], inductor: Inductor | None
) -> bool:
    """Whether there is something to do since ``settled``: another request, or another Inductor."""
    settled_request, settled_for = settled
    if not needs_inductor:
        return settled_request is not asked
    if inductor is None:
        return False
    return settled_request is not asked or settled_for is None or not inductor.is_same_as(settled_for)


def _reason(why: list[str], hook: Hook) -> str:
    return "; ".join(filter(None, (*why, hook.caveat)))


def _plan(request: Hookable, choice: Choice) -> tuple[tuple[Strategy, ...], str, str]:
    """Return the strategies to try in order, why, and what to advise the user if that is not the best."""
    if request != "auto":
        return (request,), f"strategy {request} was asked for", ""
    tried: tuple[Strategy, ...] = (choice.strategy,)
    if choice.strategy != "set_proxy":
        tried += ("set_proxy",)
    return tried, choice.reason, "" if choice.verified else choice.reason


def _outlook(request: Hookable, version: str | None, choice: Choice) -> tuple[State, Strategy, str]:
    """Return the state, strategy and reason while Inductor is not imported."""
    waiting = "torch._inductor.graph is not imported yet"
    if version is None and not torch_is_there():
        return "inactive", "none", "PyTorch is not installed here"
    if version is None and request == "auto":
        return "pending", "none", f"{waiting}; the version of PyTorch will be known then"
    strategies, why, _ = _plan(request, choice)
    return "pending", strategies[0], f"{waiting}; {why}"
