"""Compiles deep models for which stock writes a text that does not end.  Run as a script by the tests.

``python endless_worker.py LAYERS`` prints one JSON object.  It holds, for each case, the error's message, if there
is one, and what lowering-hooks reports.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")

import torch
import torch._dynamo
import torch._inductor.compile_fx
from torch._inductor.lowering import lowerings, register_lowering

import lowering_hooks

HAS_COND = "cond" in {str(target) for target in lowerings}
LIBRARY = torch.library.Library("endless", "DEF")


def define(name: str, schema: str, kernel: Any) -> Any:
    LIBRARY.define(f"{name}{schema}")
    LIBRARY.impl(name, kernel, "CPU")
    LIBRARY.impl(name, kernel, "Meta")
    return getattr(torch.ops.endless, name).default


add_norm = define("add_norm", "(Tensor x, Tensor r) -> (Tensor, Tensor)", lambda x, r: (x + r, x.clone()))
late = define("late", "(Tensor x) -> Tensor", lambda x: x * 2)
failing = define("failing", "(Tensor x) -> Tensor", lambda x: x + 1)
with_ir = define("with_ir", "(Tensor x) -> Tensor", lambda x: x + 1)
asserting = define("asserting", "(Tensor x) -> Tensor", lambda x: x + 1)


@register_lowering(failing, type_promotion_kind=None)
def lower_failing(x: Any) -> Any:
    raise RuntimeError("boom in lowering")


@register_lowering(with_ir, type_promotion_kind=None)
def lower_with_ir(x: Any) -> Any:
    raise NotImplementedError(f"boom in lowering of {x} and {[x, x]}")


@register_lowering(asserting, type_promotion_kind=None)
def lower_asserting(x: Any) -> Any:
    assert x is None, ("boom in lowering", x)


@register_lowering(torch.ops.aten.lgamma.default, type_promotion_kind=None)
def lower_lgamma(x: Any) -> Any:
    raise RuntimeError("boom in lowering")


def in_cond(x: Any) -> Any:
    return torch.cond(x.sum() > 0, lambda t: failing(t), lambda t: t - 1, (x,))


def in_cond_of_cond(x: Any) -> Any:
    def inner(t: Any) -> Any:
        return torch.cond(t.sum() > 1, lambda u: failing(u), lambda u: u - 1, (t,))

    return torch.cond(x.sum() > 0, inner, lambda t: t - 1, (x,))


ENDS = {
    "late": late,
    "late_aten": lambda x: torch.nn.functional.interpolate(
        x[None, None], size=(7, 7), mode="bilinear", antialias=True
    ),
    "failing": failing,
    "failing_aten": torch.lgamma,
    "with_ir": with_ir,
    "asserting": asserting,
    # PyTorch 2.3-2.15: Inductor has a lowering of torch.cond; if missing: no such case.
    "in_cond": in_cond if HAS_COND else None,
    "in_cond_of_cond": in_cond_of_cond if HAS_COND else None,
}


def compiled(end: Any, layers: int) -> dict[str, Any]:
    def forward(x: Any) -> Any:
        residual = x
        for _ in range(layers):
            x, residual = add_norm(x, residual)
        return end(x)

    torch._dynamo.reset()
    lowering_hooks.reset_report()
    x = torch.randn(16, 16)
    message, equal = "", None
    try:
        equal = torch.allclose(torch.compile(forward, fullgraph=True)(x), forward(x))
    except Exception as error:
        message = str(error)
    report = lowering_hooks.report()
    return {
        "message": message,
        "equal": equal,
        "ops": {op.op: op._asdict() for op in report.ops},
        "not_allowed": report.not_allowed,
        "report": str(report),
    }


def main(layers: int) -> None:
    cases = {case: compiled(end, layers) for case, end in ENDS.items() if end is not None}
    print(json.dumps({"status": lowering_hooks.status().as_dict(), "cases": cases}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
