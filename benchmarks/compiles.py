"""Whole compiles of the demo's decoder in this process, one after the other."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import runpy
import time
from pathlib import Path

import lowering_hooks

DEMO_WORKER = Path(lowering_hooks.__file__).with_name("demo_worker.py")


class Compiles:
    """Compiles the decoder; each time with ops of its own, which Inductor has never met.

    Args:
        cache: A folder for what Inductor compiles.
    """

    def __init__(self, cache: str) -> None:
        # A cached graph is not lowered.  Read when PyTorch is imported.
        os.environ.update(
            TORCHINDUCTOR_CACHE_DIR=cache,
            TORCHINDUCTOR_FX_GRAPH_CACHE="0",
            TORCHINDUCTOR_AUTOGRAD_CACHE="0",
            TORCHINDUCTOR_COMPILE_THREADS="1",
        )
        import torch
        import torch._inductor.compile_fx
        from torch._inductor import exc

        self._torch, self._exc = torch, exc
        self._demo = runpy.run_path(str(DEMO_WORKER))
        self._demo["write_scalar_code"]()
        self._demo["log_to"](logging.NullHandler(), logging.WARNING)
        self._library = torch.library.Library(self._demo["NAMESPACE"], "DEF")
        self._inputs = self._demo["tensors"]()
        self._counter = itertools.count()
        lowering_hooks.allow(self._demo["NAMESPACE"])
        lowering_hooks.apply("call_function")
        self.ours(2)  # what the first compile of a process makes, all others find

    def ours(self, layers: int) -> float:
        """Return the seconds of one compile with lowering-hooks."""
        return self._seconds(layers)

    def stock(self, layers: int) -> float:
        """Return the seconds of one compile without."""
        lowering_hooks.remove()
        try:
            return self._seconds(layers)
        finally:
            lowering_hooks.apply("call_function")

    def ideal(self, layers: int) -> float:
        """Return the seconds of one compile without, and without any text."""
        lowering_hooks.remove()
        original = vars(self._exc.OperatorIssue)["operator_str"]
        self._demo["install_ideal"](self._exc)
        try:
            return self._seconds(layers)
        finally:
            self._exc.OperatorIssue.operator_str = original
            lowering_hooks.apply("call_function")

    def _seconds(self, layers: int) -> float:
        ops = self._demo["define_ops"](self._library, f"compile{next(self._counter)}", [])
        forward = self._demo["decoder"](ops, layers, False)
        self._torch._dynamo.reset()
        gc.collect()
        start = time.perf_counter()
        self._torch.compile(forward, fullgraph=True)(*self._inputs)
        return time.perf_counter() - start
