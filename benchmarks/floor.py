"""A whole compile with lowering-hooks beside one without any text, and beside stock.

``python benchmarks/floor.py OUTPUT.json [--quick]`` runs all compiles in one process, because two processes
differ by more than this is to find.  They run in pairs, the order turned around from pair to pair (A B, B A),
so that what drifts within a process, such as the size of its heap, falls on both alike.  The ratio is taken
within each pair.  The median ratio is what counts, with the interval that it is known to lie in.

Each pair starts from another depth of the stack (see ``results.deeper``): on 2.12, 30 layers took 1.2 to 2 s,
depending on where their frames happened to lie, and one frame more, such as a wrapper's, moves all that is
behind it.  So ideal, too, has a frame as large as our wrapper's, which only passes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from compiles import Compiles
from results import deeper, main, spread, tell, with_interval

from lowering_hooks.compat import release_of

# What lowering-hooks is measured against, layers, pairs.  Stock is quick at 2 layers, and hangs not much
# deeper.
FULL = (("ideal", 60, 20), ("ideal", 200, 10), ("stock", 2, 30))
# On a lazy series nobody asks for a text in these compiles: greater depths would show nothing more.
FULL_LAZY = (("ideal", 60, 20), ("stock", 2, 30))
QUICK = (("ideal", 8, 2), ("stock", 2, 2))

Compile = Callable[[int], float]


def pairs(ours: Compile, other: Compile, layers: int, count: int) -> list[tuple[float, float]]:
    """Return the seconds of ``count`` pairs; in every other one, lowering-hooks compiles first."""
    found = []
    for i in range(count):
        if i % 2 == 0:
            ours_seconds, other_seconds = (deeper(i, compiled, layers) for compiled in (ours, other))
        else:
            other_seconds, ours_seconds = (deeper(i, compiled, layers) for compiled in (other, ours))
        found.append((ours_seconds, other_seconds))
    return found


def measure(quick: bool) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as cache:
        compiles = Compiles(cache)
        others = {"ideal": compiles.ideal, "stock": compiles.stock}
        for against, layers, count in QUICK if quick else FULL_LAZY if lazy() else FULL:
            others[against](layers)  # compiles the C++ of this depth
            measured = pairs(compiles.ours, others[against], layers, count)
            rows.append(
                {
                    "against": against,
                    "layers": layers,
                    "pairs": count,
                    "ours_seconds": spread([ours for ours, _ in measured]),
                    "other_seconds": spread([other for _, other in measured]),
                    "ratio": with_interval([ours / other for ours, other in measured]),
                }
            )
            tell(f"{layers} layers, lowering-hooks against {against}: {rows[-1]['ratio']['median']:.4f}")
    return {"rows": rows}


def lazy() -> bool:
    """Return whether Inductor builds the text only for a log handler that wants it."""
    row = release_of(version("torch"))
    return row is not None and row.log_text == "lazy"


if __name__ == "__main__":
    main(__doc__, measure)
