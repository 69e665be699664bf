"""A value that is no node of the IR: a number, a dtype, a list, a symbolic expression, a tensor."""

from __future__ import annotations

import gc
import itertools
import sys
import types
from typing import Any, Final

from ..inductor.nodes import builtin_of, is_ir
from .clipping import MAX_LINE_CHARACTERS, class_name, is_container, kind_name, one_line

# Of a list, tuple or dict; of the sizes and strides of a tensor.
MAX_ELEMENTS: Final = 8
# Terms of a symbolic expression.  Its parts are shared like those of the IR, so its text can explode as well.
MAX_TERMS: Final = 64
# Objects whose text does not go into what they hold.
_ATOMS: Final = (
    type(None),
    int,
    float,
    complex,
    str,
    bytes,
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.GeneratorType,
)


def value_text(value: Any) -> str:
    """Describe one value in one line, whatever it is.  Never raises."""
    try:
        kind = type(value)
        module = str(kind.__module__)
        if issubclass(kind, (str, bytes, bytearray)):
            return one_line(repr(value[:MAX_LINE_CHARACTERS]))
        if is_container(value):
            return f"{kind_name(kind)} of {items_of(value)[1]}"
        if module.split(".")[0] == "sympy" or hasattr(kind, "free_symbols"):
            return expression(value)
        if module == "torch" and kind.__name__ in ("SymInt", "SymFloat", "SymBool"):
            return expression(value.node._expr)
        if module.startswith("torch._inductor"):
            # What Inductor keeps outside the IR's own classes (layouts, subgraphs) prints the IR it holds.
            return class_name(value)
        if _is_tensor(value):
            # A tensor's own text holds its numbers: long, and a wait for the device.
            return f"{kind.__name__}({_tensor_fields(value)})"
        return one_line(repr(value)) if _is_small_tree(value) else class_name(value)
    except Exception:
        return class_name(value)


def items_of(value: Any) -> tuple[list[tuple[str, Any]], int]:
    """Return the first elements of a container, labelled, and how many there are."""
    builtin = builtin_of(value)
    pairs = dict.items(value) if builtin is dict else enumerate(builtin.__iter__(value))
    first = itertools.islice(pairs, MAX_ELEMENTS)
    return [(f"[{value_text(key)}]", element) for key, element in first], builtin.__len__(value)


def inline(value: Any, items: list[tuple[str, Any]], length: int) -> str:
    kind = type(value)
    if issubclass(kind, dict):
        shown = [f"{label[1:-1]}: {value_text(element)}" for label, element in items]
    else:
        shown = [value_text(element) for _, element in items]
    if length > len(items):
        shown.append(f"... {length - len(items)} more")
    opening, closing = "[]" if issubclass(kind, list) else "()" if issubclass(kind, tuple) else "{}"
    return f"{opening}{', '.join(shown)}{closing}"


def _is_small_tree(value: Any) -> bool:
    """Whether ``value`` holds few objects, none of them twice and none of them IR.

    What else has a text that is short to build cannot be told without building it: a deque or a dataclass may
    hold IR, or one part twice, and that part another twice.  The garbage collector knows what an object
    holds, and runs none of its code.
    """
    pending: list[Any] = [value]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if issubclass(type(current), _ATOMS):
            continue
        if is_ir(current) or id(current) in seen or len(seen) >= MAX_TERMS:
            return False
        seen.add(id(current))
        pending += gc.get_referents(current)
    return True


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(type(value), torch.Tensor)


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
