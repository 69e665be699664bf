"""Which namespaces are allowed: process-wide, and for a block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

DEFAULT: Final = frozenset({"vllm", "vllm_aiter"})
EVERY: Final = "*"
ACCEPTED: Final = (
    "the part of an op's name before '::', such as 'vllm', without ':', '*', commas or blanks; "
    "or '*' alone for every namespace"
)

# Namespaces of ops that PyTorch itself registers: torch._C._dispatch_get_all_op_names() after importing
# torch._inductor.compile_fx alone, the union over 2.0.1, 2.4.1, 2.8.0, 2.12.1, 2.13.0 and 2.15.0, and `prim`.
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

# Namespaces of ops that vLLM registers beside DEFAULT: those of its compiled kernels, as they are called in
# vLLM 0.22.1 and 0.32.0 (_flashkda_C and _flashmla_C in 0.32.0 only), and two of Python's.
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


def validated(names: Iterable[Any]) -> frozenset[str]:
    """Return ``names`` as a set of plain strings.

    Raises:
        ValueError: One of them is not a namespace.  It is named, and nothing is taken.
    """
    names = tuple(names)
    for name in names:
        if not isinstance(name, str) or not _is_namespace(str.__str__(name)):
            raise ValueError(f"not a namespace: {name!r}; accepted: {ACCEPTED}")
    # A subclass of str may compare and hash by code of its own.
    return frozenset(map(str.__str__, names))


def _is_namespace(name: str) -> bool:
    if name == EVERY:
        return True
    return bool(name) and not any(c in ":*," or c.isspace() for c in name)


# What `allowing` adds, for the thread or task that entered it.
_block: ContextVar[frozenset[str]] = ContextVar("lowering_hooks_allowing", default=frozenset())


class Namespaces:
    """The allowed namespaces.

    Each change, and each look, is one call of a built-in set of strings, which runs no Python code.  So no
    lock is needed, and whoever comes in between (a signal handler, a finalizer, another thread, a forked
    process) finds the set as it was before or after.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = set(allowed)

    def current(self) -> frozenset[str]:
        """Return what is allowed here and now, the enclosing ``allowing`` blocks included."""
        return _block.get().union(self._allowed)

    def allows(self, namespace: str) -> bool:
        """Whether ops of ``namespace`` are described by us."""
        allowed = self._allowed
        if namespace in allowed or EVERY in allowed:
            return True
        block = _block.get()
        return namespace in block or EVERY in block

    def allow(self, names: Iterable[str]) -> frozenset[str]:
        self._allowed.update(validated(names))
        return self.current()

    def disallow(self, names: Iterable[str]) -> frozenset[str]:
        self._allowed.difference_update(validated(names))
        return self.current()

    @contextmanager
    def allowing(self, names: Iterable[str]) -> Iterator[frozenset[str]]:
        token = _block.set(_block.get() | validated(names))
        try:
            yield self.current()
        finally:
            _block.reset(token)
