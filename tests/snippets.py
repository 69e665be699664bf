"""Code that the processes which the tests start have in common."""

from __future__ import annotations

# custom_op(NAME) defines an op of an allowed namespace, which doubles its argument and has no lowering.
CUSTOM_OP = """
import torch, torch._dynamo
library = torch.library.Library("vllm", "DEF")
def custom_op(name):
    library.define(f"{name}(Tensor x) -> Tensor")
    library.impl(name, lambda x: x * 2, "CPU")
    library.impl(name, lambda x: x.new_empty(x.shape), "Meta")
    return getattr(torch.ops.vllm, name).default
"""

# compile_one(NAME) compiles a model that calls such an op, and looks at what came out.
COMPILE_ONE = (
    CUSTOM_OP
    + """
def compile_one(name):
    op = custom_op(name)
    torch._dynamo.reset()
    x = torch.randn(4)
    assert torch.equal(torch.compile(lambda x: op(x) + 1)(x), x * 2 + 1)
"""
)
