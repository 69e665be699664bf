"""How long a compile takes, and how much memory, against the depth of the model.

``python benchmarks/scaling.py OUTPUT.json [--quick]`` compiles the demo's decoder in the demo's processes:
each compile is the second of a fresh process, and is killed at its deadline.  A variant that came to its
deadline is not tried on deeper models of that case.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from results import main

from lowering_hooks import demo

# Seconds, for models of a depth that stock may hang on, and for deeper ones, which take long in any case.
DEADLINE, DEEP_DEADLINE = 20.0, 120.0
QUICK_DEADLINE = 5.0
# Layers.  Stock's text grows fourfold with each layer, which has two ops of two outputs.
SHALLOW, DEEP = (2, 4, 6, 8), (24, 100, 400)
# A logging handler changes nothing where no text is asked for, and a lowering fails before much is compiled:
# what the cases add is shown at fewer depths.
DEPTHS = {
    ("INFO off", demo.STOCK): (*SHALLOW, *DEEP),
    ("INFO off", demo.PLAIN_SET_PROXY): (2, *DEEP),
    ("INFO off", demo.IDEAL): (2, *DEEP),
    ("INFO off", demo.OURS): (2, *DEEP),
    ("INFO on", demo.STOCK): (2, 6, 8),
    ("INFO on", demo.PLAIN_SET_PROXY): (2, 100),
    ("INFO on", demo.OURS): (2, 100),
    (demo.FAILING, demo.STOCK): (2, 6, 8),
    (demo.FAILING, demo.PLAIN_SET_PROXY): (2, 6, 8),
    (demo.FAILING, demo.IDEAL): (2, 100),
    (demo.FAILING, demo.OURS): (2, 100),
}
QUICK = {("INFO on", variant): (8,) for variant in (demo.STOCK, demo.PLAIN_SET_PROXY, demo.IDEAL, demo.OURS)}


def measure(quick: bool) -> dict[str, Any]:
    rows = []
    cases = {case: (info, failing) for case, info, failing in demo.CASES}
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as folder:
        for (case, variant), depths in (QUICK if quick else DEPTHS).items():
            info, failing = cases[case]
            for layers in depths:
                deadline = QUICK_DEADLINE if quick else DEADLINE if layers <= max(SHALLOW) else DEEP_DEADLINE
                spec = {"variant": variant, "info": info, "failing": failing, "shallow": 2, "layers": layers}
                label = f"{case}, {variant}, {layers} layers"
                events = demo.run_worker(spec, deadline, folder, label, sys.stderr)
                row = {"case": case, "variant": variant, "layers": layers, "deadline_seconds": deadline}
                rows.append(row | ended(events))
                if rows[-1]["seconds"] is None:
                    break
    return {"rows": rows}


def ended(events: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a process: None where the deadline ended it."""
    deep = events.get("deep")
    if deep is None:
        return {"seconds": None, "peak_mib": None, "characters": None, "error": None}
    return {name: deep[name] for name in ("seconds", "peak_mib", "characters", "error")}


if __name__ == "__main__":
    main(__doc__, measure)
