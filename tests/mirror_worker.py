"""Compiles a few mirrors in one mode of ``downstream/compiling.py``.  Run as a script by the tests.

``python mirror_worker.py MODE DOWNSTREAM [plain]``: with ``plain``, with a plain set proxy.
"""

from __future__ import annotations

import json
import sys

sys.path[:0] = [sys.argv[2], f"{sys.argv[2]}/pytorch"]

import torch
from compiling import compiling_nothing, start
from demo_compiling import install_plain_set_proxy
from mirrors import NAMESPACE, Mirrors
from torch._inductor.compile_fx import compile_fx
from torch.fx.experimental.proxy_tensor import make_fx


def function(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    x = (x.t() * 2).t()
    return torch.log(x), torch.triu(x), torch.cumsum(x, 0)


recorder = start(sys.argv[1])
if sys.argv[3:] == ["plain"]:
    install_plain_set_proxy(NAMESPACE)
inputs = [torch.randn(8, 16)]
module = make_fx(function)(*inputs)
for node in module.graph.nodes:
    node.meta["kept"] = node.target is torch.ops.aten.mul.Tensor
changed = Mirrors(recorder.strides, is_computing=False).put_into(module.graph, 1)
module.recompile()


def compile_it() -> None:
    with torch.no_grad(), compiling_nothing():
        compile_fx(module, list(inputs))(*inputs)


seen = recorder.record(compile_it)
print(json.dumps(seen | {"mirrors": changed, "logged": recorder.log.characters}), flush=True)
