"""Kernels that return what they compute, in place of vLLM's that write into their arguments.

The shape that ROCm's aiter kernels have: RMSNorm with a fused residual add returns two tensors, which the
next layer takes in.  Inductor's text of an op behind such layers doubles with each of them.
"""

from __future__ import annotations

import torch
from vllm import _custom_ops
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.fused_moe.runner.moe_runner import MoERunner
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.utils.torch_utils import direct_register_custom_op


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    wide = x.float()
    scale = wide.pow(2).mean(-1, keepdim=True).add(epsilon).rsqrt()
    return (wide * scale).to(x.dtype) * weight


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    residual = x + residual
    return rms_norm(residual, weight, epsilon), residual


def silu_and_mul(x: torch.Tensor) -> torch.Tensor:
    gate, up = x.chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up


def register(compiled_experts: bool) -> None:
    """Put layers that call these kernels, and PyTorch's linear, in the place of vLLM's.

    Args:
        compiled_experts: Whether routed experts are the compiled op ``_C::cpu_fused_moe``, as vLLM has them
            on a CPU, or the op ``vllm::moe_forward_shared`` around it, as vLLM has them on GPUs.
    """
    direct_register_custom_op(
        "functional_rms_norm", rms_norm, fake_impl=lambda x, weight, epsilon: torch.empty_like(x)
    )
    direct_register_custom_op(
        "functional_add_rms_norm",
        add_rms_norm,
        fake_impl=lambda x, residual, weight, epsilon: (torch.empty_like(x), torch.empty_like(x)),
    )
    direct_register_custom_op(
        "functional_silu_and_mul",
        silu_and_mul,
        fake_impl=lambda x: x.new_empty((*x.shape[:-1], x.shape[-1] // 2)),
    )
    RMSNorm.register_oot(FunctionalRMSNorm)
    SiluAndMul.register_oot(FunctionalSiluAndMul)
    # vLLM packs the weights for oneDNN unless this says that there is none; read in 0.22.1.
    _custom_ops._supports_onednn = False
    if not compiled_experts:
        MoERunner._select_forward = lambda self: torch.ops.vllm.moe_forward_shared


class FunctionalRMSNorm(RMSNorm):
    def forward(
        self, x: torch.Tensor, residual: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if residual is None:
            return torch.ops.vllm.functional_rms_norm(x, self.weight, self.variance_epsilon)
        return torch.ops.vllm.functional_add_rms_norm(x, residual, self.weight, self.variance_epsilon)


class FunctionalSiluAndMul(SiluAndMul):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.vllm.functional_silu_and_mul(x)
