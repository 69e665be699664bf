"""Defines the ops of a graph and makes its model.  Imports nothing of lowering-hooks."""

from __future__ import annotations

import importlib
import inspect
import linecache
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch
import torch._dynamo  # PyTorch 2.0 does not import it by itself
import torch._inductor.compile_fx
import torch.nn.functional as F  # noqa: N812
import torch.utils.checkpoint
from torch._inductor import lowering

from . import feeds, ops

NAMESPACE = "random_graphs"
library = torch.library.Library(NAMESPACE, "DEF")

# PyTorch 2.0 does not.
_TAKES_TAGS = "tags" in inspect.signature(library.define).parameters

# Where each kind of subgraph is found: a module and a name in it.
_SUBGRAPHS = {
    "cond": [("torch", "cond")],  # from 2.2 on
    "map": [("torch._higher_order_ops.map", "map"), ("torch._higher_order_ops", "map")],
    "while_loop": [("torch._higher_order_ops.while_loop", "while_loop")],
    "scan": [("torch._higher_order_ops.scan", "scan")],
    "checkpoint": [("torch.utils.checkpoint", "checkpoint")],
    "invoke_subgraph": [("torch.compiler", "nested_compile_region")],
}


def subgraphs() -> dict[str, Any]:
    """Return the functions that make subgraphs, of those that the installed PyTorch has."""
    found = {}
    for kind, places in _SUBGRAPHS.items():
        for module, name in places:
            try:
                function = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError):
                continue
            if callable(function):
                found[kind] = function
                break
    return found


FOUND = subgraphs()


def _doubled(x: Any) -> Any:
    return (x * 2).contiguous()


def _empty(x: Any) -> Any:
    return x.new_empty(x.shape)


def _flat(x: Any) -> Any:
    return x.new_empty(x.numel())


# Maps what an op returns to its kernel and to what the compiler knows of it, both of the first tensor.
_KERNELS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Tensor": (_doubled, _empty),
    "Tensor like its argument": (torch.sin, torch.empty_like),
    "tuple": (lambda x: (_doubled(x), _doubled(x).view(-1)), lambda x: (_empty(x), _flat(x))),
    "Tensor[]": (lambda x: [_doubled(x), _doubled(x).view(-1)], lambda x: [_empty(x), _flat(x)]),
    "Tensor and Tensor[]": (
        lambda x: (_doubled(x), [_doubled(x).view(-1)]),
        lambda x: (_empty(x), [_flat(x)]),
    ),
    "nothing": (lambda x: None, lambda x: None),
    "int": (lambda x: x.dim(), lambda x: x.dim()),
    "SymInt": (lambda x: x.shape[0], lambda x: x.shape[0]),
    "bool": (lambda x: True, lambda x: True),
    "Tensor and SymInt": (lambda x: (_doubled(x), x.shape[0]), lambda x: (_empty(x), x.shape[0])),
    "Tensor?": (lambda x: (_doubled(x), None), lambda x: (_empty(x), None)),
    "view": (lambda x: x.view_as(x), lambda x: x.view_as(x)),
    "undeclared view": (lambda x: x.detach(), lambda x: x.detach()),
}


class Model:
    """The model of a graph, and the tensors that it is called with.

    Args:
        graph: What to build.
        number: Makes the names of the ops those of no other graph of this process: an op is without a lowering
            once.
        strides: Takes the strides of what kernels are handed.
    """

    def __init__(self, graph: dict[str, Any], number: int, strides: list[Any]) -> None:
        self._graph = graph
        self._number = number
        self._strides = strides
        _forget_fallbacks()
        names: dict[str, Any] = {"torch": torch, "F": F, "subgraphs": FOUND}
        # All of them before any is looked up: PyTorch 2.0 keeps of a name the overloads that it had then.
        for index, op in enumerate(graph["ops"]):
            _declare(ops.schema(op, self._name(index)), op)
        for index, op in enumerate(graph["ops"]):
            names[f"op{index}"] = self._defined(index, op)
        exec(_code(graph), names)
        self.forward: Callable[..., Any] = names["forward"]

    def inputs(self) -> list[Any]:
        """Return the tensors that the model is called with, the same in each call and process."""
        torch.manual_seed(0)
        return [
            _with_layout(torch.randn(given["shape"]), given["layout"]).requires_grad_(given["grad"])
            for given in self._graph["inputs"]
        ]

    def outcome(self, run: Callable[..., Any]) -> list[Any]:
        """Return the results of ``run``, the inputs after it and their gradients, flat."""
        leaves = self.inputs()
        out = run(*leaves)
        if self._graph["backward"]:
            trained = [t.pow(2).sum() for t in _tensors(out) if t.requires_grad]
            if trained:
                sum(trained[1:], trained[0]).backward()
        return [t.detach().clone() for t in _tensors([out, leaves, [x.grad for x in leaves]])]

    def _name(self, index: int) -> str:
        op = self._graph["ops"][index]
        packet, overload = (index, "") if op["overload_of"] is None else (op["overload_of"], f".of{index}")
        return f"op{packet}_{self._number}{overload}"

    def _defined(self, index: int, op: dict[str, Any]) -> Any:
        name = self._name(index)
        kernel, fake = _KERNELS[op["returns"]]
        function = _implement(name, self._recording(index, op, kernel), fake)
        if op["grad"]:
            self._add_gradient(name, function, op)
        _HAVING[op["has"]](function)
        return function

    def _recording(self, index: int, op: dict[str, Any], kernel: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            given = _tensors([args, list(kwargs.values())])
            self._strides.append([index, [list(t.stride()) for t in given]])
            first = _first(args, kwargs)
            if op["mutates"]:
                first.add_(1)
            return kernel(first)

        return run

    def _add_gradient(self, name: str, forward: Any, op: dict[str, Any]) -> None:
        """Let the op of that name have a gradient, which is an op with the same tags."""
        name_backward = f"{name.replace('.', '_')}_backward"
        _declare(f"{name_backward}(Tensor g, Tensor x) -> Tensor", op)
        backward = _implement(name_backward, self._recording(-1, {"mutates": False}, _doubled), _empty)

        class Differentiable(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, kwargs: Any, first: Any, *args: Any) -> Any:
                tensor = first[0] if isinstance(first, (list, tuple)) else first
                ctx.save_for_backward(tensor)
                ctx.more = len(args)
                below = torch._C._AutoDispatchBelowAutograd()  # PyTorch 2.0: no context manager yet
                result = forward(first, *args, **kwargs)
                del below
                return result

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return (None, backward(g, ctx.saved_tensors[0]), *([None] * ctx.more))

        # PyTorch 2.0's Dynamo refuses an autograd.Function; so it stands behind the dispatcher.
        library.impl(name, lambda *args, **kwargs: Differentiable.apply(kwargs, *args), "Autograd")


def _declare(schema: str, op: dict[str, Any]) -> None:
    tags = tuple(getattr(torch.Tag, tag) for tag in op["tags"] if hasattr(torch.Tag, tag))
    library.define(schema, tags=tags) if tags and _TAKES_TAGS else library.define(schema)


def _implement(name: str, kernel: Any, fake: Any) -> Any:
    """Return the op of that name, which was declared, with a kernel and with what the compiler knows of it."""
    library.impl(name, kernel, "CPU")
    library.impl(name, lambda *args, **kwargs: fake(_first(args, kwargs)), "Meta")
    packet, _, overload = name.partition(".")
    return getattr(getattr(getattr(torch.ops, NAMESPACE), packet), overload or "default")


def _first(args: Any, kwargs: Any) -> Any:
    first = args[0] if args else kwargs["x"]
    return first[0] if isinstance(first, (list, tuple)) else first


def _tensors(tree: Any) -> list[Any]:
    flat, _ = torch.utils._pytree.tree_flatten(tree)
    return [t for t in flat if isinstance(t, torch.Tensor)]


def _with_layout(x: Any, layout: str) -> Any:
    if layout == "transposed" and x.dim() > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "sliced":
        wide = torch.cat([x, x], -1)
        return wide[..., : x.shape[-1]]
    if layout == "channels last" and x.dim() == 4:
        return x.to(memory_format=torch.channels_last)
    return x


def _code(graph: dict[str, Any]) -> CodeType:
    """Return the code of a module that defines the model as ``forward``."""
    inputs = ", ".join(given["name"] for given in graph["inputs"])
    lines = [f"def forward({inputs}):", *(f"    {line}" for line in graph["lines"])]
    source = "\n".join([*graph["functions"], *lines, f"    return [{', '.join(graph['returns'])}]", ""])
    # Dynamo leaves out files whose names begin with "<".  Errors and texts show the lines of this one.
    name = "random_graph.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec")


# --- what an op has beside its kernel --------------------------------------------------------------------------


def _decompose(op: Any) -> None:
    torch._decomp.register_decomposition(op)(lambda x, *args, **kwargs: x * 2)


def _lower(op: Any) -> None:
    lowering.register_lowering(op, type_promotion_kind=None)(
        lambda x, *args, **kwargs: lowering.lowerings[torch.ops.aten.add.Tensor](x, x)
    )


def _fail(op: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ArithmeticError("on purpose")

    lowering.register_lowering(op, type_promotion_kind=None)(fail)


def _put_on_the_allow_list(op: Any) -> None:
    found = lowering.FALLBACK_ALLOW_LIST
    # The plain proxy is no set.
    (found if hasattr(found, "add") else found.inner).add(op.name().partition(".")[0])


_HAVING: dict[str, Callable[[Any], None]] = {
    "": lambda op: None,
    "decomposition": _decompose,
    "own lowering": _lower,
    "failing lowering": _fail,
    "entry in the allow list": _put_on_the_allow_list,
    "own constraint": lambda op: lowering.add_layout_constraint(op, lowering.require_contiguous),
    "own fallback": lambda op: lowering.make_fallback(op, lowering.require_contiguous),
}


def _forget_fallbacks() -> None:
    """Let PyTorch's own ops that have no lowering have none again, as in a process that has not met them."""
    for name in feeds.WITHOUT_LOWERING:
        op: Any = torch.ops.aten
        for part in name.split("."):
            op = getattr(op, part)
        for table in ("lowerings", "_maybe_layout_constraints", "layout_constraints"):
            getattr(lowering, table, {}).pop(op, None)
