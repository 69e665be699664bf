"""The demo's decoder: its custom ops, the model that calls them, and the model's inputs.

This module imports nothing of lowering-hooks, so that a process which shows stock PyTorch can use it.  Such a
process imports it by its plain name, with this folder on ``sys.path``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

if TYPE_CHECKING:
    from torch.library import Library

# An overload of an op, such as ``torch.ops.mylib.matmul.default``.
Op = Callable[..., Any]

TOKENS, HIDDEN, EXPERTS, TOP_K = 16, 32, 4, 2


class Ops(NamedTuple):
    """The ops that the decoder calls; ``broken`` only where it is to fail."""

    add_rms_norm: Op
    all_reduce: Op
    matmul: Op
    experts: Op
    broken: Op


class Inputs(NamedTuple):
    """What the decoder takes, in the order of its parameters."""

    x: torch.Tensor
    token_scale: torch.Tensor
    norm: torch.Tensor
    dense: torch.Tensor
    router: torch.Tensor
    expert_weights: torch.Tensor


def define_ops(library: Library, suffix: str, strides: list[list[int]], device: str = "cpu") -> Ops:
    """Define the decoder's ops.

    Args:
        library: Defines them, in its namespace; they are gone when it is.
        suffix: What their names end in.  Inductor makes a fallback once per op and process, so every compile
            of a process needs ops of its own.
        strides: The kernels append the strides of their tensor arguments to it.
        device: The type of device that they have kernels for.
    """

    def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Op:
        name, _, signature = schema.partition("(")
        library.define(f"{name}_{suffix}({signature}")

        def run(*args: Any) -> Any:
            strides.extend(list(arg.stride()) for arg in args if isinstance(arg, torch.Tensor))
            return kernel(*args)

        library.impl(f"{name}_{suffix}", run, device.upper())
        library.impl(f"{name}_{suffix}", fake, "Meta")
        overload: Op = getattr(getattr(torch.ops, library.ns), f"{name}_{suffix}").default
        return overload

    return Ops(
        add_rms_norm=define(
            "add_rms_norm(Tensor x, Tensor residual, Tensor weight) -> (Tensor, Tensor)",
            _add_rms_norm,
            lambda x, residual, weight: (x.new_empty(x.shape), x.new_empty(x.shape)),
        ),
        all_reduce=define(
            "all_reduce(Tensor x) -> Tensor",
            lambda x: x.clone(memory_format=torch.contiguous_format),
            lambda x: x.new_empty(x.shape),
        ),
        matmul=define(
            "matmul(Tensor x, Tensor weight) -> Tensor",
            lambda x, weight: x @ weight,
            lambda x, weight: x.new_empty((x.shape[0], weight.shape[1])),
        ),
        experts=define(
            "experts(Tensor x, Tensor logits, Tensor weights, int top_k) -> Tensor",
            _experts,
            lambda x, logits, weights, top_k: x.new_empty(x.shape),
        ),
        broken=define("broken(Tensor x) -> Tensor", lambda x: x.clone(), lambda x: x.new_empty(x.shape)),
    )


def _add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    residual = x + residual
    scale = residual.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt()
    return residual * scale * weight, residual


def _experts(x: torch.Tensor, logits: torch.Tensor, weights: torch.Tensor, top_k: int) -> torch.Tensor:
    # Reads row after row whatever the strides are, as a fused kernel does that is handed a pointer.
    rows = x.as_strided(x.shape, (x.shape[1], 1))
    routing, chosen = logits.softmax(-1).topk(top_k)
    out = torch.zeros_like(rows)
    for expert in range(weights.shape[0]):
        token, slot = (chosen == expert).nonzero(as_tuple=True)
        out[token] += routing[token, slot, None] * torch.tanh(rows[token] @ weights[expert])
    return out


def decoder(ops: Ops, layers: int, *, failing: bool = False) -> Callable[..., torch.Tensor]:
    """Return a decoder, which takes :class:`Inputs`.

    Its layers are dense but for the last one, which has routed experts, as in models that begin dense.

    Args:
        ops: The ops that it calls.
        layers: How many layers it has, 1 or more.
        failing: Whether what the layers return is handed to ``ops.broken``.
    """
    add_rms_norm, all_reduce, matmul, experts, broken = ops

    def forward(
        x: torch.Tensor,
        token_scale: torch.Tensor,
        norm: torch.Tensor,
        dense: torch.Tensor,
        router: torch.Tensor,
        expert_weights: torch.Tensor,
    ) -> torch.Tensor:
        residual = x
        for layer in range(layers):
            x, residual = add_rms_norm(x, residual, norm)
            x = all_reduce(matmul(x, dense))
            x, residual = add_rms_norm(x, residual, norm)
            if layer < layers - 1:
                x = matmul(x, dense)
            else:
                # Each token is scaled by its factor, by the usual detour over the transpose.
                logits = F.linear(x, router)
                x = experts((x.t() * token_scale).t(), logits, expert_weights, TOP_K)
            x = all_reduce(x)
        if failing:
            x = broken(x)
        normed: torch.Tensor = add_rms_norm(x, residual, norm)[0]
        return normed

    return forward


def tensors(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Inputs:
    """Return the decoder's inputs, which are the same in every process."""
    torch.manual_seed(0)
    made = Inputs(
        x=torch.randn(TOKENS, HIDDEN),
        token_scale=torch.rand(TOKENS) + 0.5,
        norm=torch.rand(HIDDEN) + 0.5,
        dense=torch.randn(HIDDEN, HIDDEN) / HIDDEN**0.5,
        router=torch.randn(EXPERTS, HIDDEN),
        expert_weights=torch.randn(EXPERTS, HIDDEN, HIDDEN) / HIDDEN**0.5,
    )
    return Inputs(*(tensor.to(device, dtype) for tensor in made))
