"""Names for PyTorch's objects in annotations.

PyTorch is not imported for its types: a process may have none, or another one than these were seen in.  So a type
checker takes each of these for ``Any``; the name tells a reader what is meant.
"""

from __future__ import annotations

from typing import Any, TypeAlias

# torch._ops.OpOverload.
Op: TypeAlias = Any
# What an FX node calls: an op, a higher-order operator, a function.
Target: TypeAlias = Any
# torch._inductor.ir.IRNode, or what holds some: a list, a layout, a closure.
IRNode: TypeAlias = Any
# torch.fx.Node.
FXNode: TypeAlias = Any
# torch._inductor.graph.GraphLowering.
GraphLowering: TypeAlias = Any
# An argument of a target: a number, a dtype, a tensor, IR, a list of these.
Argument: TypeAlias = Any
# A module of PyTorch, of which any attribute may be missing.
TorchModule: TypeAlias = Any
# An object of whoever replaced something of PyTorch, of which nothing is known.
Foreign: TypeAlias = Any
