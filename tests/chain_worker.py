"""Compiles a chain of two-output ops with one late op and prints what came out.  Run as a script by the tests.

``python chain_worker.py MODE LAYERS DEMO_FOLDER`` prints one JSON object.  MODE is ``stock`` or ``hooked``, with
INFO on, so that the text is built on every release; or ``auto``, with DEBUG on and no namespace allowed.  The
caller names the folder of the demo's modules: importing lowering_hooks to find it would hook what is to be stock.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

warnings.simplefilter("ignore")

import torch
import torch._inductor.compile_fx

sys.path.insert(0, sys.argv[3])

from demo_compiling import TextSize, capture_code, log_to, write_scalar_code
from demo_decoder import Ops, define_ops, tensors

NAMESPACE = "chain"


def chain(ops: Ops, layers: int) -> Any:
    """Return the chain: each layer doubles the text of what follows, and the late op asks for that text."""
    add_rms_norm, all_reduce, late = ops.add_rms_norm, ops.all_reduce, ops.matmul

    def forward(x: Any, norm: Any, weight: Any) -> Any:
        residual = x
        for _ in range(layers):
            x, residual = add_rms_norm(x, residual, norm)
            x = all_reduce(x)
        return late(x, weight) + residual

    return forward


class AllText(TextSize):
    """Counts also the characters of everything that is logged."""

    all_characters = 0

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self.all_characters += len(record.getMessage())


def main(mode: str, layers: int) -> None:
    write_scalar_code()
    if mode != "stock":
        import lowering_hooks

        if mode == "hooked":
            lowering_hooks.allow(NAMESPACE)
        status = lowering_hooks.apply("call_function")
        assert status.state == "active", status
    handler = AllText()
    log_to(handler, logging.DEBUG if mode == "auto" else logging.INFO)
    code: list[str] = []
    capture_code(code)
    library = torch.library.Library(NAMESPACE, "DEF")
    # The first compile imports and builds what later ones find, so that it is not in the seconds.
    for suffix, depth in (("first", 1), ("measured", layers)):
        forward = chain(define_ops(library, suffix, []), depth)
        x, _, norm, weight, _, _ = tensors()
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
