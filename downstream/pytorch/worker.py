"""Compiles the samples of PyTorch's databases in one way.  Run as a script by ``verify.py``.

``python worker.py MODE OPTIONS``, where OPTIONS is JSON: see :class:`Options`.  It prints a line of JSON when it
begins with a compile, or traces a sample, and another with what was seen of a compile; so it is known which of them
ended a process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from compiling import Recorder, compiling_nothing, start
from demo_compiling import install_plain_set_proxy
from mirrors import NAMESPACE, Mirrors, is_plain
from results import is_equal
from runs import COMPILE_DEADLINE
from samples import DATABASES, FALLBACKS, TRACED, Missing, Sample, operators, samples, seed
from torch._inductor import lowering
from torch._inductor.compile_fx import compile_fx, compile_fx_inner
from torch._inductor.decomposition import decompositions
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

# Stands in a text that passed the limit.
CUT = "lowering-hooks cut this text"


@dataclasses.dataclass(frozen=True)
class Options:
    """What a worker compiles.

    Attributes:
        databases: The databases.
        every: Every how many operators one is taken.
        first: The number of the first.
        after: The name of the compile, or of the trace, that ended the process before this one; what comes before is
            done.
        is_built: Whether what is generated is built, run and compared with eager.
        kept: The names of compiles whose code is printed in full, and not as hashes; only they are compiled.
        is_plain: Whether a plain set proxy is installed, for a test of the comparison.
        deadline: Seconds that one compile, or one trace, may take.
    """

    databases: tuple[str, ...]
    every: int = 1
    first: int = 0
    after: str | None = None
    is_built: bool = False
    kept: tuple[str, ...] = ()
    is_plain: bool = False
    deadline: float = COMPILE_DEADLINE


class Worker:
    """Compiles samples, and prints what is seen of each."""

    def __init__(self, options: Options, recorder: Recorder) -> None:
        self._options = options
        self._recorder = recorder
        self._mirrors = Mirrors(recorder.strides, is_computing=options.is_built)
        self._is_done = options.after is not None

    def run(self) -> None:
        """Compile the samples of all databases, each in all ways."""
        for database in self._options.databases:
            try:
                known = operators(database)
            except (ImportError, AttributeError) as error:
                _say(missing=database, reason=f"{type(error).__name__}: {error}")
                continue
            for name, op in known[self._options.first :: self._options.every]:
                self._compile(name, op, DATABASES[database][1])
                if database == "op_db":
                    self._trace(name, op)

    def _compile(self, name: str, op: Any, count: int) -> None:
        """Compile an operator as a user would: forward, with shapes that may change, and backward."""
        if not self._options.is_built or "op_db" not in self._options.databases:
            for sample in self._samples(name, op, count, requires_grad=False):
                self._record(f"{sample.name}/forward", lambda s=sample: _forward(s, dynamic=None))
                if not self._options.is_built:
                    self._record(f"{sample.name}/dynamic", lambda s=sample: _forward(s, dynamic=True))
            for sample in self._samples(name, op, count, requires_grad=True):
                if sample.is_differentiable:
                    self._record(f"{sample.name}/backward", lambda s=sample: _backward(s))
                    if name.startswith("op_db/") and not self._options.is_built:
                        self._record(
                            f"{sample.name}/backward_fallback",
                            lambda s=sample: _backward(s, backend=_compile_as_fallbacks),
                        )

    def _trace(self, name: str, op: Any) -> None:
        """Compile the graphs of an operator with its ops as fallbacks, and with custom ops in their place."""
        count = 1 if self._options.is_built else TRACED
        for index, sample in enumerate(self._samples(name, op, count, requires_grad=True)):
            is_dynamic = index == 1
            mirror = "mirror_dynamic" if is_dynamic else "mirror"
            names = [f"{sample.name}/{way}" for way in ("fallback", mirror)]
            traced = f"{sample.name}/trace"
            if self._is_done and self._options.after not in names:
                self._is_done = traced != self._options.after
                continue
            try:
                with self._begun(traced):
                    seed()
                    trace = _traced(sample, with_gradients=index % 2 == 0)
            except Exception as error:
                _say(missing=sample.name, reason=f"no trace: {type(error).__name__}")
                continue
            module, inputs = trace
            if not self._options.is_built and index < FALLBACKS:
                self._record(names[0], lambda m=module, i=inputs: _run_as_fallbacks(m, i))
            if self._mirrors.put_into(module.graph, 1 + index // 2 % 2):
                module.recompile()
                self._record(
                    names[1], lambda m=module, i=inputs, d=is_dynamic: self._run_mirrors(m, i, is_dynamic=d)
                )

    def _run_mirrors(self, module: Any, inputs: list[Any], *, is_dynamic: bool) -> bool | None:
        expected = module(*inputs) if self._options.is_built else None
        self._recorder.strides.clear()
        with torch.no_grad():
            compiled = torch.compile(module, dynamic=True) if is_dynamic else compile_fx(module, list(inputs))
            found = compiled(*inputs)
        return None if expected is None else is_equal(found, expected)

    def _samples(self, name: str, op: Any, count: int, *, requires_grad: bool) -> Iterator[Sample]:
        for sample in samples(name, op, count, requires_grad=requires_grad):
            if not isinstance(sample, Missing):
                yield sample
            elif not self._is_done:
                _say(missing=sample.name, reason=sample.reason)

    def _record(self, name: str, run: Callable[[], bool | None]) -> None:
        """Compile by calling ``run``, unless another process has done so, and print what was seen."""
        if self._is_done:
            self._is_done = name != self._options.after
            return
        kept = self._options.kept
        if kept and name not in kept:
            return
        with self._begun(name):
            seed()
            begun = time.process_time()
            with _as_if_none_was_met() as fallbacks:
                seen = self._recorder.record(run)
            seen["seconds"] = round(time.process_time() - begun, 3)
        seen["fallbacks"] = sorted(fallbacks)
        if not seen["code"]:
            # Nothing was generated, so that eager was compared with eager.
            seen["equal"] = None
        if not kept:
            seen["code"] = [hashlib.sha256(source.encode()).hexdigest()[:16] for source in seen["code"]]
            seen["is_cut"] = CUT in seen["message"]
            seen["whole_message"] = hashlib.sha256(seen["message"].encode()).hexdigest()[:16]
            seen["message"] = "\n".join(line[:500] for line in seen["message"].split("\n")[:2])
        _say(name=name, seen=seen)

    @contextlib.contextmanager
    def _begun(self, name: str) -> Iterator[None]:
        """Say what this block does, in case that it ends the process, and end the process at the deadline."""
        _say(begun=name)
        faulthandler.dump_traceback_later(self._options.deadline, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _forward(sample: Sample, *, dynamic: bool | None) -> bool | None:
    # Some operators write to their input.
    expected = _call(sample.function, _copied(sample.arguments)) if BUILT else None
    found = _call(torch.compile(sample.function, dynamic=dynamic), sample.arguments)
    return is_equal(found, expected) if BUILT else None


def _call(function: Any, arguments: Any) -> Any:
    first, args, kwargs = arguments
    return function(first, *args, **kwargs)


def _copied(arguments: Any) -> Any:
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, arguments)


def _backward(sample: Sample, backend: Any = "inductor") -> bool | None:
    compiled = torch.compile(sample.function, backend=backend)
    found = _gradients(compiled, sample)
    return None if not BUILT else is_equal(found, _gradients(sample.function, sample))


def _gradients(function: Any, sample: Sample) -> Any:
    wanted = [tensor for tensor in _tensors(sample.arguments) if tensor.requires_grad]
    outputs = [o for o in _tensors(_call(function, sample.arguments)) if o.requires_grad]
    if not outputs or not wanted:
        return ()
    ones = [torch.ones_like(output) for output in outputs]
    return torch.autograd.grad(outputs, wanted, ones, allow_unused=True)


def _traced(sample: Sample, *, with_gradients: bool) -> tuple[Any, list[Any]]:
    """Return the graph of ops of a sample, and its inputs.

    Matrices are scaled as they stand in memory transposed: Inductor is free to choose the strides of those.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    leaves, spec = tree_flatten(sample.arguments)
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    tensors = [leaves[place] for place in places]

    def function(*inputs: Any) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, inputs, strict=True):
            filled[place] = _scaled(tensor)
        outputs = _tensors(_call(sample.function, tree_unflatten(filled, spec)))
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        ends = [output for output in outputs if output.requires_grad]
        if not with_gradients or not wanted or not ends:
            return outputs
        ones = [torch.ones_like(end) for end in ends]
        gradients = torch.autograd.grad(ends, wanted, ones, allow_unused=True)
        return [*outputs, *(gradient for gradient in gradients if gradient is not None)]

    module = make_fx(function)(*tensors)
    scaled = sum(3 for tensor in tensors if _is_scaled(tensor))
    calls = [node for node in module.graph.nodes if node.op == "call_function"]
    for node in calls[:scaled]:
        node.meta["kept"] = True
    return module, [tensor.detach() for tensor in tensors]


def _is_scaled(tensor: Any) -> bool:
    return tensor.layout is torch.strided and tensor.dim() > 1 and tensor.is_floating_point()


def _scaled(tensor: Any) -> Any:
    return (tensor.transpose(-1, -2) * 0.5).transpose(-1, -2) if _is_scaled(tensor) else tensor


def _run_as_fallbacks(module: Any, inputs: list[Any]) -> None:
    with torch.no_grad():
        _compile_as_fallbacks(module, list(inputs))(*inputs)


def _compile_as_fallbacks(module: Any, inputs: list[Any]) -> Any:
    """Compile a graph whose ops have lost their lowerings, where Inductor can call their kernels instead."""

    def compile_inner(module: Any, *args: Any, **kwargs: Any) -> Any:
        for node in module.graph.nodes:
            # An op with a decomposition may not be a fallback.
            if is_plain(node.target) and node.target not in decompositions:
                lowering.lowerings.pop(node.target, None)
        return compile_fx_inner(module, *args, **kwargs)

    return compile_fx(module, inputs, inner_compile=compile_inner)


@contextlib.contextmanager
def _as_if_none_was_met() -> Iterator[list[str]]:
    """Put back at the end of the block what Inductor keeps of the ops that it met in it.

    Yields:
        What takes the ops that Inductor has made fallbacks for, at the end of the block.
    """
    # PyTorch 2.0-2.15: lowerings, fallbacks and needs_realized_inputs; 2.0-2.4: layout_constraints; 2.5-2.15:
    # _maybe_layout_constraints; if missing: the next sample of an op does not fall back.
    names = (
        "lowerings",
        "fallbacks",
        "needs_realized_inputs",
        "layout_constraints",
        "_maybe_layout_constraints",
    )
    kept = {name: vars(lowering)[name].copy() for name in names if name in vars(lowering)}
    known, fallbacks = kept["lowerings"], []
    try:
        yield fallbacks
    finally:
        fallbacks += [str(op) for op, made in lowering.lowerings.items() if known.get(op) is not made]
        for name, before in kept.items():
            vars(lowering)[name].clear()
            vars(lowering)[name].update(before)


def _measure_no_guards() -> None:
    """Leave out the measurement of guards, which empties the processor's caches at each compile."""
    from torch._dynamo import guards

    # PyTorch 2.6-2.15, as far as seen: it only logs the time; if missing: there is nothing to leave out.
    if hasattr(guards, "profile_guard_manager"):
        guards.profile_guard_manager = lambda *args, **kwargs: 0.0


def _fold_no_garbage() -> None:
    """Have Inductor fold tensors that nobody has written as if they were all zeros.

    It runs constant parts of a graph, and where all elements of a result are the same it compiles their value: that
    of an empty tensor is whatever the memory had in it.
    """
    try:
        # PyTorch 2.2-2.15: what folds is derived from it; if missing: such samples differ from run to run.
        from torch._inductor.constant_folding import ConstantFolder
    except ImportError:
        return
    inherited = ConstantFolder.call_function

    def call_function(self: Any, target: Any, args: Any, kwargs: Any) -> Any:
        found = inherited(self, target, args, kwargs)
        if "empty" in str(target) and isinstance(found, torch.Tensor) and found.device.type == "cpu":
            found.zero_()
        return found

    ConstantFolder.call_function = call_function


def _tensors(values: Any) -> list[Any]:
    return [leaf for leaf in tree_flatten(values)[0] if isinstance(leaf, torch.Tensor)]


def _say(**line: Any) -> None:
    print(json.dumps(line, default=str), flush=True)


if __name__ == "__main__":
    options = Options(**json.loads(sys.argv[2]))
    BUILT = options.is_built
    recorder = start(sys.argv[1])
    _measure_no_guards()
    _fold_no_garbage()
    if options.is_plain:
        install_plain_set_proxy(NAMESPACE)
    with contextlib.nullcontext() if BUILT else compiling_nothing():
        Worker(options, recorder).run()
    _say(done=True)
