"""Nanoseconds that a wrapper adds to each node, and that a membership test takes.

``python benchmarks/overhead.py OUTPUT.json [--quick]`` runs ``test_overhead.py`` under pytest-benchmark, and
keeps the fastest and the median round of each test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import main

TESTS = Path(__file__).with_name("test_overhead.py")


def measure(quick: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as folder:
        found = Path(folder, "found.json")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
        subprocess.run([*command, f"--benchmark-json={found}"], check=True)
        tests = json.loads(found.read_text())["benchmarks"]
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for test in tests:
        kind = test["name"].partition("[")[0].removeprefix("test_")
        times = {f"{name}_ns": test["stats"][name] * 1e9 for name in ("min", "median")}
        rows.setdefault(test["params"]["target"], {})[kind] = times
    return {
        "rows": [
            {
                "target": target,
                "added_ns": kinds["wrapped_call"]["min_ns"] - kinds["unwrapped_call"]["min_ns"],
                **kinds,
            }
            for target, kinds in rows.items()
        ]
    }


if __name__ == "__main__":
    main(__doc__, measure)
