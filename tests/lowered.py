"""What Inductor hands a lowering: compiles that end as soon as the arguments were seen."""

from __future__ import annotations

import itertools

import torch
import torch._inductor.ir
from installed import SERIES
from torch._inductor import lowering
from torch.library import Library

import lowering_hooks

counter = itertools.count()
library = Library("described", "DEF")


def op(schema: str, fake):
    """Define an op and return it; the kernel is never run, since nothing here gets further than lowering."""
    name = f"op{next(counter)}"
    library.define(f"{name}{schema}")
    library.impl(name, fake, "Meta")
    return getattr(torch.ops.described, name).default


class Looked(Exception):
    """Ends a compile once the arguments were seen."""


def arguments_of(model, *inputs, schema="(Tensor x) -> Tensor", look, dynamic=False):
    """Compile ``model(op, *inputs)`` up to the lowering of ``op``, and return what ``look`` makes of its args."""
    late = op(schema, lambda x, *rest: x.new_empty(x.shape))
    seen = []

    def lower(*args, **kwargs):
        seen.append(look(late, args, kwargs))
        raise Looked

    lowering.register_lowering(late, type_promotion_kind=None)(lower)
    torch._dynamo.reset()
    compiled = torch.compile(lambda *xs: model(late, *xs), fullgraph=True, dynamic=dynamic)
    try:
        compiled(*inputs)
    except Exception as error:
        if Looked.__name__ not in str(error):
            raise
    else:
        raise AssertionError("the compile went on after the arguments were seen")
    if SERIES == (2, 0):  # which keeps the origin nodes of a failed compile for all that follow
        torch._inductor.ir.IRNode._current_origins = set()
    (found,) = seen
    return found


def stock(write, *args) -> str:
    """Return what ``write`` writes where no text of IR is bounded."""
    lowering_hooks.bounded_ir(False)
    try:
        return write(*args)
    finally:
        lowering_hooks.bounded_ir("auto")


def chain(depth: int):
    """A chain of ops with two outputs, both read by the next: Inductor's own text doubles with each."""
    two = op(
        "(Tensor x, Tensor y) -> (Tensor, Tensor)",
        lambda x, y: (x.new_empty(x.shape), x.new_empty(x.shape)),
    )

    def model(late, x):
        y = x
        for _ in range(depth):
            x, y = two(x, y)
        return late(x)

    return two, model
