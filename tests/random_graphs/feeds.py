"""Lists what changes the strides of a tensor on its way into a custom op.  Needs no PyTorch.

Each function takes the shape of a tensor and ``pick``, which draws a number below its argument.  It returns an
expression of ``{x}``, that tensor, and the shape that it makes; None where it has none for that shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Shape = tuple[int, ...]
Pick = Callable[[int], int]
Feed = Callable[[Shape, Pick], "tuple[str, Shape] | None"]

# Keeps the tensors of a graph small: expressions that would make more elements are not drawn.
MAX_ELEMENTS = 800


def _pointwise(expression: str) -> Feed:
    return lambda shape, pick: (expression, shape)


def _swapped(shape: Shape, first: int, second: int) -> Shape:
    sizes = list(shape)
    sizes[first], sizes[second] = sizes[second], sizes[first]
    return tuple(sizes)


def _two_dims(shape: Shape, pick: Pick) -> tuple[int, int]:
    first = pick(len(shape))
    return first, (first + 1 + pick(len(shape) - 1)) % len(shape)


def transposed(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) < 2:
        return None
    first, second = _two_dims(shape, pick)
    return f"{{x}}.transpose({first}, {second})", _swapped(shape, first, second)


def transposed_and_back(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    found = transposed(shape, pick)
    return found and (f"({found[0]} * 3){_swap_in(found[0])}", shape)


def cloned_across(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    found = transposed(shape, pick)
    return found and (f"{found[0]}.contiguous(){_swap_in(found[0])}", shape)


def _swap_in(transposed: str) -> str:
    """Return what was done to the tensor, which is undone by doing it again."""
    return transposed.removeprefix("{x}")


def permuted(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) < 3:
        return None
    left = list(range(len(shape)))
    order = [left.pop(pick(len(left))) for _ in shape]
    return f"torch.sin({{x}}.permute({', '.join(map(str, order))}))", tuple(shape[dim] for dim in order)


def expanded(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) > 3:
        return None
    dim = pick(len(shape) + 1)
    sizes = ["-1"] * len(shape)
    sizes.insert(dim, "3")
    return f"torch.cos({{x}}).unsqueeze({dim}).expand({', '.join(sizes)})", (*shape[:dim], 3, *shape[dim:])


def padded(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    more = pick(3) + 1
    return f"F.pad({{x}} + 1, (0, {more}))", (*shape[:-1], shape[-1] + more)


def padded_rows(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) < 2:
        return None
    more = pick(3) + 1
    return f"F.pad({{x}}, (0, 0, 0, {more}))", (*shape[:-2], shape[-2] + more, shape[-1])


def every_other(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return "torch.exp({x})[..., ::2]", (*shape[:-1], (shape[-1] + 1) // 2)


def without_the_first(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    dim = pick(len(shape))
    if shape[dim] < 2:
        return None
    return f"{{x}}.narrow({dim}, 1, {{x}}.shape[{dim}] - 1)", (
        *shape[:dim],
        shape[dim] - 1,
        *shape[dim + 1 :],
    )


def selected(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) < 2:
        return None
    dim = pick(len(shape))
    return f"{{x}}.select({dim}, -1)", shape[:dim] + shape[dim + 1 :]


def channels_last(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("F.relu({x}.to(memory_format=torch.channels_last))", shape) if len(shape) == 4 else None


def made_contiguous(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return "{x}.contiguous()", shape


def reduced(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) < 2:
        return None
    dim = pick(len(shape))
    return f"{{x}}.sum({dim})", shape[:dim] + shape[dim + 1 :]


def reduced_keepdim(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    dim = pick(len(shape))
    return f"{{x}}.amax({dim}, keepdim=True)", (*shape[:dim], 1, *shape[dim + 1 :])


def less_its_mean(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return f"({{x}} - {{x}}.mean({pick(len(shape))}, keepdim=True))", shape


def softmax(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return f"{{x}}.softmax({pick(len(shape))})", shape


def layer_norm(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return "F.layer_norm({x}, ({x}.shape[-1],))", shape


def concatenated(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    dim = pick(len(shape))
    return f"torch.cat([{{x}}, {{x}} * 2], {dim})", (*shape[:dim], shape[dim] * 2, *shape[dim + 1 :])


def stacked(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) > 3:
        return None
    dim = pick(len(shape) + 1)
    return f"torch.stack([{{x}}, -{{x}}], {dim})", (*shape[:dim], 2, *shape[dim:])


def strided(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) != 2:
        return None
    rows, columns = shape
    return f"{{x}}.contiguous().as_strided(({columns}, {rows}), (1, {columns}))", (columns, rows)


def unsqueezed(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) > 3:
        return None
    dim = pick(len(shape) + 1)
    return f"{{x}}.unsqueeze({dim})", (*shape[:dim], 1, *shape[dim:])


def flattened(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("{x}.flatten(0, 1)", (shape[0] * shape[1], *shape[2:])) if len(shape) > 1 else None


def multiplied(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) < 2:
        return None
    return "({x} @ {x}.transpose(-1, -2))", (*shape[:-1], shape[-2])


def convolved(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) != 4:
        return None
    expression = f"F.conv2d({{x}}, torch.full((4, {shape[1]}, 1, 1), 0.5))"
    return expression, (shape[0], 4, *shape[2:])


def pooled(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) != 4 or min(shape[2:]) < 2:
        return None
    return "F.max_pool2d({x}, 2)", (*shape[:2], shape[2] // 2, shape[3] // 2)


def flipped(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return f"{{x}}.flip({pick(len(shape))})", shape


def indexed(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("{x}[torch.arange(1, -1, -1)]", (2, *shape[1:])) if shape[0] > 1 else None


def summed_up(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return f"{{x}}.cumsum({pick(len(shape))})", shape


def sorted_(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return f"{{x}}.sort({pick(len(shape))})[0]", shape


def chunked(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("{x}.split(1, -1)[1]", (*shape[:-1], 1)) if shape[-1] > 1 else None


def repeated(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    times = ["1"] * len(shape)
    times[dim := pick(len(shape))] = "2"
    return f"{{x}}.repeat({', '.join(times)})", (*shape[:dim], shape[dim] * 2, *shape[dim + 1 :])


def unfolded(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    if len(shape) > 3 or shape[-1] < 2:
        return None
    return "{x}.unfold(-1, 2, 1)", (*shape[:-1], shape[-1] - 1, 2)


def diagonal(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("{x}.diagonal(0, -2, -1)", (*shape[:-2], min(shape[-2:]))) if len(shape) > 1 else None


def halved(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return "{x}.half().float()", shape


# The next three end in an op of PyTorch's own that Inductor has no lowering for, on 2.0 to 2.15 alike.
def polar(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("torch.view_as_real(torch.polar({x}, {x}))", (*shape, 2)) if len(shape) < 4 else None


def complex_(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return ("torch.view_as_real(torch.complex({x}, {x}))", (*shape, 2)) if len(shape) < 4 else None


def histogram(shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    return "torch.histogram({x}, torch.arange(5.0))[0]", (4,)


# Those without a lowering, by the names that torch.ops.aten gives them.
WITHOUT_LOWERING = ("polar.default", "complex.default", "histogram.bins_tensor")

FEEDS: dict[str, Feed] = {
    "pointwise": _pointwise("F.relu({x})"),
    "pointwise shared": _pointwise("({x} * {x} + 1)"),
    "transposed": transposed,
    "transposed and back": transposed_and_back,
    "cloned across": cloned_across,
    "permuted": permuted,
    "expanded": expanded,
    "padded": padded,
    "padded rows": padded_rows,
    "every other": every_other,
    "without the first": without_the_first,
    "selected": selected,
    "channels last": channels_last,
    "made contiguous": made_contiguous,
    "reduced": reduced,
    "reduced, keepdim": reduced_keepdim,
    "less its mean": less_its_mean,
    "softmax": softmax,
    "layer norm": layer_norm,
    "concatenated": concatenated,
    "stacked": stacked,
    "as_strided": strided,
    "unsqueezed": unsqueezed,
    "flattened": flattened,
    "matmul": multiplied,
    "conv2d": convolved,
    "max_pool2d": pooled,
    "flipped": flipped,
    "indexed": indexed,
    "cumsum": summed_up,
    "sorted": sorted_,
    "split": chunked,
    "repeated": repeated,
    "unfolded": unfolded,
    "diagonal": diagonal,
    "cast": halved,
    "aten.polar": polar,
    "aten.complex": complex_,
    "aten.histogram": histogram,
}
# These keep the shape of every tensor, as the body of a subgraph must.
KEEPING = (
    "pointwise",
    "pointwise shared",
    "transposed and back",
    "cloned across",
    "less its mean",
    "softmax",
    "layer norm",
    "flipped",
    "cumsum",
)


def drawn(name: str, shape: Shape, pick: Pick) -> tuple[str, Shape] | None:
    """Return the expression and the shape of a feed; None where it does not go with ``shape``."""
    made = FEEDS[name](shape, pick)
    return made if made and math.prod(made[1]) <= MAX_ELEMENTS else None
