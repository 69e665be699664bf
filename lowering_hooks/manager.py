"""Decides what is put into Inductor, and when.

What is asked for and what stands are two values (``asked``, ``standing``), and :meth:`Manager._settle` moves
the second towards the first.  ``apply()``, ``remove()`` and ``bounded_ir()`` only leave a new request and
settle.  The end of Inductor's import settles, too.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .asked import Asked, AskedStrategy, AskedTexts, expected
from .compat import Strategy, choose
from .inductor.loading import LoadingFinder, half_imported
from .inductor.modules import GRAPH, Inductor, loaded
from .inductor.versions import installed_version, torch_is_there, torch_version
from .inductor.vllm import vllm_conflict
from .namespaces import Namespaces
from .records import Records, Report
from .settings import BoundedIRMode, Request, Settings, bounded_ir_mode, requested
from .standing import Means, Message, StandingStrategy, StandingTexts, described, what_to_do
from .status import Hooked, Idle, State, Status
from .telling import tell

if TYPE_CHECKING:
    from .hooks import Writer

# `Manager._settle` goes round at most this often, each time because another request came in meanwhile.
_MAX_ROUNDS: Final = 100
_NOT_ASKED: Final = (
    "sys.meta_path lacks the finder of lowering-hooks, so nobody tells when Inductor is imported; call "
    "lowering_hooks.apply() after `import torch._inductor.graph`"
)


class Manager:
    """Holds what was asked for and what stands; one per process and copy of the package.

    The lock serves other threads only.  Its own thread may come back while it is held, from a signal handler
    or a finalizer: then it leaves its request, and the call that it interrupted settles that as well.
    Nothing is imported and nothing is logged while the lock is held.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._settling = False
        self._finder = LoadingFinder(GRAPH, self._inductor_was_loaded)
        self._has_warned = False
        # As `bounded_ir()` was called last, whatever `remove()` did since.
        self._ir_mode: BoundedIRMode = settings.bounded_ir
        self._writer: Writer | None = None  # once Inductor is there
        self.namespaces = Namespaces(settings.namespaces)
        self.records = Records()
        # What was asked for last; what `bounded_ir()` asked for since, with the request that it was for.
        self._request = Asked(AskedStrategy(None, Idle("inactive", "not applied")), AskedTexts(mode=False))
        self._only_texts: tuple[Asked, AskedTexts] = self._request, self._request.texts
        self._strategy = StandingStrategy(
            self._request.strategy, self.namespaces, self.records, settings.detail
        )
        self._texts = StandingTexts(self._request.texts)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Begin in a forked process, which has no thread that would release the lock."""
        self._lock = threading.RLock()
        self._settling = False
        self.records.forked()

    # What can be asked for.

    def apply(self, strategy: Request = "auto") -> Status:
        """See :func:`lowering_hooks.apply`."""
        self.request(strategy)
        return self.status()

    def request(self, strategy: Request = "auto") -> None:
        """Hook as ``apply`` does, without looking at what came of it."""
        request = requested(strategy)
        if request == "auto":
            request = self._settings.strategy
        if self._settings.off is not None:
            reason = f"switched off by LOWERING_HOOKS={self._settings.off}"
            self._strategy.standing = Idle("inactive", reason)
            return
        if request == "none":
            asked = AskedStrategy(None, Idle("inactive", "strategy none was asked for"))
        else:
            asked = AskedStrategy(request, self._request.strategy.otherwise)
        self._request = Asked(asked, AskedTexts(self._ir_mode))
        self._wait_and_settle()

    def remove(self) -> Status:
        """See :func:`lowering_hooks.remove`."""
        strategy = self._request.strategy
        if strategy.strategy is not None:
            strategy = AskedStrategy(None, Idle("removed", "removed by remove()"))
        self._request = Asked(strategy, AskedTexts(mode=False))
        return self.status()

    def bounded_ir(self, enabled: BoundedIRMode) -> Status:
        """See :func:`lowering_hooks.bounded_ir`."""
        mode = bounded_ir_mode(enabled)
        self._ir_mode = mode
        asked = AskedTexts(mode=False) if self._settings.off is not None else AskedTexts(mode)
        self._only_texts = self._request, asked
        self._texts.follow(self._asked().texts)
        self._wait_and_settle()
        return self.status()

    def report(self) -> Report:
        """See :func:`lowering_hooks.report`."""
        return self.records.report(self.namespaces.allows)

    def _asked(self) -> Asked:
        """Return what is asked for by now."""
        request, (base, texts) = self._request, self._only_texts
        return request._replace(texts=texts) if base is request else request

    def _wait_and_settle(self) -> None:
        if self._asked().needs_inductor:
            with suppress(Exception):  # what is loaded is hooked all the same, and the rest is told
                self._finder.install()
        self._settle()
        if self._waits_in_vain() and not self._has_warned:
            self._has_warned = True
            tell(logging.WARNING, "nothing is hooked yet: %s; LOWERING_HOOKS=0 ends this message", _NOT_ASKED)

    def _waits_in_vain(self) -> bool:
        """Whether something waits for an import of Inductor that nobody will tell of."""
        if self._finder.is_installed() or not self._asked().needs_inductor:
            return False
        return self._complete_inductor() is None and torch_is_there()

    # What stands.

    def status(self) -> Status:
        """See :func:`lowering_hooks.status`."""
        self._settle()
        found, asked = torch_version(), self._asked()
        request = asked.strategy.strategy
        waiting = None if request is None else expected(request, found, choose(str(found)))
        with self._lock:
            is_settled = self._strategy.is_settled(asked.strategy)
            state, strategy, reason, conflicts = _in_words(
                self._strategy.standing, waiting, is_settled=is_settled
            )
            if self._texts.problem:
                reason += f"; {self._texts.problem}"
            bounded_ir = self._texts.state(asked.texts)
            conflicts += self._texts.conflicts()
        if self._waits_in_vain():
            reason += f"; {_NOT_ASKED}"
        return Status(
            version=installed_version("lowering-hooks"),
            torch_version=found,
            strategy=strategy,
            state=state,
            reason=reason,
            namespaces=self.namespaces.current(),
            conflicts=conflicts,
            bounded_ir=bounded_ir,
        )

    # From what is asked for to what stands.

    def _inductor_was_loaded(self) -> None:
        """Settle inside the import of Inductor, which must not fail for it."""
        try:
            self._settle()
        except Exception:
            tell(logging.WARNING, "lowering-hooks could not be applied to Inductor", exc_info=True)

    def _settle(self) -> None:
        """Move what stands towards what is asked for, as far as the loaded Inductor allows.

        Never raises: it runs inside other people's imports.
        """
        for _ in range(_MAX_ROUNDS):
            asked, inductor = self._asked(), self._complete_inductor()
            strategy_differs = self._strategy.differs(asked.strategy, inductor)
            if not strategy_differs and not self._texts.differs(asked.texts, inductor):
                return
            means = None
            if inductor is not None and asked.needs_inductor:
                means = self._means(asked, inductor)
                if means is None:
                    return
            messages: list[Message] = []
            with self._lock:
                if self._settling:
                    return  # the call that this one has interrupted goes on until all is settled
                if not self._asked().is_same_as(asked):
                    continue
                self._settling = True
                try:
                    messages += self._texts.settle(asked.texts, means)
                    if means is not None:
                        means = means._replace(bounds_texts=self._texts.stand())
                    messages += self._strategy.settle(asked.strategy, means)
                finally:
                    self._settling = False
            for level, message in messages:
                tell(level, "%s", message)

    def _complete_inductor(self) -> Inductor | None:
        """Return the loaded Inductor; None while it is being imported."""
        inductor = loaded()
        return inductor if inductor is not None and self._finder.is_complete(inductor.graph) else None

    def _means(self, asked: Asked, inductor: Inductor) -> Means | None:
        """Import what it takes to hook ``inductor``: nothing may be imported once the lock is held."""
        try:
            from . import hooks
        except Exception as error:
            if not half_imported(sys.modules.get(f"{__package__}.hooks")):
                self._give_up(asked, inductor, error)
            return None
        if half_imported(hooks):
            return None  # the thread that is in the middle of importing it settles afterwards
        if self._writer is None:
            self._writer = hooks.Writer(self.records)
        version = torch_version()
        return Means(inductor, version, choose(str(version)), hooks, self._writer)

    def _give_up(self, asked: Asked, inductor: Inductor, error: Exception) -> None:
        """Settle for nothing, where the package ``hooks`` cannot be imported."""
        problem = described(error)
        with self._lock:
            self._strategy.give_up(asked.strategy, inductor, problem)
            self._texts.give_up(asked.texts, inductor, "" if asked.strategy.needs_inductor else problem)
        text = "nothing is hooked and PyTorch runs as without lowering-hooks: %s; %s"
        tell(logging.WARNING, text, problem, what_to_do(error))


def _in_words(
    standing: Idle | Hooked, waiting: tuple[State, Strategy, str] | None, *, is_settled: bool
) -> tuple[State, Strategy, str, tuple[str, ...]]:
    """Tell what stands, else what is asked for, else why nothing is; and what others have done.

    Args:
        standing: The hook that stands, or why none does.
        waiting: What the status is to say while a request waits for Inductor; None where none waits.
        is_settled: Whether what is asked for was settled.
    """
    inductor = loaded()
    if isinstance(standing, Idle):
        conflicts = () if inductor is None else vllm_conflict(inductor, is_inside=False)
        if waiting is None or is_settled:
            return standing.state, "none", standing.reason, conflicts
        return *waiting, conflicts
    hook = standing.hook
    by = hook.displaced_by()
    is_inside = hook.strategy == "set_proxy" and by is None
    conflicts = () if inductor is None else vllm_conflict(inductor, is_inside=is_inside)
    conflicts += hook.conflicts()
    if by is not None:
        what = standing.problem or "lowering_hooks.apply() hooks what stands now"
        return "displaced", hook.strategy, f"{by} replaced the hook; {what}", conflicts
    reason = "; ".join(filter(None, (standing.reason, standing.problem)))
    if waiting is not None and not is_settled and waiting[1] != hook.strategy:
        reason += f"; {waiting[1]} is asked for: {waiting[2]}"
    return "active", hook.strategy, reason, conflicts
