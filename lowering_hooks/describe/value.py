"""A value that is no node of the IR: a number, a dtype, a list, a symbolic expression, a tensor."""

from __future__ import annotations

import itertools
import sys
from typing import Any, Final

from .clipping import MAX_LINE_CHARACTERS, class_name, is_container, kind_name, one_line, safe_str

# Of a list, tuple or dict; of the sizes and strides of a tensor.
MAX_ELEMENTS: Final = 8
# Terms of a symbolic expression.  Its parts are shared like those of the IR, so its text can explode as well.
MAX_TERMS: Final = 64
# Classes whose text is short and cannot hold IR.
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, range, type(...)})
# The like of torch: PyTorch 2.0-2.15: torch.dtype and so on; if renamed: the name of the class is written.
_PLAIN_OF_TORCH: Final = frozenset({"dtype", "device", "layout", "memory_format"})
_SYMBOLIC: Final = frozenset({"SymInt", "SymFloat", "SymBool"})


def value_text(value: Any) -> str:
    """Describe one value in one line.  Never raises.

    FX hands a target numbers, strings, dtypes, devices, tensors, symbolic numbers, ops and containers of
    these (``torch.fx.node.BaseArgumentTypes``, PyTorch 2.0-2.15).  Anything else, such as a subgraph or a
    script object, is written as the name of its class: how long its text is cannot be told without asking for
    it.
    """
    try:
        return _value_text(value)
    except Exception:  # such as of an int with more digits than Python writes
        return class_name(value)


def _value_text(value: Any) -> str:
    kind = type(value)
    module = kind.__module__
    if kind in _PLAIN:
        return one_line(repr(value))
    if isinstance(value, (str, bytes)):
        return one_line(repr(value[:MAX_LINE_CHARACTERS]))
    if is_container(value):
        return f"{kind_name(kind)} of {len(value)}"
    if hasattr(kind, "free_symbols"):  # sympy's expressions
        return expression(value)
    if module == "torch" and kind.__name__ in _SYMBOLIC:
        return expression(value.node._expr)
    if module == "torch" and kind.__name__ in _PLAIN_OF_TORCH:
        return repr(value)
    if module == "torch._ops":
        return safe_str(value)
    if _is_tensor(value):
        # A tensor's own text holds its numbers: long, and a wait for the device.
        return f"{kind.__name__}({_tensor_fields(value)})"
    return class_name(value)


def items_of(value: Any) -> tuple[list[tuple[str, Any]], int]:
    """Return the first elements of a container, labelled, and how many there are."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    first = itertools.islice(pairs, MAX_ELEMENTS)
    return [(f"[{value_text(key)}]", element) for key, element in first], len(value)


def inline(value: Any, items: list[tuple[str, Any]], length: int) -> str:
    if isinstance(value, dict):
        shown = [f"{label[1:-1]}: {value_text(element)}" for label, element in items]
    else:
        shown = [value_text(element) for _, element in items]
    if length > len(items):
        shown.append(f"... {length - len(items)} more")
    opening, closing = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
    return f"{opening}{', '.join(shown)}{closing}"


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _tensor_fields(tensor: Any) -> str:
    return f"dtype={tensor.dtype}, size={sizes(tensor.shape)}, device={tensor.device}"


def sizes(values: Any) -> str | None:
    if not isinstance(values, (list, tuple)):
        return None
    shown = [number(value) for value in itertools.islice(values, MAX_ELEMENTS)]
    if len(values) > MAX_ELEMENTS:
        shown.append(f"... {len(values) - MAX_ELEMENTS} more")
    return f"[{', '.join(shown)}]"


def number(value: Any) -> str:
    if type(value) is int:
        return str(value)
    # On many releases the sizes that are known are sympy's, which is slow to print them.
    if type(value).__module__ == "sympy.core.numbers" and value.is_Integer:
        return str(value.p)
    return value_text(value)


def expression(expr: Any) -> str:
    """Write a symbolic expression, unless it has too many terms to be written."""
    pending = [expr]
    for _ in range(MAX_TERMS):
        if not pending:
            return one_line(str(expr))
        pending += getattr(pending.pop(), "args", ())
    return f"{type(expr).__name__} of more than {MAX_TERMS} terms"
