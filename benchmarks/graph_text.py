"""How long the texts take against the number of IR nodes behind an op, on a real Inductor.

``python benchmarks/graph_text.py OUTPUT.json`` compiles a chain of two-output ops up to its last op, and
describes that op's arguments as the log line would.  Each text is the fastest of several.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

# What the tests know of compiles and of the machine.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from lowered import arguments_of, chain
from machine import cpu

import lowering_hooks
from lowering_hooks.ir_graph import reachable, tree_characters
from lowering_hooks.text import extent_text, graph_text, operator_text

# Each layer is three nodes: a kernel and its two outputs.
LAYERS = (10, 333, 3333)
REPEATS = 5


def fastest(make: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of :data:`REPEATS` calls."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        make()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


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


def main(output: str) -> None:
    lowering_hooks.allow("described")
    lowering_hooks.apply("call_function")
    rows = []
    for layers in LAYERS:
        row = arguments_of(chain(layers)[1], torch.randn(4, 6), look=measure)
        rows.append({"layers": layers, **row})
        print(json.dumps(rows[-1]), flush=True)
    found = {
        "date": date.today().isoformat(),
        "cpu": cpu(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "repeats": REPEATS,
        # Seconds a node, in the largest graph to those in one a tenth of its size: 1 where they are linear.
        "graph_seconds_a_node_3333_to_333_layers": a_node(rows[2]) / a_node(rows[1]),
        "rows": rows,
    }
    Path(output).write_text(json.dumps(found, indent=2) + "\n")


def a_node(row: dict[str, float]) -> float:
    return row["graph_seconds"] / row["nodes"]


if __name__ == "__main__":
    main(sys.argv[1])
