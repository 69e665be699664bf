"""One process of the demo, which compiles the decoder twice: run as a script, never imported.

It imports lowering-hooks only for the variant that shows it, so that the stock process really is stock.  It
reads one JSON object from ``sys.argv[1]``, the fields of ``compile_process.Spec``, and writes one JSON object
per line to standard output.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before PyTorch is imported, which may warn.
warnings.simplefilter("ignore")
# Python puts a script's folder there itself, unless PYTHONSAFEPATH is set.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from demo_compiling import (
    TextSize,
    capture_code,
    install_ideal,
    install_plain_set_proxy,
    log_to,
    peak_mib,
    write_scalar_code,
)
from demo_decoder import Inputs, decoder, define_ops, tensors
from torch.library import Library

NAMESPACE = "lowering_hooks_demo"
CAUSE = "this lowering fails on purpose"


def main() -> None:
    """Compile what the first argument asks for, and tell how it came out."""
    spec = json.loads(sys.argv[1])
    import torch._inductor.compile_fx
    from torch._inductor import lowering

    write_scalar_code()
    handler = TextSize()
    log_to(handler, logging.INFO if spec["info"] else logging.WARNING)

    if spec["variant"] == "plain set proxy":
        install_plain_set_proxy(NAMESPACE)
    if spec["variant"] == "ideal":
        install_ideal()
    status = ""
    if spec["variant"] == "lowering-hooks":
        import lowering_hooks

        lowering_hooks.allow(NAMESPACE)
        status = str(lowering_hooks.status())
    tell("start", torch=str(torch.__version__), status=status)

    code: list[str] = []
    capture_code(code)
    library = Library(NAMESPACE, "DEF")
    device, dtype = spec["device"], getattr(torch, spec["dtype"])
    for case, layers in (("shallow", spec["shallow"]), ("deep", spec["layers"])):
        if not layers:
            continue
        code.clear()
        strides: list[list[int]] = []
        ops = define_ops(library, case, strides, device)
        if spec["failing"] == "aten op":
            # Every release has a lowering of this op, which the one below replaces.
            ops = ops._replace(broken=torch.ops.aten.trunc.default)
        if spec["failing"]:
            lowering.register_lowering(ops.broken, type_promotion_kind=None)(fail)
        forward = decoder(ops, layers, failing=bool(spec["failing"]))
        compile_once(case, forward, tensors(device, dtype), handler, code, strides)


def fail(x: object) -> None:
    """Stand in for the lowering of an op, and fail."""
    raise RuntimeError(CAUSE)


def compile_once(
    case: str,
    forward: Callable[..., torch.Tensor],
    inputs: Inputs,
    handler: TextSize,
    code: list[str],
    strides: list[list[int]],
) -> None:
    """Compile ``forward`` and tell what came of it, the fields of ``compile_process.Ended``."""
    expected = forward(*inputs)
    strides.clear()
    handler.characters = 0
    tell("begin", case=case)
    start = time.perf_counter()
    error: Exception | None = None
    result = None
    try:
        result = torch.compile(forward, fullgraph=True)(*inputs)
    except Exception as raised:
        error = raised
    seconds = time.perf_counter() - start
    message = "" if error is None else str(error)
    tell(
        "end",
        case=case,
        seconds=seconds,
        characters=len(message) if message else handler.characters,
        error="" if error is None else type(error).__name__,
        cause=CAUSE in message,
        message="" if CAUSE in message else message[:2000],
        peak_mib=peak_mib(),
        equal=result is not None and torch.allclose(result, expected, atol=1e-4, rtol=1e-4),
        code=code,
        strides=strides,
    )


def tell(event: str, **fields: Any) -> None:
    """Write one message to the parent."""
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    main()
