"""Graphs without a subgraph: shapes, views, lists, gradients, mutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .building import (
    NAMESPACE,
    SIZE,
    Act,
    Ops,
    UnavailableError,
    chain,
    compiled,
    define,
    graph_compiled,
    library,
    needed,
    new,
    tensor,
)


def plain(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), r

    return compiled(forward, tensor())


def dynamic_shapes(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), r

    return compiled(forward, tensor(), dynamic=True)


def views(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        r = x
        for _ in range(layers):
            x, r = ops.two(x.t(), r.reshape(-1).flip(0).view(SIZE))
        return ops.late(x[1:].unsqueeze(0).expand(3, SIZE[0] - 1, SIZE[1])), r

    return compiled(forward, tensor())


def pointwise(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        r = x
        for _ in range(layers):
            x, r = ops.two(x.sin() + r, r.softmax(-1))
        return ops.late(x.cos() * r), r

    return compiled(forward, tensor())


def lists(ops: Ops, layers: int) -> Act:
    many = define(
        "many(Tensor[] xs) -> Tensor[]",
        lambda xs: [x.clone() for x in xs],
        lambda xs: [x.new_empty(x.shape) for x in xs],
    )

    def forward(x: Any) -> Any:
        xs = [x, x]
        for _ in range(layers):
            xs = many(xs)
        return ops.late(xs[0]), xs[1]

    return compiled(forward, tensor())


def with_gradient(ops: Ops, layers: int) -> Callable[[Any, Any], Any]:
    """Return the layers behind ``late`` as a function whose backward calls these very ops."""
    below_autograd = torch._C._AutoDispatchBelowAutograd

    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, r: Any) -> Any:
            guard = below_autograd()  # no context manager in 2.0
            try:
                return ops.two(x, r)
            finally:
                del guard

        @staticmethod
        def backward(ctx: Any, x: Any, r: Any) -> Any:
            return ops.two(x, r)

    class Late(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, x: Any) -> Any:
            return ops.late(x)

    define("forward_late(Tensor x) -> Tensor", new)
    library.impl("two", Two.apply, "Autograd")
    library.impl("forward_late", Late.apply, "Autograd")
    forward_late = getattr(torch.ops, NAMESPACE).forward_late.default

    def forward(x: Any, r: Any) -> Any:
        x = forward_late(x)
        for _ in range(layers):
            x, r = ops.two(x, r)
        return x, r

    return forward


def backward(ops: Ops, layers: int) -> Act:
    forward = with_gradient(ops, layers)

    def run() -> None:
        x, r = torch.compile(forward, fullgraph=True)(tensor(requires_grad=True), tensor())
        (x.sum() + r.sum()).backward()

    return run


def compiled_autograd(ops: Ops, layers: int) -> Act:
    module = needed("torch._dynamo", "compiled_autograd")
    enable = getattr(module, "_enable", None) or module.enable
    forward = with_gradient(ops, layers)

    def run() -> None:
        x, r = torch.compile(forward, fullgraph=True, backend="aot_eager")(
            tensor(requires_grad=True), tensor()
        )
        with enable(lambda graph: torch.compile(graph, backend="inductor")):
            (x.sum() + r.sum()).backward()

    return run


def mutation(ops: Ops, layers: int) -> Act:
    needed("torch._higher_order_ops.auto_functionalize", "auto_functionalized")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        ops.change(x)
        ops.change(r)
        return ops.late(x), r

    return compiled(forward, tensor())


def mutation_of_an_input(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        y, r = chain(ops, x, layers)
        x.copy_(y)
        return ops.late(y), r

    return compiled(forward, tensor())


def triton_kernel(ops: Ops, layers: int) -> Act:
    """Dynamo takes no Triton kernel without a GPU; Inductor, called with a graph, does not ask."""
    wrap = needed("torch.library", "wrap_triton")
    if not needed("torch.utils._triton", "has_triton_package")():
        raise UnavailableError("no Triton")
    from .triton_kernel import add_one

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        out = torch.empty_like(x)
        wrap(add_one)[(1,)](x, out, 256, block=256)
        return [ops.late(out), r]

    return graph_compiled(forward)
