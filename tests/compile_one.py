"""A compile of one custom op without a lowering, for the processes that the tests start.

It imports nothing before a function is called: what a process has imported is what these tests are about.
"""

from __future__ import annotations

from typing import Any

# By namespace.  A library takes its ops with it when it goes.
_libraries: dict[str, Any] = {}


def custom_op(name: str, namespace: str = "vllm") -> Any:
    """Define an op that doubles its argument, and return it."""
    import torch
    from torch.library import Library

    library = _libraries.get(namespace) or _libraries.setdefault(namespace, Library(namespace, "DEF"))
    library.define(f"{name}(Tensor x) -> Tensor")
    library.impl(name, lambda x: x * 2, "CPU")
    library.impl(name, lambda x: x.new_empty(x.shape), "Meta")
    return getattr(getattr(torch.ops, namespace), name).default


def compile_one(name: str = "op", namespace: str = "vllm") -> None:
    """Compile a model that calls such an op twice, and compare what it returns with what eager would."""
    import torch
    import torch._dynamo  # which 2.0 does not import by itself

    op = custom_op(name, namespace)
    torch._dynamo.reset()
    x = torch.randn(4)
    assert torch.equal(torch.compile(lambda x: op(op(x)) + 1)(x), x * 4 + 1)


def compile_hooked() -> None:
    """Compile, and look whether it was hooked in a process where nobody has asked for it, an install apart."""
    import sys

    import torch

    if not hasattr(torch, "_import_device_backends"):
        import lowering_hooks  # noqa: F401  # PyTorch loads no entry points before 2.5
    compile_one("op")
    hooks = sys.modules["lowering_hooks"]
    (op,) = hooks.report().ops
    assert (hooks.status().state, op.op, op.fallbacks) == ("active", "vllm.op.default", 1)


def compile_here() -> None:
    """Have Inductor compile in its own process, which 2.0 knows no variable for.

    A forked child would wait for its parent's compile processes for ever, and none can be given work at the end
    of the interpreter.
    """
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1
