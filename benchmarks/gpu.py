"""How long 61 tensor-parallel layers take to compile on an NVIDIA GPU, in bfloat16.

``python benchmarks/gpu.py OUTPUT.json [--quick] [--device cpu]`` compiles the demo's decoder (an all-reduce
behind each block, routed experts in the last layer) as stock, with a plain set proxy and with lowering-hooks,
each in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import write

from lowering_hooks.cli.compile_process import SHALLOW_LAYERS, VARIANTS, Ended, Spec, run_worker
from lowering_hooks.cli.demo import row_of

LAYERS, DEADLINE = 61, 120.0
QUICK_LAYERS, QUICK_DEADLINE = 8, 5.0
CASE = "INFO off"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path, metavar="OUTPUT.json")
    parser.add_argument("--quick", action="store_true", help="few layers, to see that it runs")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    write(options.output, options.quick, measure(options.quick, options.device))


def measure(quick: bool, device: str) -> dict[str, Any]:
    layers, deadline = (QUICK_LAYERS, QUICK_DEADLINE) if quick else (LAYERS, DEADLINE)
    rows = []
    stock: Ended | None = None
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as folder:
        for variant in VARIANTS:
            spec = Spec(variant, layers, device=device, dtype="bfloat16")
            compiled = run_worker(spec, deadline, folder, variant, sys.stderr)
            stock = stock or compiled.shallow
            row = asdict(row_of(CASE, variant, compiled, stock))
            # The result is left out: eager rounds to bfloat16 where a fused kernel does not.
            kept = ("variant", "seconds", "code_identical", "strides_identical", "error")
            rows.append({name: row[name] for name in kept} | {"deadline_seconds": deadline})
    return {
        "device": device_name(device),
        "layers": layers,
        "shallow_layers": SHALLOW_LAYERS,
        "rows": rows,
    }


def device_name(device: str) -> str:
    if device == "cpu":
        return device
    program = "import torch; print(torch.cuda.get_device_name())"
    printed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return printed.stdout.strip()


if __name__ == "__main__":
    main()
