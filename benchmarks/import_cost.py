"""What importing costs: lowering-hooks alone, what its entry point adds to ``import torch``, a set proxy.

``python benchmarks/import_cost.py OUTPUT.json [--quick]`` times every import inside a fresh process, which
leaves out Python's own start, with everything in the page cache and compiled to bytecode.  It measures what
the entry point adds in two ways: as the difference between whole imports of PyTorch with LOWERING_HOOKS=0 and
without, which vary by as much as that; and as the entry point's own call right behind such an import.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from results import main, spread, tell

# Processes of each kind.
FULL, QUICK = 6, 2

# This program prints the seconds of an import, and what the process has imported by then.
PROGRAM = """
import json, sys, time
{before}
start = time.perf_counter()
{timed}
seconds = time.perf_counter() - start
imported = {{
    "torch": "torch" in sys.modules,
    "inductor": any(name.startswith("torch._inductor") for name in sys.modules),
    "ours": "lowering_hooks" in sys.modules,
}}
print(json.dumps([seconds, imported]))
"""


class Imported(NamedTuple):
    """What a process has imported: PyTorch, anything of Inductor, lowering-hooks."""

    torch: bool = False
    inductor: bool = False
    ours: bool = False


ALONE = PROGRAM.format(before="", timed="import lowering_hooks")
TORCH = PROGRAM.format(before="", timed="import torch")
ENTRY_POINT = PROGRAM.format(
    before="import torch",
    timed="import _lowering_hooks_autoload\n_lowering_hooks_autoload.torch_backend()",
)
# A plain set proxy must import this to put itself in.
SET_PROXY = PROGRAM.format(before="import torch", timed="import torch._inductor.lowering")

OFF, LOADED = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}, {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
# The program that is timed, the variables of its environment, and what its process must have imported then,
# and no more.
KINDS = {
    "alone": (ALONE, OFF, Imported(ours=True)),
    "torch": (TORCH, OFF, Imported(torch=True)),
    "torch_switched_off": (TORCH, LOADED | {"LOWERING_HOOKS": "0"}, Imported(torch=True)),
    "torch_applied": (TORCH, LOADED, Imported(torch=True, ours=True)),
    "entry_point": (ENTRY_POINT, OFF, Imported(torch=True, ours=True)),
    "set_proxy": (SET_PROXY, OFF, Imported(torch=True, inductor=True)),
}


def measure(quick: bool) -> dict[str, Any]:
    count = QUICK if quick else FULL
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    # The first round only fills the page cache and writes bytecode; a quick run leaves it out.
    for i in range(0 if quick else -1, count):
        # The order is turned around from round to round, so that what drifts falls on all alike.
        for kind in list(KINDS)[:: 1 if i % 2 else -1]:
            seconds = timed(*KINDS[kind])
            if i >= 0:
                found[kind].append(seconds)
    added = [on - off for off, on in zip(found["torch_switched_off"], found["torch_applied"], strict=True)]
    tell(*(f"{kind}: {spread(values)['median'] * 1e3:.1f} ms;" for kind, values in found.items()))
    return {
        "processes": count,
        **{f"{kind}_seconds": spread(values) for kind, values in found.items()},
        "added_to_torch_seconds": spread(added),
    }


def timed(program: str, variables: dict[str, str], expected: Imported) -> float:
    """Return the seconds of an import in a fresh process."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LOWERING_HOOKS", "TORCH"))
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command,
        # In the checkout's own folder Python would import the package there, and not the installed one.
        cwd=Path(__file__).parent,
        env=kept | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, imported = json.loads(done.stdout)
    assert Imported(**imported) == expected, imported
    return float(seconds)


if __name__ == "__main__":
    main(__doc__, measure)
