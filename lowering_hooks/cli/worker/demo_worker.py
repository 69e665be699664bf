"""One compile of the demo, in a process of its own: run by path, never imported with the package.

So that the stock process really is stock, nothing of lowering-hooks is imported here but for the variant that
shows it.  Reads one JSON object from ``sys.argv[1]`` and writes one JSON object per line to standard output.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("ignore")

import torch
import torch.nn.functional as F  # noqa: N812
from torch.library import Library

NAMESPACE = "lowering_hooks_demo"
DEVICE, DTYPE = "cpu", torch.float32
TOKENS, HIDDEN, EXPERTS, TOP_K = 16, 32, 4, 2


def define_ops(library: Library, suffix: str, strides: list[list[int]]) -> Any:
    """Define the decoder's ops, under names that end in ``suffix``, and return them by their plain names.

    Inductor makes a fallback once per op and process.  So every compile of this process has ops of its own.
    The kernels append the strides of their tensor arguments to ``strides``.
    """

    def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Any:
        name, _, signature = schema.partition("(")
        library.define(f"{name}_{suffix}({signature}")

        def run(*args: Any) -> Any:
            strides.extend(list(arg.stride()) for arg in args if isinstance(arg, torch.Tensor))
            return kernel(*args)

        library.impl(f"{name}_{suffix}", run, DEVICE.upper())
        library.impl(f"{name}_{suffix}", fake, "Meta")
        return getattr(getattr(torch.ops, NAMESPACE), f"{name}_{suffix}").default

    def add_rms_norm(x: Any, residual: Any, weight: Any) -> Any:
        residual = x + residual
        scale = residual.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt()
        return residual * scale * weight, residual

    def experts(x: Any, logits: Any, weights: Any, top_k: int) -> Any:
        # Reads row after row whatever the strides, as fused kernels do that are handed a pointer.
        rows = x.as_strided(x.shape, (x.shape[1], 1))
        routing, chosen = logits.softmax(-1).topk(top_k)
        out = torch.zeros_like(rows)
        for expert in range(weights.shape[0]):
            token, slot = (chosen == expert).nonzero(as_tuple=True)
            out[token] += routing[token, slot, None] * torch.tanh(rows[token] @ weights[expert])
        return out

    class Ops:
        add_rms_norm_ = define(
            "add_rms_norm(Tensor x, Tensor residual, Tensor weight) -> (Tensor, Tensor)",
            add_rms_norm,
            lambda x, residual, weight: (x.new_empty(x.shape), x.new_empty(x.shape)),
        )
        all_reduce_ = define(
            "all_reduce(Tensor x) -> Tensor",
            lambda x: x.clone(memory_format=torch.contiguous_format),
            lambda x: x.new_empty(x.shape),
        )
        matmul_ = define(
            "matmul(Tensor x, Tensor weight) -> Tensor",
            lambda x, weight: x @ weight,
            lambda x, weight: x.new_empty((x.shape[0], weight.shape[1])),
        )
        experts_ = define(
            "experts(Tensor x, Tensor logits, Tensor weights, int top_k) -> Tensor",
            experts,
            lambda x, logits, weights, top_k: x.new_empty(x.shape),
        )
        broken_ = define("broken(Tensor x) -> Tensor", lambda x: x.clone(), lambda x: x.new_empty(x.shape))

    return Ops


def decoder(ops: Any, layers: int, failing: bool) -> Callable[..., Any]:
    """Return a decoder: dense layers, and routed experts in the last one, as in models that begin dense.

    Where ``failing``, what comes out of them is handed to ``ops.broken_``.
    """

    add_rms_norm, all_reduce, matmul = ops.add_rms_norm_, ops.all_reduce_, ops.matmul_
    experts, broken = ops.experts_, ops.broken_

    def forward(x: Any, token_scale: Any, norm: Any, dense: Any, router: Any, expert_weights: Any) -> Any:
        residual = x
        for layer in range(layers):
            x, residual = add_rms_norm(x, residual, norm)
            x = all_reduce(matmul(x, dense))
            x, residual = add_rms_norm(x, residual, norm)
            if layer < layers - 1:
                x = matmul(x, dense)
            else:
                # A factor for each token, by the usual detour over the transpose.
                logits = F.linear(x, router)
                x = experts((x.t() * token_scale).t(), logits, expert_weights, TOP_K)
            x = all_reduce(x)
        if failing:
            x = broken(x)
        return add_rms_norm(x, residual, norm)[0]

    return forward


def tensors() -> tuple[Any, ...]:
    torch.manual_seed(0)
    made = (
        torch.randn(TOKENS, HIDDEN),
        torch.rand(TOKENS) + 0.5,
        torch.rand(HIDDEN) + 0.5,
        torch.randn(HIDDEN, HIDDEN) / HIDDEN**0.5,
        torch.randn(EXPERTS, HIDDEN),
        torch.randn(EXPERTS, HIDDEN, HIDDEN) / HIDDEN**0.5,
    )
    return tuple(tensor.to(DEVICE, DTYPE) for tensor in made)


def install_plain_set_proxy(graph: Any, lowering: Any) -> None:
    """Do what others do against the hang: say yes for a whole namespace, and no more."""

    class PlainSetProxy:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __contains__(self, name: str) -> bool:
            return name.startswith(f"{NAMESPACE}::") or name in self.inner

    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = PlainSetProxy(lowering.FALLBACK_ALLOW_LIST)


def install_ideal(exc: Any) -> None:
    """Write no text at all: the floor, which a text can come near and not get under."""
    exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs: "")


def capture_code(codecache: Any, code: list[str]) -> None:
    """Append every generated wrapper to ``code``, as it is written (``write``; ``load`` on 2.0)."""
    cache = codecache.PyCodeCache
    name = "write" if hasattr(cache, "write") else "load"
    original = getattr(cache, name)

    def recording(source: str, *args: Any, **kwargs: Any) -> Any:
        code.append(source)
        return original(source, *args, **kwargs)

    setattr(cache, name, staticmethod(recording))


def write_scalar_code() -> None:
    """Spare the process finding out what vector instructions there are, which takes seconds."""
    from torch._inductor import config

    # TORCHINDUCTOR_VEC_ISA_OK says the same from 2.7 on; 2.0 has neither.
    if hasattr(config.cpp, "vec_isa_ok"):
        config.cpp.vec_isa_ok = False


def log_to(handler: logging.Handler, level: int) -> None:
    """Let ``handler`` alone have what Inductor logs at ``level`` or above."""
    import torch._dynamo.logging as dynamo_logging

    # 2.0 sets up its loggers anew at every compile.
    if hasattr(dynamo_logging, "init_logging"):
        dynamo_logging.init_logging = lambda *args, **kwargs: None
    log = logging.getLogger("torch._inductor")
    log.handlers, log.propagate = [handler], False
    log.setLevel(level)


class TextSize(logging.Handler):
    """Counts the characters of the implicit fallbacks' log messages."""

    characters = 0

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Creating implicit fallback"):
            self.characters += len(message)


def main() -> None:
    global DEVICE, DTYPE
    spec = json.loads(sys.argv[1])
    import torch._inductor.compile_fx
    from torch._inductor import codecache, exc, graph, lowering

    DEVICE, DTYPE = spec.get("device", DEVICE), getattr(torch, spec.get("dtype", "float32"))
    write_scalar_code()
    handler = TextSize()
    log_to(handler, logging.INFO if spec["info"] else logging.WARNING)

    if spec["variant"] == "plain set proxy":
        install_plain_set_proxy(graph, lowering)
    if spec["variant"] == "ideal":
        install_ideal(exc)
    status = ""
    if spec["variant"] == "lowering-hooks":
        import lowering_hooks

        lowering_hooks.allow(NAMESPACE)
        status = str(lowering_hooks.status())
    tell("start", torch=str(torch.__version__), status=status)

    code: list[str] = []
    capture_code(codecache, code)
    library = Library(NAMESPACE, "DEF")
    for case, layers in (("shallow", spec["shallow"]), ("deep", spec["layers"])):
        code.clear()
        strides: list[list[int]] = []
        ops = define_ops(library, case, strides)
        if spec["failing"] == "aten op":  # one that every release lowers itself
            ops.broken_ = torch.ops.aten.trunc.default
        if spec["failing"]:

            def lower_broken(x: Any) -> Any:
                raise RuntimeError("this lowering fails on purpose")

            lowering.register_lowering(ops.broken_, type_promotion_kind=None)(lower_broken)
        compile_once(case, decoder(ops, layers, bool(spec["failing"])), handler, code, strides)


def compile_once(
    case: str,
    forward: Callable[..., Any],
    handler: TextSize,
    code: list[str],
    strides: list[list[int]],
) -> None:
    inputs = tensors()
    expected = forward(*inputs)
    strides.clear()
    handler.characters = 0
    tell("begin", case=case)
    start = time.perf_counter()
    error, result = "", None
    try:
        result = torch.compile(forward, fullgraph=True)(*inputs)
    except Exception as raised:
        seconds = time.perf_counter() - start
        error = str(raised)
        causes = type(raised).__name__
    else:
        seconds = time.perf_counter() - start
        causes = ""
    tell(
        "end",
        case=case,
        seconds=seconds,
        characters=len(error) if error else handler.characters,
        error=causes,
        cause="this lowering fails on purpose" in error,
        message="" if "on purpose" in error else error[:2000],
        peak_mib=peak_mib(),
        equal=result is not None and torch.allclose(result, expected, atol=1e-4, rtol=1e-4),
        code=code,
        strides=strides,
    )


def peak_mib() -> float | None:
    """Return the most memory that this process ever held at once, in MiB; None where it is not told."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    main()
