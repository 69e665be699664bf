"""Describes a node of the IR: its buffer, class, dtype, sizes, strides, device, op and origin nodes.

These functions only look: they read fields and ask for sizes, dtypes and devices, which decide nothing.  They
never realize a buffer, never fix a layout, and never compare, add or truth-test a symbolic number, which
would add a guard.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..inductor.nodes import BOXES, is_ir
from ..inductor.site import source_of
from .clipping import class_name, is_sequence, one_line, safe_str
from .value import expression, number, sizes

if TYPE_CHECKING:
    from ..inductor.objects import Argument, Field, FXNode, IRNode, Target

# `_origins` names at most this many origin nodes, and `source` looks at as many for the line of the model.
MAX_ORIGINS: Final = 4
# `_boxes_and_views` goes through at most this many boxes and views.  Around a real buffer are three to five.
MAX_VIEWS: Final = 32


def node_text(node: IRNode) -> str:
    """Describe a node in one line.  Never raises.

    The line leaves out what the node does not have: an unrealized ``Pointwise`` has no buffer and no strides
    yet.
    """
    try:
        return _node_text(node)
    except Exception:
        return class_name(node)


def _node_text(node: IRNode) -> str:
    chain = _boxes_and_views(node)
    # A box says nothing, a view changes sizes and strides, and the last node of the chain is the data.
    nodes = [n for n in chain if type(n).__name__ not in BOXES] or chain
    outer, inner = nodes[0], nodes[-1]
    name = field(inner, "name")
    head = " of ".join(type(n).__name__ for n in nodes[:2] + nodes[2:][-1:])
    if isinstance(name, str):
        head = f"{name} {head}"
    return one_line(f"{head}({fields_of(outer, inner)})")


def fields_of(outer: IRNode, inner: IRNode) -> str:
    """Describe what is known of a node, such as ``"dtype=torch.float32, size=[4, 6], device=cpu"``.

    Args:
        outer: The outermost view of the node, or the node itself: has the dtype, sizes, strides and device.
        inner: The node: has the op that made it and the origin nodes.
    """
    # PyTorch 2.0-2.15: get_dtype, get_size and get_device, or fields of these names, and a layout with size,
    # stride and offset; if missing: the text leaves out what the node does not tell.
    layout = field(outer, "layout")
    size, stride = field(layout, "size"), field(layout, "stride")
    fields = {
        "dtype": _asked(outer, "get_dtype", "dtype"),
        "size": sizes(size if size is not None else _asked(outer, "get_size", "size")),
        "stride": sizes(stride),
        "offset": _offset(layout),
        # PyTorch 2.0-2.15: Inductor may still change the strides of a FlexibleLayout; if missing: the text
        # does not say so.
        "layout": "flexible" if type(layout).__name__ == "FlexibleLayout" else None,
        "device": _asked(outer, "get_device", "device"),
        "expr": shown_by(field(outer, "expr"), expression),
        "op": shown_by(op_of(inner), safe_str),
        "origins": _origins(inner),
    }
    return ", ".join(f"{key}={text}" for key, text in fields.items() if text is not None)


def _boxes_and_views(node: IRNode) -> list[IRNode]:
    """Return ``node`` and what its ``data`` fields lead to, down to the first that has a buffer's name."""
    # PyTorch 2.0-2.15: boxes and views hold a node in `data`; if missing: the chain ends there.
    chain: list[IRNode] = []
    seen: set[int] = set()
    while is_ir(node) and id(node) not in seen and len(chain) < MAX_VIEWS:
        chain.append(node)
        seen.add(id(node))
        if isinstance(field(node, "name"), str):
            break
        node = field(node, "data")
    return chain


def field(node: object, name: str) -> Field:
    """Return an attribute of a node, a layout or anything else; None where it is missing or raises."""
    try:
        return getattr(node, name, None) if node is not None else None
    except Exception:
        return None


def _asked(node: IRNode, method: str, attribute: str) -> Field:
    """Return what a node's method returns, or else what its field holds; None where it has neither."""
    try:
        return getattr(node, method)()
    except Exception:
        return field(node, attribute)


def _offset(layout: Field) -> str | None:
    """Return where in its buffer a tensor begins; None where that is the buffer's own beginning, or unknown.

    Two views of one buffer may differ in nothing else.  A ``SliceView`` that is not realized keeps its offset
    in a closure, where nothing tells it from other numbers.  This function compares texts, because comparing
    a symbolic offset with 0 would add a guard.
    """
    # PyTorch 2.0-2.15: the layout of a ReinterpretView and of a buffer has an offset; if missing: the text
    # leaves it out.
    offset = field(layout, "offset")
    shown = None if offset is None else number(offset)
    return None if shown == "0" else shown


def op_of(buffer: IRNode) -> Target:
    """Return the op that made a buffer: the overload of an extern kernel, else what the origin node calls.

    An extern kernel that knows its op only by name has the name returned, without ``torch.ops.``.  None where
    the op is not known.
    """
    # PyTorch 2.4-2.15: op_overload; if missing, as in 2.0: the name in `kernel` serves, else the origin node.
    # PyTorch 2.0-2.15: the one input of a MultiOutput is the kernel with the outputs; if missing: the origin
    # node serves.
    for node in (buffer, _first(field(buffer, "inputs"))):
        overload = field(node, "op_overload")
        if overload is not None:
            return overload
        kernel = field(node, "kernel")
        if isinstance(kernel, str) and kernel.startswith("torch.ops."):
            return kernel.removeprefix("torch.ops.")
        if type(node).__name__ != "MultiOutput":
            break
    target = field(_maker(buffer), "target")
    return None if isinstance(target, str) else target  # the target of a placeholder is its name


def _first(values: Field) -> Field:
    return values[0] if is_sequence(values) and values else None


def _maker(node: IRNode) -> FXNode:
    """Return the FX node that an IR node was made for; None where Inductor recorded none.

    Inductor sets a buffer's ``origin_node`` whenever the lowering of an FX node returns that buffer.  The
    lowering of a ``getitem`` or a ``wait_tensor`` only hands it on, and still sets it.  The FX node that made
    the buffer is among its ``origins``, which Inductor writes down when it makes the buffer.
    """
    # PyTorch 2.4-2.15: origin_node; if missing, as in 2.0: None.
    # PyTorch 2.0-2.15: origins; if missing: the origin node serves as it is.
    last, origins = field(node, "origin_node"), field(node, "origins")
    with contextlib.suppress(Exception):  # `origins` may be no collection
        if last is not None and origins and last not in origins:
            return next(iter(origins)) if len(origins) == 1 else None
    return last


def _origins(node: IRNode) -> str | None:
    """Return the names of a node's origin nodes; None where there are none."""
    origins = field(node, "origins")
    try:
        if not origins:
            return None
        names = [str(field(origin, "name")) for origin in itertools.islice(origins, MAX_ORIGINS)]
        if len(origins) > MAX_ORIGINS:
            names.append(f"... {len(origins) - MAX_ORIGINS} more")
    except Exception:  # `origins` may be no collection
        return None
    return f"[{', '.join(names)}]"


def source(node: IRNode) -> str | None:
    """Return ``file:line`` of the model's line that made an IR node; None where Inductor recorded none."""
    candidates = [_maker(node)]
    with contextlib.suppress(Exception):  # `origins` may be no collection
        candidates += itertools.islice(field(node, "origins"), MAX_ORIGINS)
    # Origin nodes are in no order, and may include those of an unrealized argument: so the op's own go first.
    op = op_of(node)
    candidates.sort(key=lambda origin: field(origin, "target") is not op)
    return next((one_line(line) for line in map(source_of, candidates) if line), None)


def shown_by(value: Argument, how: Callable[[Argument], str]) -> str | None:
    """Return what ``how`` writes of ``value``; None for None."""
    return None if value is None else how(value)
