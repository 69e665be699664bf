"""Compiles graphs in processes that are forked from this one.  Run as a script.

``python worker.py SOCKET`` imports PyTorch, but nothing of lowering-hooks, compiles one small model so that no fork
has to load what a compile loads, and prints what PyTorch it has.  Then it forks a process for each line that it
reads, a way of compiling and its environment.  That process connects to SOCKET, and answers every graph that it
reads there with what was seen of its compile.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

TESTS = Path(__file__).resolve().parent.parent
# At the end: the folder has one called vllm.
sys.path[:] = [str(TESTS), *sys.path[1:], str(TESTS.parent / "downstream"), str(TESTS.parent / "tools")]

import compiling
import torch
from demo_compiling import install_plain_set_proxy
from forked import last_of_process

from random_graphs import model

# Cuts the texts of ops of namespaces that are not allowed after so many characters in the way "cut".
SHORT = 300


def serve(address: str) -> None:
    warm_up()
    hello = {"torch": str(torch.__version__), "subgraphs": list(model.FOUND)}
    print(json.dumps(hello), flush=True)
    # What is here now is garbage to no fork, and looking through it again and again takes time.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            compile_as(json.loads(line), address)


def warm_up() -> None:
    """Compile a model without a custom op, so that everything is loaded that a compile loads."""
    import torch._inductor.codegen.cpp

    def forward(x: Any, y: Any) -> Any:
        return (x @ y).softmax(-1).sum(0) + torch.cat([x, y]).t().flip(0)[:, :6]

    with compiling.compiling_nothing():
        # Without gradients: autograd's threads would not be there in a fork.
        torch.compile(forward, dynamic=True)(torch.randn(6, 6), torch.randn(6, 6))
    torch._dynamo.reset()


def compile_as(task: dict[str, Any], address: str) -> None:
    """Compile what comes over the socket, in one way, until it is closed; then end this process."""
    with last_of_process():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # What is printed by a compile must not reach whoever reads standard output.
        log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        # The process that this one was forked from has the environment of stock.
        for name in [name for name in os.environ if name.startswith("LOWERING_HOOKS")]:
            del os.environ[name]
        os.environ.update(compiling.MODES[task["mode"]][1])
        compiler = Compiler(task["way"], task["mode"])
        with connection.makefile("rw") as lines:
            lines.write(json.dumps({"pid": os.getpid()}) + "\n")
            lines.flush()
            for line in lines:
                lines.write(json.dumps(compiler.answer(json.loads(line))) + "\n")
                lines.flush()


def meddle() -> None:
    """Let the text of an op copy its arguments, where a text must make nothing."""
    from torch._inductor import exc, ir, lowering

    original = exc.OperatorIssue.operator_str

    def operator_str(target: Any, args: Any, kwargs: Any) -> str:
        for arg in (*args, *kwargs.values()):
            if isinstance(arg, ir.TensorBox):
                lowering.clone(arg).realize()
        text: str = original(target, args, kwargs)
        return text

    exc.OperatorIssue.operator_str = staticmethod(operator_str)


class Compiler:
    """Compiles graphs in one way, in this process.

    Args:
        way: What is done beside the mode.
        mode: A mode of ``compiling``.
    """

    def __init__(self, way: str, mode: str) -> None:
        self._recorder = compiling.start(mode)
        # Otherwise some warnings come once in a process, and graphs are not alone in theirs.
        torch.set_warn_always(True)
        self._is_stock = mode == "stock"
        if way == "plain":
            install_plain_set_proxy(model.NAMESPACE)
        if way == "meddling":
            meddle()
            compiling.log_to(self._recorder.log, logging.DEBUG)
        if way == "cut":
            from lowering_hooks.hooks import limit, writing

            # Small graphs have small texts: this has those of ops that nobody allowed cut.
            limit.MAX_CHARACTERS = writing.MAX_CHARACTERS = SHORT  # type: ignore[misc]

    def answer(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return what was seen of a graph, and what lowering-hooks counted meanwhile."""
        graph = task["graph"]
        with contextlib.ExitStack() as stack:
            for module, name, value in _settings(graph):
                stack.enter_context(module.patch(**{name: value}))
            if not graph["built"]:
                stack.enter_context(compiling.compiling_nothing())
            try:
                seen = self._compiled(graph, task["number"])
            except Exception as error:
                # The graph cannot even be defined: the same must be true of stock.
                seen = {"undefined": f"{type(error).__name__}: {error}"}
        return seen | self._counted()

    def _compiled(self, graph: dict[str, Any], number: int) -> dict[str, Any]:
        built = model.Model(graph, number, self._recorder.strides)
        expected: list[Any] | None = None
        if graph["built"]:
            with contextlib.suppress(Exception):
                expected = built.outcome(built.forward)

        def run() -> bool | None:
            compiled = torch.compile(built.forward, fullgraph=True, dynamic=graph["dynamic"])
            results = built.outcome(compiled)
            if expected is None:
                return None
            return len(results) == len(expected) and all(
                a.shape == b.shape and torch.allclose(a, b, atol=1e-4, rtol=1e-4, equal_nan=True)
                for a, b in zip(results, expected, strict=True)
            )

        return self._recorder.record(run)

    def _counted(self) -> dict[str, Any]:
        if self._is_stock:
            return {}
        import lowering_hooks

        ops = lowering_hooks.report().ops
        lowering_hooks.reset_report()
        return {
            "fallbacks": sorted(op.op for op in ops if op.fallbacks),
            "texts": sum(op.texts for op in ops),
            "cut": sum(op.cut for op in ops),
        }


def _settings(graph: dict[str, Any]) -> list[tuple[Any, str, Any]]:
    """Return what is set for a compile of ``graph``: modules of settings, names and values."""
    import torch._functorch.config as functorch_config
    from torch._inductor import config

    settings: list[tuple[Any, str, Any]] = [(config, "implicit_fallbacks", graph["implicit_fallbacks"])]
    name = "custom_op_default_layout_constraint"
    if graph["default_constraint"] and hasattr(functorch_config, name):
        settings.append((functorch_config, name, graph["default_constraint"]))
    return settings


if __name__ == "__main__":
    serve(sys.argv[1])
