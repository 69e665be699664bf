"""The share of a whole compile that is spent in lowering-hooks' code.

``python benchmarks/share.py OUTPUT.json [--quick]`` puts one timer under our wrapper of ``call_function``,
around Inductor's own function, and one over the wrapper.  The difference between the two is ours, less what
the same two timers find between them in a compile where one stands right over the other.  All of
``operator_str`` of an allowed op is ours, too, and ``report()`` has its seconds.  (A profiler would slow down
every Python function that it sees, and ours make more calls a second than most.)
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any

from compiles import Compiles
from results import main, spread, tell

import lowering_hooks

FULL, FULL_COUNT = (60, 200), 3
QUICK, QUICK_COUNT = (8,), 2


class Timer:
    """Adds up the seconds and the calls of the functions that it is put around."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args)
            finally:
                self.seconds += time.perf_counter() - start
                self.calls += 1

        return timed

    def reset(self) -> None:
        self.seconds, self.calls = 0.0, 0


def measure(quick: bool) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as cache:
        timed = TimedCompiles(cache)
        for layers in QUICK if quick else FULL:
            found = []
            for _ in range(QUICK_COUNT if quick else FULL_COUNT):
                # The order matters: this one compiles the C++ of this depth, and a row's nodes are counted by
                # the timers of the next one.
                timers = timed.nothing(layers)
                seconds = timed.ours(layers)
                wrapper = timed.outer.seconds - timed.inner.seconds - timers
                found.append((wrapper, lowering_hooks.report().seconds, seconds, timers))
            rows.append(
                {
                    "layers": layers,
                    "nodes": timed.outer.calls,
                    "texts": sum(op.texts for op in lowering_hooks.report().ops),
                    "wrapper_seconds": spread([wrapper for wrapper, _, _, _ in found]),
                    "text_seconds": spread([text for _, text, _, _ in found]),
                    "timer_seconds": spread([timers for _, _, _, timers in found]),
                    "compile_seconds": spread([seconds for _, _, seconds, _ in found]),
                    "share": spread([(wrapper + text) / seconds for wrapper, text, seconds, _ in found]),
                }
            )
            tell(f"{layers} layers: {rows[-1]['share']['median']:.3%}")
    return {"rows": rows}


class TimedCompiles:
    """Compiles the decoder between timers."""

    def __init__(self, cache: str) -> None:
        self.inner, self.outer = Timer(), Timer()
        self._compiles = Compiles(cache)
        from torch._inductor.exc import OperatorIssue
        from torch._inductor.graph import GraphLowering

        self._lowering_class, self._issue_class = GraphLowering, OperatorIssue
        lowering_hooks.remove()
        self._stock = vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]

    def ours(self, layers: int) -> float:
        """Return the seconds of one compile; :attr:`inner`, :attr:`outer` and the report have its parts."""
        return self._between_timers(layers, self._hook)

    def nothing(self, layers: int) -> float:
        """Return the seconds that the two timers find between them where nothing stands between them."""
        self._between_timers(layers, self._compiles.without_text)
        return self.outer.seconds - self.inner.seconds

    def _hook(self) -> None:
        status = lowering_hooks.apply("call_function")
        assert status.state == "active", status

    def _between_timers(self, layers: int, hook: Callable[[], Any]) -> float:
        for timer in (self.inner, self.outer):
            timer.reset()
        lowering_hooks.reset_report()
        issue_class, lowering_class = self._issue_class, self._lowering_class
        lowering_class.call_function = self.inner.around(lowering_class.call_function)
        hook()
        lowering_class.call_function = self.outer.around(lowering_class.call_function)
        try:
            seconds = self._compiles.seconds(layers)
            assert self.inner.calls == self.outer.calls > layers, "the timers do not surround the same calls"
            return seconds
        finally:
            lowering_hooks.remove()
            lowering_class.call_function, issue_class.operator_str = self._stock


if __name__ == "__main__":
    main(__doc__, measure)
