"""How long a compile takes, and how much memory, against the depth of the model.

``python benchmarks/scaling.py OUTPUT.json [--quick]`` compiles the demo's decoder in the demo's processes:
each compile is the second of a fresh process, and is killed at its deadline.  A variant that came to its
deadline is not tried on deeper models of that case.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from results import main, tell

from lowering_hooks import demo

VARIANTS = (demo.STOCK, demo.PLAIN_SET_PROXY, demo.IDEAL, demo.OURS)
DEADLINE = 30.0  # seconds
# Layers, by case and by whether the variant may come to its deadline.  Stock's text grows fourfold with each
# layer, which has two ops of two outputs.  The last depth of those that hang is the demo's.
HANGING = (2, 4, 5, 6, 8, demo.DEFAULT_LAYERS)
DEEP = {"INFO off": (2, 8, 24, 100, 400), "INFO on": (2, 24, 100), demo.FAILING: (2, 24, 100)}
QUICK_DEADLINE, QUICK = 5.0, (2, 8)


def measure(quick: bool) -> dict[str, Any]:
    deadline = QUICK_DEADLINE if quick else DEADLINE
    rows = []
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as folder:
        for case, info, failing in demo.CASES:
            for variant in VARIANTS:
                for layers in QUICK if quick else depths(case, variant):
                    spec = {
                        "variant": variant,
                        "info": info,
                        "failing": failing,
                        "shallow": 2,
                        "layers": layers,
                    }
                    label = f"{case}, {variant}, {layers} layers"
                    events = demo.run_worker(spec, deadline, folder, label, sys.stderr)
                    rows.append({"case": case, "variant": variant, "layers": layers, **ended(events)})
                    if rows[-1]["seconds"] is None:
                        break
    return {"deadline_seconds": deadline, "rows": rows}


def depths(case: str, variant: str) -> tuple[int, ...]:
    if variant == demo.STOCK or (variant == demo.PLAIN_SET_PROXY and case == demo.FAILING):
        return tuple(sorted({*HANGING, *DEEP[case]}))
    return DEEP[case]


def ended(events: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a process: None where the deadline ended it."""
    deep = events.get("deep")
    if deep is None:
        return {"seconds": None, "peak_mib": None, "characters": None, "error": None}
    return {name: deep[name] for name in ("seconds", "peak_mib", "characters", "error")}


if __name__ == "__main__":
    tell(f"deadline {DEADLINE:g} s")
    main(__doc__, measure)
