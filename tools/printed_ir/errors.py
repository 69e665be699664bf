"""Errors that hold IR, each made in its own way."""

from __future__ import annotations

import traceback
from typing import Any

import torch

from .building import (
    CAUSE,
    SIZE,
    Act,
    Ops,
    chain,
    compiled,
    configured,
    define,
    fail,
    lower,
    needed,
    tensor,
)
from .graphs import plain


def late_aten_op(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return torch.ops.aten._upsample_bilinear2d_aa.default(
            x.view(1, 1, *SIZE), [7, 7], False, None, None
        ), r

    return compiled(forward, tensor())


def failing_aten_op(ops: Ops, layers: int) -> Act:
    lower(torch.ops.aten.cumsum.default, fail)

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return x.cumsum(0), r

    return compiled(forward, tensor())


def no_implicit_fallbacks(ops: Ops, layers: int) -> Act:
    from torch._inductor.lowering import make_fallback

    make_fallback(ops.two)
    return configured(plain(ops, layers), implicit_fallbacks=False)


def ir_in_the_message(ops: Ops, layers: int) -> Act:
    def late(x: Any) -> Any:
        raise NotImplementedError(f"late of {x}: {CAUSE}")

    lower(ops.late, late)
    return plain(ops, layers)


def ir_as_the_message(ops: Ops, layers: int) -> Act:
    def late(x: Any) -> Any:
        raise AssertionError(x)

    lower(ops.late, late)
    return plain(ops, layers)


def tuple_of_ir_as_the_message(ops: Ops, layers: int) -> Act:
    def late(x: Any) -> Any:
        raise AssertionError((0, x, x.data, [x, {"x": x}]))

    lower(ops.late, late)
    return plain(ops, layers)


def view_without_a_reindexer(ops: Ops, layers: int) -> Act:
    from torch._inductor import ir

    def late(x: Any) -> Any:
        class PluginView(ir.BaseView):
            def get_size(self) -> Any:
                return self.data.get_size()

        return ir.TensorBox(PluginView(data=x.data))

    lower(ops.late, late)

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x) + 1, r

    return compiled(forward, tensor())


def kernel_of_a_plugin(ops: Ops, layers: int) -> Act:
    """A class of IR that the scheduler has never heard of, as a backend's plugin may have one."""
    from torch._inductor import ir
    from torch._inductor.virtualized import V

    def late(x: Any) -> Any:
        base = getattr(ir, "OperationBuffer", ir.Buffer)

        class PluginKernel(base):  # type: ignore[misc, valid-type]
            def __str__(self) -> str:
                return f"PluginKernel(inputs={self.plugin_inputs})"

            __repr__ = __str__

            def get_reads(self) -> Any:
                return set()

            def get_read_writes(self) -> Any:
                from torch._inductor import dependencies

                return dependencies.ReadWrites(set(), set(), set())

            def should_allocate(self) -> bool:
                return True

        layout = ir.FixedLayout(x.get_device(), x.get_dtype(), x.get_size(), list(x.get_stride()))
        kernel = PluginKernel(name=None, layout=layout)
        object.__setattr__(kernel, "plugin_inputs", [x])
        kernel.name = V.graph.register_buffer(kernel)
        if hasattr(V.graph, "register_operation"):
            V.graph.register_operation(kernel)
        return x

    lower(ops.late, late)
    return plain(ops, layers)


def other_offset_in_cond(ops: Ops, layers: int) -> Act:
    from torch._inductor import ir

    def shifted(x: Any) -> Any:
        x.realize()
        base = ir.ExternKernel.require_contiguous(x)
        layout = ir.FixedLayout(x.get_device(), x.get_dtype(), x.get_size(), list(x.get_stride()), 1)
        return ir.TensorBox(ir.ReinterpretView(data=base.data, layout=layout))

    lower(ops.one, shifted)
    branch = needed("torch._higher_order_ops.cond", "cond")

    def forward(x: Any) -> Any:
        def deep(x: Any) -> Any:
            return ops.one(chain(ops, x, layers)[0])

        return branch(ops.flag(x), deep, lambda x: ops.late(chain(ops, x, layers)[0]), (x,))

    return compiled(forward, tensor())


def many_arguments(ops: Ops, layers: int) -> Act:
    """A lowering that fails has all layers among its arguments."""
    join = define(
        "join(Tensor[] xs) -> Tensor", lambda xs: xs[0].clone(), lambda xs: xs[0].new_empty(xs[0].shape)
    )
    lower(join, fail)

    def forward(x: Any) -> Any:
        r, kept = x, []
        for _ in range(layers):
            x, r = ops.two(x, r)
            kept += [x, r]
        return join(kept)

    return compiled(forward, tensor())


def straight_chain(ops: Ops, layers: int) -> Act:
    """Five times as deep, without a second output: text that grows by a line a layer, and calls as deep as that."""

    def forward(x: Any) -> Any:
        for _ in range(5 * layers):
            x = ops.one(x)
        return ops.late(x)

    return compiled(forward, tensor())


def locals_of_a_traceback(ops: Ops, layers: int) -> Act:
    """What test runners and error trackers do: they write the locals of all frames of an error."""
    act = plain(ops, layers)

    def run() -> None:
        try:
            act()
        except Exception as error:
            chained = error.__cause__ or error
            shown = traceback.TracebackException.from_exception(chained, capture_locals=True)
            raise RuntimeError("".join(shown.format())) from None

    return run
