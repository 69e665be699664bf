"""One rank of a deep tensor-parallel model, whose all-reduce is a custom op.  Run by torchrun in the tests.

``tensor_parallel_worker.py FOLDER`` writes ``FOLDER/RANK.json``.  Below PyTorch 2.5, which has no entry points, it
imports lowering_hooks; from there on, ``import torch`` must have done so.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import torch
import torch.distributed as dist
from packaging.version import Version
from torch.library import Library

LAYERS, TOKENS, HIDDEN = 24, 8, 16

if Version(torch.__version__).release < (2, 5):
    import lowering_hooks  # noqa: F401
applied = "lowering_hooks" in sys.modules

library = Library("tensor_parallel", "DEF")


def define(schema: str, kernel: Any, fake: Any) -> Any:
    name = schema.partition("(")[0]
    library.define(schema)
    library.impl(name, kernel, "CPU")
    library.impl(name, fake, "Meta")
    return getattr(torch.ops.tensor_parallel, name).default


def reduced(x: Any) -> Any:
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x


def add_norm_kernel(x: Any, residual: Any) -> Any:
    residual = x + residual
    return residual * residual.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt(), residual


all_reduce = define("all_reduce(Tensor x) -> Tensor", reduced, lambda x: x.new_empty(x.shape))
add_norm = define(
    "add_norm(Tensor x, Tensor residual) -> (Tensor, Tensor)",
    add_norm_kernel,
    lambda x, residual: (x.new_empty(x.shape), x.new_empty(x.shape)),
)
late = define("late(Tensor x) -> Tensor", lambda x: x * 2, lambda x: x.new_empty(x.shape))


def model(x: Any, up: Any, down: Any, join: Any) -> Any:
    residual = x
    for _ in range(LAYERS):
        x, residual = add_norm(x, residual)
        x = join(torch.relu(x @ up) @ down)
    return late(x) + residual


def main(folder: str) -> None:
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    x = torch.randn(TOKENS, HIDDEN)
    up, down = (torch.randn(HIDDEN, HIDDEN) / HIDDEN**0.5 for _ in range(2))
    share = HIDDEN // ranks
    mine = slice(rank * share, (rank + 1) * share)
    single = model(x, up, down, lambda x: x)
    sharded = torch.compile(lambda x, up, down: model(x, up, down, all_reduce), fullgraph=True)(
        x, up[:, mine].contiguous(), down[mine].contiguous()
    )
    import lowering_hooks

    found = {
        "ranks": ranks,
        "applied": applied,
        "state": lowering_hooks.status().state,
        "ops": sorted(op.op for op in lowering_hooks.report().ops if op.fallbacks),
        "equal": torch.allclose(sharded, single, atol=1e-4, rtol=1e-4),
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    # This leaves out destroy_process_group: once, on PyTorch 2.4.1, gloo's waited for ever for a rank that had ended.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
