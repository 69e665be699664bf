"""What the models are built of: custom ops, a chain of them, and ways to compile it.

The ops of a chain have two outputs, both of which the next one reads: the text of the IR doubles from layer to
layer.  Behind the last layer stands an op called ``late``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

warnings.simplefilter("ignore")

import torch
import torch._dynamo  # PyTorch 2.0 does not import it by itself

# The namespace of all ops, which nobody allows.
NAMESPACE = "unlisted"
CAUSE = "this lowering fails on purpose"
SIZE = (16, 16)

Act = Callable[[], Any]
library = torch.library.Library(NAMESPACE, "DEF")


class UnavailableError(Exception):
    """A model needs something that the installed PyTorch does not have; the message says what."""


class Model(NamedTuple):
    """A model and the way in which it makes Inductor print.

    Attributes:
        build: Makes the model for a number of layers, and returns the function that compiles and runs it.
        way: ``error`` (the lowering of ``late`` fails), ``raises`` (something else fails), ``log`` (Inductor's
            loggers at DEBUG, with all their artifacts) or ``files`` (``TORCH_COMPILE_DEBUG`` and
            ``TORCH_TRACE``).
        reached: How it makes Inductor print, in words for the page.
        cause: What the message of an error must hold, whatever is cut from it.
    """

    build: Callable[[Ops, int], Act]
    way: str
    reached: str
    cause: str = CAUSE


class Ops:
    """Custom ops that Inductor meets for the first time.

    Args:
        failing: Whether the lowering of ``late`` fails.
    """

    def __init__(self, failing: bool) -> None:
        self.two = define(
            "two(Tensor x, Tensor r) -> (Tensor, Tensor)", lambda x, r: ((x + r).contiguous(), new(x))
        )
        self.one = define("one(Tensor x) -> Tensor", new)
        self.late = define("late(Tensor x) -> Tensor", new)
        self.flag = define(
            "flag(Tensor x) -> Tensor",
            lambda x: x.isfinite().all(),
            lambda x: x.new_empty((), dtype=torch.bool),
        )
        self.change = define("change(Tensor(a!) x) -> ()", add_one_to, lambda x: None)
        self.count = define(
            "count(Tensor x, Tensor i) -> Tensor", lambda x, i: i + 1, lambda x, i: i.new_empty(i.shape)
        )
        if failing:
            lower(self.late, fail)


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any] | None = None) -> Any:
    name = schema.partition("(")[0]
    library.define(schema)
    library.impl(name, kernel, "CPU")
    library.impl(name, fake or (lambda *args: like(args, kernel(*args))), "Meta")
    return getattr(getattr(torch.ops, NAMESPACE), name).default


def like(args: Any, result: Any) -> Any:
    """Return new tensors of the shapes that a kernel gave, so that no output aliases an argument."""
    if isinstance(result, tuple):
        return tuple(args[0].new_empty(r.shape) for r in result)
    return args[0].new_empty(result.shape)


def new(x: Any) -> Any:
    """Return a contiguous copy, as the other kernels do, whatever the strides of their arguments are."""
    return x.clone(memory_format=torch.contiguous_format)


def add_one_to(x: Any) -> None:
    x.add_(1)


def lower(op: Any, lowering: Callable[..., Any]) -> None:
    from torch._inductor.lowering import register_lowering

    register_lowering(op, type_promotion_kind=None)(lowering)


def fail(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError(CAUSE)


def chain(ops: Ops, x: Any, layers: int) -> tuple[Any, Any]:
    r = x
    for _ in range(layers):
        x, r = ops.two(x, r)
    return x, r


def tensor(*size: int, **options: Any) -> Any:
    torch.manual_seed(0)
    return torch.randn(*(size or SIZE), **options)


def compiled(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Act:
    return lambda: torch.compile(forward, fullgraph=True, **options)(*inputs)


def configured(act: Act, **settings: Any) -> Act:
    """Return ``act`` under settings of Inductor; a dot in a name is written as two underscores."""
    from torch._inductor import config

    def run() -> Any:
        with config.patch({name.replace("__", "."): value for name, value in settings.items()}):
            return act()

    for name in settings:
        place: Any = config
        for part in name.split("__"):
            if not hasattr(place, part):
                raise UnavailableError(f"no setting {name.replace('__', '.')}")
            place = getattr(place, part)
    return run


def with_scalars(act: Act) -> Act:
    """Return ``act`` with Dynamo capturing scalars, which PyTorch 2.8 makes loops of a scan with."""

    def run() -> Any:
        with torch._dynamo.config.patch(capture_scalar_outputs=True):
            return act()

    return run


def needed(module: str, name: str) -> Any:
    """Return something of PyTorch that not all releases have."""
    try:
        return getattr(__import__(module, fromlist=[name]), name)
    except (ImportError, AttributeError):
        raise UnavailableError(f"no {module}.{name}") from None


def without_gradient(act: Act) -> Act:
    def run() -> Any:
        with torch.no_grad():
            return act()

    return run


def graph_compiled(forward: Callable[..., Any]) -> Act:
    from torch.fx.experimental.proxy_tensor import make_fx

    def run() -> Any:
        from torch._inductor.compile_fx import compile_fx

        return compile_fx(make_fx(forward, tracing_mode="fake")(tensor()), [tensor()])(tensor())

    return run
