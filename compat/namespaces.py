"""Namespaces of the ops that PyTorch and vLLM register themselves."""

from __future__ import annotations

from typing import Final

# `"*"` never covers these namespaces under set_proxy, which would change the lowering of PyTorch's own ops.
# PyTorch 2.0-2.15: torch._C._dispatch_get_all_op_names() once torch._inductor.compile_fx is imported: the
# union over 2.0.1, 2.4.1, 2.8.0, 2.12.1, 2.13.0, 2.15.0, and `prim`; if missing: `"*"` covers the namespace.
PYTORCH: Final = frozenset(
    [
        "_c10d_functional",
        "_c10d_functional_autograd",
        "_dtensor",
        "_inductor_test",
        "_native",
        "_native_aot",
        "_quantized",
        "_test",
        "aten",
        "c10d",
        "c10d_functional",
        "coor",
        "debug_mode_ops",
        "debugprims",
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
        "prepacked",
        "prim",
        "prims",
        "profiler",
        "quantization",
        "quantized",
        "quantized_decomposed",
        "rngprims",
        "sparse",
        "static_runtime",
        "streams",
        "symm_mem",
    ]
)

# vLLM's entry point allows these namespaces, beside the two that are allowed by default.  vLLM registers the
# ops of its compiled kernels in them, and in two of them ops from Python.
# vLLM 0.22.1 and 0.32.0 have them (_flashkda_C and _flashmla_C in 0.32.0 only); if missing: nothing changes.
VLLM_KERNELS: Final = frozenset(
    [
        "_C",
        "_C_cache_ops",
        "_C_cuda_utils",
        "_C_custom_ar",
        "_flashmla_extension_C",
        "_moe_C",
        "_qutlass_C",
        "_rocm_C",
        "_vllm_fa2_C",
        "_vllm_fa3_C",
        "_xpu_C",
        "_flashkda_C",
        "_flashmla_C",
        "vllm_helion",
        "vllm_ir",
    ]
)
