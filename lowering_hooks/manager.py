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

from .asked import AskedStrategy, AskedTexts, expected
from .compat import Strategy, choose
from .inductor.loading import LoadingFinder, half_imported
from .inductor.modules import GRAPH, Inductor, loaded
from .inductor.versions import installed_version, torch_is_there, torch_version
from .inductor.vllm import vllm_conflict
from .namespaces import Namespaces
from .records import Records, Report
from .settings import BoundedIRMode, Request, Settings, bounded_ir_mode, requested
from .standing import Means, Message, StandingStrategy, StandingTexts, described, what_to_do
from .status import Idle, State, Status

if TYPE_CHECKING:
    from .hooks import Writer

log = logging.getLogger("lowering_hooks")

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
        self._finder = LoadingFinder(GRAPH, self._settle)
        self._has_warned = False
        # As `bounded_ir()` was called last, whatever `remove()` did since.
        self._ir_mode: BoundedIRMode = settings.bounded_ir
        self._writer: Writer | None = None  # once Inductor is there
        self.namespaces = Namespaces(settings.namespaces)
        self.records = Records()
        self._strategy = StandingStrategy(self.namespaces, self.records, settings.detail)
        self._texts = StandingTexts()
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
            asked = AskedStrategy(request, self._strategy.asked.otherwise)
        self._strategy.asked = asked
        self._texts.asked = AskedTexts(self._ir_mode)
        self._wait_and_settle()

    def remove(self) -> Status:
        """See :func:`lowering_hooks.remove`."""
        if self._strategy.asked.strategy is not None:
            self._strategy.asked = AskedStrategy(None, Idle("removed", "removed by remove()"))
        self._texts.asked = AskedTexts(mode=False)
        return self.status()

    def bounded_ir(self, enabled: BoundedIRMode) -> Status:
        """See :func:`lowering_hooks.bounded_ir`."""
        mode = bounded_ir_mode(enabled)
        self._ir_mode = mode
        self._texts.asked = AskedTexts(mode=False) if self._settings.off is not None else AskedTexts(mode)
        self._texts.follow()
        self._wait_and_settle()
        return self.status()

    def report(self) -> Report:
        """See :func:`lowering_hooks.report`."""
        return self.records.report(self.namespaces.allows)

    def _wait_and_settle(self) -> None:
        if self._needs_inductor():
            with suppress(Exception):  # what is loaded is hooked all the same, and the rest is told
                self._finder.install()
        self._settle()
        if self._waits_in_vain() and not self._has_warned:
            self._has_warned = True
            log.warning("nothing is hooked yet: %s; LOWERING_HOOKS=0 ends this message", _NOT_ASKED)

    def _needs_inductor(self) -> bool:
        return self._strategy.asked.needs_inductor or self._texts.asked.needs_inductor

    def _waits_in_vain(self) -> bool:
        """Whether something waits for an import of Inductor that nobody will tell of."""
        if self._finder.is_installed() or not self._needs_inductor():
            return False
        return self._complete_inductor() is None and torch_is_there()

    # What stands.

    def status(self) -> Status:
        """See :func:`lowering_hooks.status`."""
        self._settle()
        version, found = installed_version("lowering-hooks"), torch_version()
        asked = self._strategy.asked.strategy
        waiting = None if asked is None else expected(asked, found, choose(str(found)))
        with self._lock:
            state, strategy, reason, conflicts = _in_words(self._strategy, waiting)
            if self._texts.problem:
                reason += f"; {self._texts.problem}"
            bounded_ir = self._texts.state()
            conflicts += self._texts.conflicts()
        if self._waits_in_vain():
            reason += f"; {_NOT_ASKED}"
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

    # From what is asked for to what stands.

    def _settle(self) -> None:
        """Move what stands towards what is asked for, as far as the loaded Inductor allows.

        Never raises: it runs inside other people's imports.
        """
        for _ in range(_MAX_ROUNDS):
            inductor = self._complete_inductor()
            if not self._strategy.differs(inductor) and not self._texts.differs(inductor):
                return
            means = None  # what is asked for from here on waits for the next round
            if inductor is not None and self._needs_inductor():
                means = self._means(inductor)
                if means is None:
                    return
            messages: list[Message] = []
            with self._lock:
                if self._settling:
                    return  # the call that this one has interrupted goes on until all is settled
                self._settling = True
                try:
                    messages += self._strategy.settle(means)
                    messages += self._texts.settle(means)
                finally:
                    self._settling = False
            for level, message in messages:
                log.log(level, "%s", message)

    def _complete_inductor(self) -> Inductor | None:
        """Return the loaded Inductor; None while it is being imported."""
        inductor = loaded()
        return inductor if inductor is not None and self._finder.is_complete(inductor.graph) else None

    def _means(self, inductor: Inductor) -> Means | None:
        """Import what it takes to hook ``inductor``: nothing may be imported once the lock is held."""
        try:
            from . import hooks
        except Exception as error:
            if not half_imported(sys.modules.get(f"{__package__}.hooks")):
                self._give_up(inductor, error)
            return None
        if half_imported(hooks):
            return None  # the thread that is in the middle of importing it settles afterwards
        if self._writer is None:
            self._writer = hooks.Writer(self.records)
        version = torch_version()
        return Means(inductor, version, choose(str(version)), hooks, self._writer)

    def _give_up(self, inductor: Inductor, error: Exception) -> None:
        """Settle for nothing, where the package ``hooks`` cannot be imported."""
        problem = described(error)
        with self._lock:
            self._strategy.give_up(inductor, problem)
            self._texts.give_up(inductor)
        text = "nothing is hooked and PyTorch runs as without lowering-hooks: %s; %s"
        log.warning(text, problem, what_to_do(error))


def _in_words(
    strategy: StandingStrategy, waiting: tuple[State, Strategy, str] | None
) -> tuple[State, Strategy, str, tuple[str, ...]]:
    """Tell what stands, else what is asked for, else why nothing is; and what others have done.

    Args:
        strategy: What was asked for, and the hook that stands.
        waiting: What the status is to say while a request waits for Inductor; None where none waits.
    """
    standing, is_settled, inductor = strategy.standing, strategy.is_settled(), loaded()
    conflicts = vllm_conflict(inductor) if inductor is not None else ()
    if isinstance(standing, Idle):
        if waiting is None or is_settled:
            return standing.state, "none", standing.reason, conflicts
        return *waiting, conflicts
    hook = standing.hook
    conflicts += hook.conflicts()
    by = hook.displaced_by()
    if by is not None:
        reason = f"{by} replaced the hook; lowering_hooks.apply() hooks what stands now"
        return "displaced", hook.strategy, reason, conflicts
    reason = standing.reason
    if waiting is not None and not is_settled and waiting[1] != hook.strategy:
        reason += f"; {waiting[1]} is asked for: {waiting[2]}"
    return "active", hook.strategy, reason, conflicts
