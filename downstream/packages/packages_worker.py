"""Compiles models of packages in one way.  ``verify.py`` runs it as a script, in a process of its own.

``python packages_worker.py MODE SECONDS MODEL LAYERS ... [plain]`` prints one JSON object for each model.  The process
ends where a compile takes more than SECONDS.  With ``plain``, the models compile with a plain set proxy for their
namespaces.
"""

from __future__ import annotations

import json
import signal
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compiling import Recorder, Seen, start
from demo_compiling import install_plain_set_proxy


def seen_of(recorder: Recorder, mode: str, name: str, layers: int, seconds: float) -> Seen:
    """Compile a model, and before that have Inductor refuse it, and return what was seen."""
    import torch
    from models import MODELS, built
    from torch._inductor import config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, inputs = built(name, layers)
    expected = model(*inputs)
    took = 0.0

    def run() -> bool:
        nonlocal took
        begun = time.perf_counter()
        # Its default action ends the process, whatever code it is in.
        signal.setitimer(signal.ITIMER_REAL, seconds)
        found = torch.compile(model, fullgraph=True)(*inputs)
        signal.setitimer(signal.ITIMER_REAL, 0)
        took = time.perf_counter() - begun
        both = ([found], [expected]) if isinstance(found, torch.Tensor) else (found, expected)
        return all(map(is_same, *both))

    def refused() -> None:
        with config.patch(implicit_fallbacks=False):
            torch.compile(model, fullgraph=True)(*inputs)

    with torch.no_grad():
        error = recorder.record(refused)
        seen = recorder.record(run)
    told: Any = None
    if mode != "stock":
        import lowering_hooks

        report, status = lowering_hooks.report(), lowering_hooks.status()
        told = {
            "strategy": status.strategy,
            "state": status.state,
            "fallbacks": sorted(op.op for op in report.ops if op.fallbacks),
            "cut": {op.op: op.stock_characters for op in report.ops if op.cut},
            "text_seconds": report.seconds,
        }
    return {
        "model": name,
        "layers": layers,
        "version": version(MODELS[name].package),
        "torch": torch.__version__,
        "seconds": took,
        "compiled": seen,
        "refused": error,
        "told": told,
    }


def is_same(one: Any, other: Any) -> bool:
    """Whether two tensors have the same values, strides and type."""
    import torch

    return torch.equal(one, other) and (one.stride(), one.dtype) == (other.stride(), other.dtype)


def main(mode: str, seconds: float, *models: str) -> None:
    recorder = start(mode)
    if models[-1] == "plain":
        models = models[:-1]
        from models import MODELS

        ops = [op for name in models[::2] for op in MODELS[name].names()]
        for namespace in sorted({op.partition(".")[0] for op in ops}):
            install_plain_set_proxy(namespace)
    for name, layers in zip(models[::2], models[1::2], strict=True):
        print(json.dumps(seen_of(recorder, mode, name, int(layers), seconds)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
