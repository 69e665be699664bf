"""Compiles a chain of two-output ops with one late op and writes down what came out.  Run as a script by the tests.

``python chain_worker.py MODE LAYERS PACKAGE_FOLDER`` prints one JSON object.  MODE is ``stock`` or ``hooked``,
with INFO on, so that the text is built on every release, or ``auto``: with DEBUG on, and nothing allowed.
"""

from __future__ import annotations

import json
import logging
import runpy
import sys
import time
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import torch
import torch._inductor.compile_fx
from torch._inductor import codecache

demo = runpy.run_path(str(Path(sys.argv[3]) / "cli" / "worker" / "demo_worker.py"))


def chain(ops: Any, layers: int) -> Any:
    """Return the chain: each layer doubles the text of what follows, which the late op asks for."""
    add_rms_norm, all_reduce, late = ops.add_rms_norm_, ops.all_reduce_, ops.matmul_

    def forward(x: Any, norm: Any, weight: Any) -> Any:
        residual = x
        for _ in range(layers):
            x, residual = add_rms_norm(x, residual, norm)
            x = all_reduce(x)
        return late(x, weight) + residual

    return forward


class AllText(demo["TextSize"]):
    """Counts the characters of everything that is logged as well."""

    all_characters = 0

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self.all_characters += len(record.getMessage())


def main(mode: str, layers: int) -> None:
    demo["write_scalar_code"]()
    if mode != "stock":
        import lowering_hooks

        if mode == "hooked":
            lowering_hooks.allow(demo["NAMESPACE"])
        status = lowering_hooks.apply("call_function")
        assert status.state == "active", status
    handler = AllText()
    demo["log_to"](handler, logging.DEBUG if mode == "auto" else logging.INFO)
    code: list[str] = []
    demo["capture_code"](codecache, code)
    library = torch.library.Library(demo["NAMESPACE"], "DEF")
    # A first compile, so that what is imported and built once is not in the seconds.
    for suffix, depth in (("first", 1), ("measured", layers)):
        forward = chain(demo["define_ops"](library, suffix, []), depth)
        x, _, norm, weight, _, _ = demo["tensors"]()
        code.clear()
        handler.characters = handler.all_characters = 0
        start = time.perf_counter()
        result = torch.compile(forward, fullgraph=True)(x, norm, weight)
        seconds = time.perf_counter() - start
        equal = torch.allclose(result, forward(x, norm, weight), atol=1e-4, rtol=1e-4)
    measured = {
        "seconds": seconds,
        "characters": handler.characters,
        "all_characters": handler.all_characters,
    }
    print(json.dumps(measured | {"equal": equal, "code": code}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
