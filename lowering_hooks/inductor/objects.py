"""Names for the objects of PyTorch, and of others, in annotations.

lowering-hooks does not import PyTorch for its types: a process may have none, or any release of it.  A type
checker therefore takes each of these for ``Any``; the name tells a reader what is meant.
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
# A field of an IR node or a layout: a name, a size, a layout, IR, what holds IR.
Field: TypeAlias = Any
# A module of PyTorch, of which any attribute may be missing.
TorchModule: TypeAlias = Any
# An object of other code, such as a loader, or what replaced something of PyTorch.  Nothing is known of it.
Foreign: TypeAlias = Any
