"""Namespaces of the ops that PyTorch and vLLM register themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

# `"*"` never covers these namespaces under set_proxy, which would change the lowering of PyTorch's own ops.
# PyTorch 2.0-2.15: torch._C._dispatch_get_all_op_names() once torch._inductor.compile_fx is imported: the
# union over 2.0.1, 2.4.1, 2.8.0, 2.12.1, 2.13.0, 2.15.0, and `prim`; and what modules that are imported later
# define ops in, off the wheels of tests/compat/wheels.json.  If missing: `"*"` covers the namespace.
PYTORCH: Final = frozenset(
    [
        "_c10d_functional",
        "_c10d_functional_autograd",
        "_dtensor",
        "_inductor_debug",
        "_inductor_test",
        "_native",
        "_native_aot",
        "_nnapi",
        "_quantized",
        "_test",
        "ao",
        "aten",
        "bucketing",
        "c10d",
        "c10d_functional",
        "coor",
        "cplib",
        "cuda",
        "debug_mode_ops",
        "debugprims",
        "device_mesh",
        "export",
        "flex_gemm",
        "flex_lib",
        "fsdp",
        "inductor",
        "inductor_prims",
        "mempool",
        "mkl",
        "mkldnn",
        "mkldnn_prepacked",
        "nvprims",
        "onednn",
        "onnx",
        "onnx_symbolic",
        "pippy",
        "prepacked",
        "prim",
        "prims",
        "profiler",
        "pt2e_quant",
        "quantization",
        "quantized",
        "quantized_decomposed",
        "rngprims",
        "semi_structured",
        "sparse",
        "static_runtime",
        "streams",
        "symm_mem",
        "torch_attn",
        "torch_nn",
        "torch_vendor_quack",
        "triton",
        "xnnpack",
    ]
)


class Seen(NamedTuple):
    """The recorded releases of vLLM that a namespace was seen in.

    Attributes:
        first: The oldest of them that has it.
        last: The newest of them that has it.
    """

    first: str
    last: str


# vLLM 0.8.5-0.33.0: the namespaces that its wheels define ops in, as tools/wheel_namespaces.py read them off
# those of tests/compat/wheels.json.  Other builds of vLLM define _rocm_C and _xpu_C, whose ops the wheels
# call.  deep_gemm and fmha_sm100 are of packages that vLLM has copies of.  If missing: a new one has to be
# allowed by hand.
VLLM: Final[Mapping[str, Seen]] = {
    "_C": Seen("0.8.5", "0.33.0"),
    "_C_cache_ops": Seen("0.8.5", "0.33.0"),
    "_C_cpu": Seen("0.15.0", "0.15.0"),
    "_C_cuda_utils": Seen("0.8.5", "0.33.0"),
    "_C_custom_ar": Seen("0.8.5", "0.33.0"),
    "_C_utils": Seen("0.15.0", "0.15.0"),
    "_flashkda_C": Seen("0.28.0", "0.33.0"),
    "_flashmla_C": Seen("0.8.5", "0.33.0"),
    "_flashmla_extension_C": Seen("0.11.0", "0.33.0"),
    "_moe_C": Seen("0.8.5", "0.33.0"),
    "_qutlass_C": Seen("0.15.0", "0.33.0"),
    "_rocm_C": Seen("0.8.5", "0.33.0"),
    "_vllm_fa2_C": Seen("0.8.5", "0.33.0"),
    "_vllm_fa3_C": Seen("0.8.5", "0.33.0"),
    "_xpu_C": Seen("0.19.0", "0.33.0"),
    "deep_gemm": Seen("0.32.0", "0.33.0"),
    "deep_select": Seen("0.31.0", "0.33.0"),
    "fmha_sm100": Seen("0.32.0", "0.33.0"),
    "vllm": Seen("0.8.5", "0.33.0"),
    "vllm_aiter": Seen("0.22.1", "0.33.0"),
    "vllm_helion": Seen("0.19.0", "0.33.0"),
    "vllm_ir": Seen("0.22.1", "0.33.0"),
}

# vLLM's entry point allows these namespaces: all of vLLM's but the two that are allowed by default.
VLLM_KERNELS: Final = frozenset(VLLM) - {"vllm", "vllm_aiter"}
