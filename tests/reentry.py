"""Calls lowering-hooks while its own thread is inside of it: for test_locks.py, in a process of its own."""

from __future__ import annotations

import faulthandler
import gc
import itertools
import logging
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from stand_in import GRAPH, load, same, stand_in, standing

import lowering_hooks
from lowering_hooks.inductor.site import NOWHERE

CALLS: list[Callable[[], object]] = [
    lowering_hooks.report,
    lowering_hooks.status,
    lambda: lowering_hooks.allow("mylib"),
    lambda: lowering_hooks.apply("set_proxy"),
    lowering_hooks.allowed_namespaces,
    lowering_hooks.remove,
    lambda: lowering_hooks.apply("call_function"),
    lambda: lowering_hooks.disallow("mylib"),
    lambda: lowering_hooks.bounded_ir(True),
    lambda: lowering_hooks.apply("none"),
    lowering_hooks.reset_report,
    lambda: lowering_hooks.bounded_ir(False),
    lambda: lowering_hooks.allowing("mylib").__enter__(),
    lambda: lowering_hooks.apply(),
    lambda: lowering_hooks._manager.records.described("vllm.op.default", NOWHERE, 0.0, 1, shown=True),
    lambda: lowering_hooks._manager.records.fell_back("vllm.op.default"),
]
# What comes back, and what it comes back into: in steps of their own, so that each meets each.
coming_back, interrupted = itertools.cycle(CALLS), itertools.cycle([*CALLS, *CALLS[:1]])
count = 0


def come_back(*_: object) -> None:
    global count
    count += 1
    next(coming_back)()


def by_signal() -> Generator[None, None, None]:
    signal.signal(signal.SIGALRM, come_back)
    while True:
        signal.setitimer(signal.ITIMER_REAL, 0.00003)  # once
        next(interrupted)()
        yield


class Cycle:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        come_back()


def by_finalizer() -> Generator[None, None, None]:
    gc.set_threshold(5)
    while True:
        Cycle()
        next(interrupted)()
        yield


class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not self.inside:
            self.inside = True
            come_back()
            self.inside = False

    inside = False


def by_logging() -> Generator[None, None, None]:
    log = logging.getLogger("lowering_hooks")
    log.setLevel(logging.DEBUG)
    handler = Handler()
    log.addHandler(handler)
    try:
        while True:
            next(interrupted)()
            yield
    finally:
        log.removeHandler(handler)


class Argument:
    def __repr__(self) -> str:
        come_back()
        return "an argument"

    __str__ = __repr__

    def __call__(self) -> None:
        """Be lowered."""


def by_repr() -> Generator[None, None, None]:
    op = sys.modules["torch._ops"].OpOverload("vllm::op")
    lowering = sys.modules[GRAPH].GraphLowering
    sys.modules[GRAPH].log.setLevel(logging.INFO)
    calls: list[Callable[[Any], object]] = [
        lowering_hooks.apply,
        lowering_hooks.allow,
        lowering_hooks.bounded_ir,
    ]
    while True:
        lowering_hooks.apply("call_function")
        lowering().call_function(op, (Argument(),), {"k": Argument()})
        sys.modules["torch._inductor.exc"].OperatorIssue.operator_str(op, (Argument(),), {})
        sys.modules["torch._inductor.lowering"].lowerings.clear()
        for call in calls:
            try:
                call(Argument())
            except (TypeError, ValueError):
                continue
        yield


def come_back_for(seconds: float, who: Callable[[], Generator[None, None, None]]) -> None:
    """Have ``who``, which is ``by_signal`` or its like, come back again and again, and see what stands then.

    The process ends after 60 s more, with a traceback of where it waits; ``by_signal`` takes the alarm of others.
    """
    faulthandler.dump_traceback_later(seconds + 60, exit=True)
    with stand_in():
        modules = load()
        stock = standing(modules)
        # The garbage of whoever imported what may hold what calls back.
        gc.collect()
        steps = who()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            next(steps)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        steps.close()
        gc.set_threshold(700)
        gc.collect()
        assert count > 100, f"came back {count} times only"
        status = lowering_hooks.apply("call_function")
        assert (status.state, status.strategy) == ("active", "call_function"), status
        assert modules.graph.GraphLowering.call_function.__wrapped__ is stock[0]
        lowering_hooks.bounded_ir(False)
        assert lowering_hooks.remove().state == "removed"
        assert same(standing(modules), stock), standing(modules)
