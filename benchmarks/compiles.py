"""Whole compiles of the demo's decoder in this process, one after the other."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable
from types import CodeType
from typing import Any

import lowering_hooks
from lowering_hooks.cli.compile_process import WORKER_FOLDER
from lowering_hooks.cli.environment import settings

sys.path.insert(0, str(WORKER_FOLDER))

NAMESPACE = "lowering_hooks_demo"


class Compiles:
    """Compiles the decoder; each time with ops of its own, which Inductor has never met.

    Args:
        cache: A folder for what Inductor compiles.
    """

    def __init__(self, cache: str) -> None:
        # Before PyTorch is imported, which reads them then.
        os.environ.update(settings(cache))
        import demo_compiling
        import demo_decoder
        import torch
        import torch._inductor.compile_fx
        from torch._inductor import exc
        from torch._inductor.graph import GraphLowering

        self._torch, self._exc, self._lowering_class = torch, exc, GraphLowering
        self._compiling, self._decoder = demo_compiling, demo_decoder
        demo_compiling.write_scalar_code()
        demo_compiling.log_to(logging.NullHandler(), logging.WARNING)
        self._library = torch.library.Library(NAMESPACE, "DEF")
        self._inputs = demo_decoder.tensors()
        self._counter = itertools.count()
        lowering_hooks.allow(NAMESPACE)
        lowering_hooks.apply("call_function")
        self.ours(2)  # the first compile of a process makes what all others find

    def ours(self, layers: int) -> float:
        """Return the seconds of one compile with lowering-hooks."""
        return self.seconds(layers)

    def stock(self, layers: int) -> float:
        """Return the seconds of one compile without lowering-hooks."""
        lowering_hooks.remove()
        try:
            return self.seconds(layers)
        finally:
            lowering_hooks.apply("call_function")

    def ideal(self, layers: int) -> float:
        """Return the seconds of one compile without lowering-hooks and any text, on as deep a stack."""
        ours: CodeType = vars(self._lowering_class)["call_function"].__code__
        lowering_hooks.remove()
        call_function = vars(self._lowering_class)["call_function"]
        operator_str = vars(self._exc.OperatorIssue)["operator_str"]
        self.without_text()
        self._lowering_class.call_function = passing_on(call_function, frame_size(ours))
        try:
            return self.seconds(layers)
        finally:
            self._lowering_class.call_function = call_function
            self._exc.OperatorIssue.operator_str = operator_str
            lowering_hooks.apply("call_function")

    def without_text(self) -> None:
        """Let ``operator_str`` return nothing."""
        self._compiling.install_ideal()

    def seconds(self, layers: int) -> float:
        """Return the seconds of one compile with whatever is in place."""
        ops = self._decoder.define_ops(self._library, f"compile{next(self._counter)}", [])
        forward = self._decoder.decoder(ops, layers, failing=False)
        self._torch._dynamo.reset()
        gc.collect()
        start = time.perf_counter()
        self._torch.compile(forward, fullgraph=True)(*self._inputs)
        return time.perf_counter() - start


def frame_size(code: CodeType) -> int:
    """Return how many words a frame of ``code`` has in CPython 3.11 and later, its fixed head left out."""
    return code.co_nlocals + len(code.co_cellvars) + len(code.co_freevars) + code.co_stacksize


def passing_on(run: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Return a function that calls ``run`` and does nothing else, from a frame of that size.

    A frame of another size would move all that is behind it on the stack; ``floor.py`` says what that does.
    """
    padding = 0
    while True:
        unused = "".join(f"unused_{i} = " for i in range(padding))
        source = f"""
def wrapped(run):
    def call_function(self, target, args, kwargs):
        if False:
            {unused}padding = None
        return run(self, target, args, kwargs)
    return call_function
"""
        scope: dict[str, Any] = {}
        exec(source, scope)
        function: Callable[..., Any] = scope["wrapped"](run)
        missing = size - frame_size(function.__code__)
        if missing <= 0:
            return function
        padding += missing
