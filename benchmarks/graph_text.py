"""How long the texts take against the number of IR nodes behind an op, on a real Inductor.

``python benchmarks/graph_text.py OUTPUT.json [--quick]`` compiles a chain of two-output ops up to its last
op, and describes that op's arguments as the log line would.  Of each text it takes the fastest of several.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from results import deeper, main, tell

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from lowered import arguments_of, chain

import lowering_hooks
from lowering_hooks.describe.graph import extent_text, graph_text
from lowering_hooks.describe.op import operator_text
from lowering_hooks.describe.stock_size import tree_characters
from lowering_hooks.inductor.graph import reachable

# Numbers of layers; each one is three nodes, a kernel and its two outputs.
LAYERS = (10, 100, 1000, 3333)
QUICK_LAYERS = (10, 100)
REPEATS = 5


def fastest(make: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of :data:`REPEATS` calls, each from another depth of the stack."""
    return min(deeper(step, seconds_of, make) for step in range(REPEATS))


def seconds_of(make: Callable[[], Any]) -> float:
    start = time.perf_counter()
    make()
    return time.perf_counter() - start


def measure(late: Any, args: Any, kwargs: Any) -> dict[str, float]:
    graph = reachable([args, kwargs])
    return {
        "nodes": len(graph.nodes),
        "kernels_deep": graph.depth(),
        "args_seconds": fastest(lambda: operator_text(late, args, kwargs)),
        "extent_seconds": fastest(lambda: extent_text(args, kwargs)),
        "graph_seconds": fastest(lambda: graph_text(args, kwargs)),
        "graph_characters": len(graph_text(args, kwargs)),
        "stock_characters_seconds": fastest(lambda: tree_characters([args, kwargs])),
    }


def measured(quick: bool) -> dict[str, Any]:
    lowering_hooks.allow("described")
    lowering_hooks.apply("call_function")
    rows = []
    for layers in QUICK_LAYERS if quick else LAYERS:
        row = arguments_of(chain(layers)[1], torch.randn(4, 6), look=measure)
        rows.append({"layers": layers, **row})
        tell(json.dumps(rows[-1]))
    nodes, seconds = ([row[name] for row in rows] for name in ("nodes", "graph_seconds"))
    slope = statistics.linear_regression(nodes, seconds).slope
    exponent = statistics.linear_regression([*map(math.log, nodes)], [*map(math.log, seconds)]).slope
    return {
        "repeats": REPEATS,
        "graph_seconds_a_node": slope,
        # As fitted to the logarithms, seconds grow with nodes ** exponent: 1 where the text is linear.
        "graph_exponent": exponent,
        "rows": rows,
    }


if __name__ == "__main__":
    main(__doc__, measured)
