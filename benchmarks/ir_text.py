"""What bounding the texts of IR nodes costs: a small text, a deep one, hooking, and where there is no text.

``python benchmarks/ir_text.py OUTPUT.json [--quick]`` runs ``ir_text_worker.py`` in many fresh processes, by
turns as stock and hooked.  SymPy writes most of a small text, and its time is up to three times longer or
shorter, depending on where its classes come to lie in CPython's cache of attributes.  So each process begins
with a random number of unused classes, which moves all others in that cache.  Three things are compared: the
fastest of all processes; the medians of each process's fastest; and, within a process, the texts with and
without the hook, by turns.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from results import main, spread, tell, with_interval

WORKER = Path(__file__).with_name("ir_text_worker.py")

# Processes of each variant.
FULL, QUICK = 8, 2
STOCK, AUTO = "stock", "auto"
# Numbers of layers of a chain of two-output ops: those whose text has at most 100,000 characters, and deeper
# ones.
SMALL, QUICK_SMALL = (0, 1, 2, 3, 4, 5), (0, 1)
BOUNDED, QUICK_BOUNDED = (24, 60, 200), (24,)
# CPython's cache of attributes has so many places.
MOST_CLASSES = 4096


def measure(quick: bool) -> dict[str, Any]:
    processes = QUICK if quick else FULL
    small, bounded = (QUICK_SMALL, QUICK_BOUNDED) if quick else (SMALL, BOUNDED)
    found: dict[str, list[dict[str, Any]]] = {STOCK: [], AUTO: []}
    for i in range(processes):
        # The order is turned around from round to round, so that what drifts falls on both alike.
        for variant in (STOCK, AUTO)[:: 1 if i % 2 else -1]:
            found[variant].append(in_process(variant, small, bounded))
        tell(f"{i + 1} of {processes}")
    stock, auto = found[STOCK], found[AUTO]
    node_pairs = [process["node"] for process in auto]
    return {
        "processes": processes,
        "small": [small_row(depth, stock, auto) for depth in small],
        "bounded": [bounded_row(depth, stock, auto, max(small)) for depth in bounded],
        "added_ns": {
            name: 1e9 * min(process["added"][name] for process in auto) for name in ("outermost", "nested")
        },
        "install_seconds": spread([process["install"] for process in stock]),
        "node_seconds": {variant: min(pair[variant] for pair in node_pairs) for variant in (STOCK, AUTO)},
        "node_ratio": with_interval([pair[AUTO] / pair[STOCK] for pair in node_pairs]),
    }


def in_process(variant: str, small: tuple[int, ...], bounded: tuple[int, ...]) -> dict[str, Any]:
    """Return what one fresh process measured."""
    spec = {"variant": variant, "classes": random.randrange(MOST_CLASSES), "small": small, "bounded": bounded}
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LOWERING_HOOKS", "TORCH"))
    }
    done = subprocess.run(
        [sys.executable, str(WORKER), json.dumps(spec)],
        env=kept | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "LOWERING_HOOKS": "1" if variant == AUTO else "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def small_row(layers: int, stock: list[dict[str, Any]], auto: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how the two variants compare on a text that stays Inductor's own."""
    texts = {
        variant: [process["small"][str(layers)] for process in processes]
        for variant, processes in ((STOCK, stock), (AUTO, auto))
    }
    (characters,) = {text["characters"] for text in (*texts[STOCK], *texts[AUTO])}
    seconds = {variant: [text["seconds"] for text in found] for variant, found in texts.items()}
    pairs = [text["in_turns"] for text in texts[AUTO]]
    return {
        "layers": layers,
        "characters": characters,
        "stock_seconds": spread(seconds[STOCK]),
        "auto_seconds": spread(seconds[AUTO]),
        "fastest_ratio": min(seconds[AUTO]) / min(seconds[STOCK]),
        "median_ratio": statistics.median(seconds[AUTO]) / statistics.median(seconds[STOCK]),
        "in_turns_ratio": with_interval([pair[AUTO] / pair[STOCK] for pair in pairs]),
        "in_turns_fastest_ratio": min(pair[AUTO] for pair in pairs) / min(pair[STOCK] for pair in pairs),
    }


def bounded_row(
    layers: int, stock: list[dict[str, Any]], auto: list[dict[str, Any]], longest: int
) -> dict[str, Any]:
    """Return how long a text took that passes the limit, beside stock's longest one that does not."""
    texts = [process["bounded"][str(layers)] for process in auto]
    fastest = min(text["seconds"] for text in texts)
    return {
        "layers": layers,
        "characters": max(text["characters"] for text in texts),
        "seconds": spread([text["seconds"] for text in texts]),
        "fastest_seconds": fastest,
        "to_longest_stock_text": fastest
        / min(process["small"][str(longest)]["seconds"] for process in stock),
    }


if __name__ == "__main__":
    main(__doc__, measure)
