"""Describes a value that is no node of the IR: a number, a dtype, a list, a symbolic expression, a tensor."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, cast

from ..inductor.nodes import class_of
from .clipping import (
    MAX_LINE_CHARACTERS,
    class_name,
    is_container,
    is_sequence,
    kind_name,
    one_line,
    safe_str,
)

if TYPE_CHECKING:
    from ..inductor.objects import Argument

# `items_of` and `sizes` show at most this many elements of a list, tuple or dict, or of a size or a stride.
MAX_ELEMENTS: Final = 8
# `expression` writes a symbolic expression of at most this many terms.  Expressions share their parts, as the
# IR does, so that the text of one can be exponential as well.
MAX_TERMS: Final = 64
# `_value_text` writes objects of these classes by `repr`, which is short and cannot hold IR.
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, range, type(...)})
# `_text_of_torch` writes objects of these classes of torch by `repr`, too.
# PyTorch 2.0-2.15: torch.dtype and so on; if missing: the name of the class stands for the object.
_PLAIN_OF_TORCH: Final = frozenset({"dtype", "device", "layout", "memory_format"})
# `_text_of_torch` writes the expression behind objects of these classes of torch.
# PyTorch 2.0-2.15: torch.SymInt and so on; if missing: the name of the class stands for the object.
_SYMBOLIC: Final = frozenset({"SymInt", "SymFloat", "SymBool"})


def value_text(value: Argument) -> str:
    """Describe one value in one line.  Never raises.

    FX hands a target numbers, strings, dtypes, devices, tensors, symbolic numbers, ops and containers of
    these.  For anything else, such as a subgraph or a script object, the line is the name of its class,
    because only the text itself tells how long it is.
    """
    # PyTorch 2.0-2.15: torch.fx.node.BaseArgumentTypes lists them; if missing: the name of the class stands
    # for an argument of a new kind.
    try:
        return _value_text(value)
    except Exception:  # such as that of an int with more digits than Python writes
        return class_name(value)


def _value_text(value: Argument) -> str:
    kind = class_of(value)
    if kind in _PLAIN:
        return one_line(repr(value))
    if isinstance(value, (str, bytes)):
        return one_line(repr(value[:MAX_LINE_CHARACTERS]))
    if is_container(value):
        return f"{kind_name(kind)} of {len(value)}"
    if hasattr(kind, "free_symbols"):  # an expression of sympy
        return expression(value)
    return _text_of_torch(value, kind)


def _text_of_torch(value: Argument, kind: type[object]) -> str:
    """Describe an object of PyTorch; by the name of its class where its text may be long."""
    module = kind.__module__
    if module == "torch" and kind.__name__ in _SYMBOLIC:
        # PyTorch 2.0-2.15: SymNode._expr; if missing: the name of the class stands for the number.
        return expression(value.node._expr)
    if module == "torch" and kind.__name__ in _PLAIN_OF_TORCH:
        return repr(value)
    # PyTorch 2.0-2.15: torch._ops has the classes of ops; if missing: the name of the class stands for it.
    if module == "torch._ops":
        return safe_str(value)
    if _is_tensor(value):
        # A tensor's own text holds its numbers: it is long, and waits for the device.
        return f"{kind.__name__}({_tensor_fields(value)})"
    return class_name(value)


def items_of(value: Collection[Argument]) -> tuple[list[tuple[str, Argument]], int]:
    """Return the first elements of a container and how many it has.

    Returns:
        At most :data:`MAX_ELEMENTS` elements, each with a label such as ``"[0]"``, and the length.
    """
    length = len(value)
    pairs = cast("dict[object, Argument]", value).items() if isinstance(value, dict) else enumerate(value)
    first = itertools.islice(pairs, MAX_ELEMENTS)
    return [(f"[{value_text(key)}]", element) for key, element in first], length


def inline(value: object, items: Sequence[tuple[str, Argument]], length: int) -> str:
    """Describe a container in one line, as Python writes a list, a tuple, a dict or a set.

    Args:
        value: The container, asked only for its class.
        items: Its first elements, as :func:`items_of` returns them.
        length: How many elements it has.
    """
    if isinstance(value, dict):
        shown = [f"{label[1:-1]}: {value_text(element)}" for label, element in items]
    else:
        shown = [value_text(element) for _, element in items]
    if length > len(items):
        shown.append(f"... {length - len(items)} more")
    opening, closing = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
    return f"{opening}{', '.join(shown)}{closing}"


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _tensor_fields(tensor: Argument) -> str:
    return f"dtype={tensor.dtype}, size={sizes(tensor.shape)}, device={tensor.device}"


def sizes(values: Argument) -> str | None:
    """Describe a size or a stride, such as ``"[4, 6]"``; None where ``values`` is no list or tuple."""
    if not is_sequence(values):
        return None
    shown = [number(value) for value in itertools.islice(values, MAX_ELEMENTS)]
    if len(values) > MAX_ELEMENTS:
        shown.append(f"... {len(values) - MAX_ELEMENTS} more")
    return f"[{', '.join(shown)}]"


def number(value: Argument) -> str:
    """Describe one number of a size or a stride, or an offset, without comparing it with anything."""
    if type(value) is int:
        return str(value)
    # On many releases of PyTorch a known size is a number of sympy, whose own text is slow.
    if type(value).__module__ == "sympy.core.numbers" and value.is_Integer:
        return str(value.p)
    return value_text(value)


def expression(expr: Argument) -> str:
    """Return the text of a symbolic expression; its class if it has more than :data:`MAX_TERMS` terms."""
    pending = [expr]
    for _ in range(MAX_TERMS):
        if not pending:
            return one_line(str(expr))
        pending += getattr(pending.pop(), "args", ())
    return f"{type(expr).__name__} of more than {MAX_TERMS} terms"
