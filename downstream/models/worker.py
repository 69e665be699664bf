"""A process that has imported PyTorch and the libraries, and forks a child for each architecture that it compiles.

Reads tasks from standard input, one JSON object a line, and answers each with how its child ended.  It imports
nothing of lowering-hooks, which only those children do whose mode is about it: so a child in mode ``stock`` is stock.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import sys
import threading
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Final

warnings.simplefilter("ignore")
ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "downstream"), str(ROOT / "tools")]

import compiling
import torch
from architectures import ALL, ATTENTION, CLOSE, LIBRARIES, SHALLOW, Architecture
from forked import last_of_process
from ops import Ops, swap

# A process may take this many seconds more than its compiles may.  All seconds here are of processor time, so that it
# does not matter what else the machine does; `server.py` ends a process that waits, which takes none.
GRACE: Final = 60.0


def serve() -> None:
    """Import what all children need, then run each task in a child of this process."""
    # Eager would compute nn.MultiheadAttention in one op of ATen, which says nothing of attention.
    torch.backends.mha.set_fastpath_enabled(False)
    modules = ("torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.codegen.cpp")
    versions = {name: import_module(name).__version__ for name in ("torch", *LIBRARIES)}
    for module in modules:
        import_module(module)
    register_attention(Ops("unused", []))
    for architecture in ALL:
        # Libraries import their models when they are first asked for.  One that cannot be built fails in its own
        # child again, and so the others are still compiled.
        try:
            architecture.build(SHALLOW)
        except Exception:
            traceback.print_exc()
    warm_up()
    gc.collect()
    gc.freeze()
    print(json.dumps({**versions, "python": sys.version.split()[0]}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            run_task(task)
        _, code, usage = os.wait4(child, 0)
        status = os.waitstatus_to_exitcode(code)
        answer = {
            "peak_mib": usage.ru_maxrss / 2**10,
            "why": f"the process ended with status {status}" if status else "",
        }
        print(json.dumps(answer), flush=True)


def warm_up() -> None:
    """Compile something that has no custom op, so that Inductor makes its patterns once, and not in each child."""
    linear = torch.nn.Linear(4, 4)
    with compiling.compiling_nothing(), torch.no_grad():
        torch.compile(lambda x: linear(x).relu().sum(0))(torch.ones(2, 4))
    torch._dynamo.reset()


def run_task(task: dict[str, Any]) -> None:
    """Compile one architecture, write what came of it into a file, a line for each run, and end this process."""
    with last_of_process():
        # Ends a compile that holds the interpreter, so that it does not even give up.
        limit = int(task["deadline"] * len(task["runs"]) + GRACE)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        output = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(task["variables"])
        recorder = compiling.start(task["mode"])
        (architecture,) = (one for one in ALL if one.name == task["architecture"])
        for run in task["runs"]:
            print(json.dumps(compile_run(architecture, run, task, recorder)), flush=True)


def compile_run(architecture: Architecture, run: str, task: dict[str, Any], recorder: Any) -> dict[str, Any]:
    """Compile an architecture with ops that this process has not met before, and return what was seen.

    Args:
        architecture: One of the table.
        run: ``forward`` or ``training``; the namespace of its ops.
        task: ``layers``; the ``deadline`` in seconds; and ``how``: ``built`` (what was generated is built, run and
            compared with eager), ``generated`` (it is not), ``textless`` (nor does stock write the text of any op),
            ``plain_proxy`` (stock has a set that says yes in the place of its allow list).
        recorder: What :func:`compiling.start` returned.
    """
    import demo_compiling
    from torch._inductor.compile_fx import compile_fx

    how = task["how"]
    if how == "textless":
        demo_compiling.install_ideal()
    elif how == "plain_proxy":
        demo_compiling.install_plain_set_proxy(run)
    if how != "built":
        # At DEBUG, Inductor logs megabytes of a deep model, which takes longer than all that is measured.
        demo_compiling.log_to(recorder.log, logging.WARNING)
    cut = cut_texts()
    ops = Ops(run, recorder.strides)
    whole, inputs = build(architecture, task["layers"], run, ops)

    def backend(graph: Any, given: Any) -> Any:
        ops.fuse(graph, adds=architecture.adds)
        return compile_fx(graph, given)

    def act() -> bool | None:
        expected = step(whole, inputs, run) if how == "built" else None
        recorder.strides.clear()
        # The values of what was only generated are nothing to train with, and its gradients are of its own shapes.
        found = step(torch.compile(whole, backend=backend, dynamic=False), inputs, run)
        if expected is None:
            return None
        return are_close(found, expected)

    begun, ended = time.process_time(), threading.Event()
    late = begun + task["deadline"]
    threading.Thread(target=watch, args=(run, threading.get_ident(), late, ended), daemon=True).start()
    if how == "built":
        seen = recorder.record(act)
    else:
        with compiling.compiling_nothing():
            seen = recorder.record(act)
    ended.set()
    return {
        "run": run,
        "seconds": time.process_time() - begun,
        "graphs": ops.graphs,
        "parameters": sum(parameter.numel() for parameter in whole.parameters()),
        "cut": cut_texts() - cut,
        **seen,
    }


def are_close(found: list[Any], expected: list[Any]) -> bool:
    """Whether all tensors are as expected; print the first that is not."""
    try:
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, **CLOSE)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return False
    return True


def cut_texts() -> int:
    """Return how many texts of ops were cut in this process; 0 in stock."""
    module = sys.modules.get("lowering_hooks")
    return sum(op.cut for op in module.report().ops) if module else 0


class Whole(torch.nn.Module):
    """A model, and behind it the one op that it meets last: it gathers the output, or is the loss."""

    def __init__(self, model: torch.nn.Module, last: Any) -> None:
        super().__init__()
        self.model, self.last = model, last

    def forward(self, **inputs: Any) -> Any:
        output = self.model(**inputs)
        return self.last(output if isinstance(output, torch.Tensor) else output[0])


def build(architecture: Architecture, layers: int, run: str, ops: Ops) -> tuple[Whole, Any]:
    torch.manual_seed(0)
    if architecture.library == "transformers":
        register_attention(ops)
    model, inputs = architecture.build(layers)
    model.eval()
    with torch.no_grad():
        # Some libraries begin with layers of zeros, behind which all outputs would be the same.
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    swap(model, ops)
    return Whole(model, ops.gather if run == "forward" else ops.loss), inputs


def register_attention(ops: Ops) -> None:
    """Let transformers take the attention op, which knows by itself what is causal and needs no mask for it."""
    from transformers import AttentionInterface, AttentionMaskInterface

    def attention(
        module: Any, q: Any, k: Any, v: Any, mask: Any = None, scaling: Any = None, **kwargs: Any
    ) -> Any:
        causal = kwargs.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        return ops.attention(q, k, v, mask, kwargs.get("s_aux"), bool(causal), scaling), None

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)


def step(whole: Any, inputs: Any, run: str) -> list[Any]:
    """Return what a model gives; in training, the loss and all gradients."""
    if run == "forward":
        with torch.no_grad():
            return [whole(**inputs)]
    whole.zero_grad()
    loss = whole(**inputs)
    loss.backward()
    trained = [parameter for parameter in whole.parameters() if parameter.grad is not None]
    return [loss.detach(), *(parameter.grad.clone() for parameter in trained)]


def watch(run: str, thread: int, late: float, ended: threading.Event) -> None:
    """Wait until a run has ended; when its time is up, print whether it writes the text of an op, and end all."""
    while time.process_time() < late:
        if ended.wait(0.2):
            return
    frame: Any = sys._current_frames()[thread]
    names = set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    print(json.dumps({"run": run, "late": True, "in_text": "operator_str" in names}), flush=True)
    os._exit(3)


if __name__ == "__main__":
    serve()
