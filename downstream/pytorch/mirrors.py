"""Custom ops with the schemas of PyTorch's own, in a namespace of their own: their mirrors.

They have no lowering, take real arguments, and tell which strides their kernels are handed.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import torch
from torch.library import Library

NAMESPACE: Final = "mirror"
# Names the tags that decide on a layout constraint, and none; an op takes one of them by its name.
# PyTorch 2.3-2.15: needs_fixed_stride_order; 2.5-2.15: flexible_layout; 2.8-2.15: needs_exact_strides; if
# missing: the op has no tag.
_TAGS: Final = (None, None, "needs_fixed_stride_order", "flexible_layout", "needs_exact_strides")
# Names the tags of ops whose result is no function of the shapes of their arguments.
_UNFIT: Final = ("dynamic_output_shape", "data_dependent_output", "nondeterministic_seeded")
# Names the op that the kernel of its mirror on the device "meta" would come back to without end.
_ENDLESS: Final = "aten::_to_copy"


class Mirrors:
    """Makes a mirror of an op when it is first asked for.

    Args:
        strides: Takes the name and the strides of each tensor that a mirror's kernel is handed.
        is_computing: Whether kernels compute; if not, their results hold zeros.
    """

    def __init__(self, strides: list[Any], *, is_computing: bool) -> None:
        self._strides = strides
        self._is_computing = is_computing
        self._library = Library(NAMESPACE, "DEF")
        self._known: dict[Any, Any] = {}

    def of(self, op: Any) -> Any:
        """Return the mirror of ``op``; None where it can have none."""
        if op not in self._known:
            self._known[op] = self._define(op) if is_plain(op) and _has_mirror(op) else None
        return self._known[op]

    def put_into(self, graph: Any, every: int) -> int:
        """Have each ``every``-th op of an FX graph that has a mirror call that, and return how many do."""
        calls = [node for node in graph.nodes if node.op == "call_function" and not node.meta.get("kept")]
        found = [node for node in calls if self.of(node.target) is not None and _has_tensors(node)]
        chosen = found[::every]
        for node in chosen:
            node.target = self.of(node.target)
        return len(chosen)

    def _define(self, op: Any) -> Any:
        schema = str(op._schema).removeprefix("aten::")
        name = schema.partition("(")[0]
        tag = _TAGS[zlib.crc32(name.encode()) % len(_TAGS)]
        tags = (getattr(torch.Tag, tag),) if tag is not None and hasattr(torch.Tag, tag) else ()
        try:
            self._library.define(schema, tags=tags) if tags else self._library.define(schema)
        except (RuntimeError, TypeError):  # a default that the parser does not read
            return None
        self._library.impl(name, self._kernel(op, name), "CPU")
        self._library.impl(name, op, "Meta")
        packet, _, overload = name.partition(".")
        return getattr(getattr(getattr(torch.ops, NAMESPACE), packet), overload or "default")

    def _kernel(self, op: Any, name: str) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            for given in torch.utils._pytree.tree_flatten((args, kwargs))[0]:
                if isinstance(given, torch.Tensor):
                    self._strides.append([name, list(given.stride())])
            if self._is_computing:
                return op(*args, **kwargs)
            # What is not computed can be anything, and some kernels would fail on it.
            return _mapped(_zeros, op(*_mapped(_meta, args), **_mapped(_meta, kwargs)))

        return run


def is_plain(op: Any) -> bool:
    """Whether ``op`` is one of PyTorch's own, of tensors only, of which no argument is changed or returned."""
    if not isinstance(op, torch._ops.OpOverload) or op.namespace != "aten":
        return False
    schema = op._schema
    if any(part.alias_info is not None for part in (*schema.arguments, *schema.returns)):
        return False
    if not schema.returns or any(str(part.type) != "Tensor" for part in schema.returns):
        return False
    # A factory makes its result on the device that it is told, which is not where its arguments are in a trace.
    is_factory = any(part.name == "device" for part in schema.arguments)
    return any("Tensor" in str(part.type) for part in schema.arguments) and not is_factory


def _has_mirror(op: Any) -> bool:
    if op.name() == _ENDLESS:
        return False
    return not any(hasattr(torch.Tag, tag) and getattr(torch.Tag, tag) in op.tags for tag in _UNFIT)


def _has_tensors(node: Any) -> bool:
    """Whether a node gives its op tensors where it takes some: PyTorch makes them of numbers for its own ops."""
    taken = [argument for argument in node.target._schema.arguments if not argument.kwarg_only]
    return not any(
        str(argument.type) == "Tensor" and not isinstance(given, torch.fx.Node)
        for argument, given in zip(taken, node.args, strict=False)
    )


def _mapped(function: Any, values: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda value: function(value) if isinstance(value, torch.Tensor) else value, values
    )


def _meta(tensor: Any) -> Any:
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta")


def _zeros(tensor: Any) -> Any:
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype).zero_()
