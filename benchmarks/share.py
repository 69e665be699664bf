"""The share of a whole compile that is spent in lowering-hooks' code.

``python benchmarks/share.py OUTPUT.json [--quick]`` puts one timer under our wrapper of ``call_function``,
around Inductor's own function, and one over it: the difference is ours.  ``operator_str`` of an allowed op is
ours in full.  The timers' own time falls on us as well.  (A profiler would charge every Python function it
sees, and ours make more calls a second than most.)
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
    """Adds up the seconds, and the calls, of the functions it is put around."""

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
    inner, outer, texts = Timer(), Timer(), Timer()
    rows = []
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as cache:
        compiles = Compiles(cache)
        put_around(inner, outer, texts)
        for layers in QUICK if quick else FULL:
            compiles.ours(layers)  # compiles the C++ of this depth
            found = []
            for _ in range(QUICK_COUNT if quick else FULL_COUNT):
                for timer in (inner, outer, texts):
                    timer.reset()
                seconds = compiles.ours(layers)
                assert inner.calls == outer.calls > layers, "the timers are not where they should be"
                found.append((outer.seconds - inner.seconds, texts.seconds, seconds))
            rows.append(
                {
                    "layers": layers,
                    "nodes": outer.calls,
                    "texts": texts.calls,
                    "wrapper_seconds": spread([wrapper for wrapper, _, _ in found]),
                    "text_seconds": spread([text for _, text, _ in found]),
                    "compile_seconds": spread([seconds for _, _, seconds in found]),
                    "share": spread([(wrapper + text) / seconds for wrapper, text, seconds in found]),
                }
            )
            tell(f"{layers} layers: {rows[-1]['share']['median']:.3%}")
    return {"rows": rows}


def put_around(inner: Timer, outer: Timer, texts: Timer) -> None:
    """Hook Inductor between two timers."""
    from torch._inductor.exc import OperatorIssue
    from torch._inductor.graph import GraphLowering

    lowering_hooks.remove()
    GraphLowering.call_function = inner.around(GraphLowering.call_function)
    status = lowering_hooks.apply("call_function")
    assert status.state == "active", status
    GraphLowering.call_function = outer.around(GraphLowering.call_function)
    OperatorIssue.operator_str = staticmethod(texts.around(OperatorIssue.operator_str))


if __name__ == "__main__":
    main(__doc__, measure)
