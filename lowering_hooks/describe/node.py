"""A node of the IR: its buffer, class, dtype, sizes, strides, device, the op that made it, its origin nodes.

A pure look: it reads fields and asks for sizes, dtypes and devices, which decide nothing.  It never realizes
a buffer, never fixes a layout, and never compares, adds or truth-tests a symbolic number, which would add a
guard.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, Final

from ..inductor.nodes import BOXES, is_ir
from ..inductor.site import source_of
from .clipping import class_name, one_line, safe_str
from .value import expression, number, sizes

MAX_ORIGINS: Final = 4
# Boxes and views around a buffer.  Real ones have three to five.
MAX_VIEWS: Final = 32


def node_text(node: Any) -> str:
    """Describe a node in one line.  Never raises.

    What a node does not have (an unrealized ``Pointwise`` has no buffer and no strides yet) is left out.
    """
    try:
        return _node_text(node)
    except Exception:
        return class_name(node)


def _node_text(node: Any) -> str:
    chain = _boxes_and_views(node)
    # TensorBox and StorageBox say nothing; a view changes sizes and strides; the last one is the data.
    nodes = [n for n in chain if type(n).__name__ not in BOXES] or chain
    outer, inner = nodes[0], nodes[-1]
    name = field(inner, "name")
    head = " of ".join(type(n).__name__ for n in nodes[:2] + nodes[2:][-1:])
    if isinstance(name, str):
        head = f"{name} {head}"
    return one_line(f"{head}({fields_of(outer, inner)})")


def fields_of(outer: Any, inner: Any) -> str:
    """Describe what is known of a node, ``inner``, seen through ``outer``.

    Fields as seen in torch 2.0.1 to 2.15.0.
    """
    layout = field(outer, "layout")
    size, stride = field(layout, "size"), field(layout, "stride")
    fields = {
        "dtype": _asked(outer, "get_dtype", "dtype"),
        "size": sizes(size if size is not None else _asked(outer, "get_size", "size")),
        "stride": sizes(stride),
        "offset": _offset(layout),
        # A FlexibleLayout may still be given other strides.
        "layout": "flexible" if type(layout).__name__ == "FlexibleLayout" else None,
        "device": _asked(outer, "get_device", "device"),
        "expr": shown_by(field(outer, "expr"), expression),
        "op": shown_by(op_of(inner), safe_str),
        "origins": _origins(inner),
    }
    return ", ".join(f"{key}={text}" for key, text in fields.items() if text is not None)


def _boxes_and_views(node: Any) -> list[Any]:
    """Return ``node`` and what its ``data`` fields lead to, down to the first that has a buffer's name."""
    chain: list[Any] = []
    seen: set[int] = set()
    while is_ir(node) and id(node) not in seen and len(chain) < MAX_VIEWS:
        chain.append(node)
        seen.add(id(node))
        if isinstance(field(node, "name"), str):
            break
        node = field(node, "data")
    return chain


def field(node: Any, name: str) -> Any:
    """Read an attribute; None where it is missing or raises."""
    try:
        return getattr(node, name, None) if node is not None else None
    except Exception:
        return None


def _asked(node: Any, method: str, attribute: str) -> Any:
    """Ask a node by its method, else by its field; None where neither knows."""
    try:
        return getattr(node, method)()
    except Exception:
        return field(node, attribute)


def _offset(layout: Any) -> str | None:
    """Return where in its buffer a tensor begins; None where that is the buffer's own beginning, or unknown.

    Two views of one buffer may differ in nothing else.  A ``ReinterpretView`` and a buffer keep it in their
    layout (seen in 2.4.1, 2.12.1 and 2.15.0); a ``SliceView`` that is not realized keeps it in a closure,
    where it is not to be told from other numbers.  A symbolic one is not compared with 0: that would add a
    guard.
    """
    offset = field(layout, "offset")
    shown = None if offset is None else number(offset)
    return None if shown == "0" else shown


def op_of(buffer: Any) -> Any:
    """Return the op that made a buffer: the overload of an extern kernel, else what the origin node calls."""
    for node in (buffer, _first(field(buffer, "inputs"))):
        overload = field(node, "op_overload")
        if overload is not None:
            return overload
        kernel = field(node, "kernel")  # all there is on 2.0
        if isinstance(kernel, str) and kernel.startswith("torch.ops."):
            return kernel.removeprefix("torch.ops.")
        if type(node).__name__ != "MultiOutput":  # whose one input is the kernel with the outputs
            break
    target = field(_maker(buffer), "target")
    return None if isinstance(target, str) else target  # a placeholder's, which is its name


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, (list, tuple)) and values else None


def _maker(node: Any) -> Any:
    """Return the FX node that an IR node was made for, as far as Inductor recorded one.

    Inductor sets a buffer's ``origin_node`` whenever the lowering of an FX node returns that buffer (seen in
    2.4.1, 2.12.1 and 2.15.0): a ``getitem`` or a ``wait_tensor`` that hands it on, too.  The one that made it
    is among ``origins``, which are written down when it is made.
    """
    last, origins = field(node, "origin_node"), field(node, "origins")
    with contextlib.suppress(Exception):  # no collection
        if last is not None and origins and last not in origins:
            return next(iter(origins)) if len(origins) == 1 else None
    return last


def _origins(node: Any) -> str | None:
    origins = field(node, "origins")
    try:
        if not origins:
            return None
        names = [str(field(origin, "name")) for origin in itertools.islice(origins, MAX_ORIGINS)]
        if len(origins) > MAX_ORIGINS:
            names.append(f"... {len(origins) - MAX_ORIGINS} more")
    except Exception:  # no collection
        return None
    return f"[{', '.join(names)}]"


def source(node: Any) -> str | None:
    """Return the line of the model that made an IR node, as far as Inductor recorded it."""
    candidates = [_maker(node)]
    with contextlib.suppress(Exception):  # no collection
        candidates += itertools.islice(field(node, "origins"), MAX_ORIGINS)
    # Origins are in no order, and may hold those of an unrealized argument: the op's own come first.
    op = op_of(node)
    candidates.sort(key=lambda origin: field(origin, "target") is not op)
    return next((one_line(line) for line in map(source_of, candidates) if line), None)


def shown_by(value: Any, how: Any) -> str | None:
    return None if value is None else how(value)
