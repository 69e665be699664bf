"""Nodes of Inductor's IR, read as they are stored.

Nothing here asks an object anything: a field is read from the object's ``__dict__`` or slot, so no code of
the object runs.  No IR class is known by name but the two boxes, so that a class that does not exist yet is
read like the others.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any, Final

IR_MODULE: Final = "torch._inductor.ir"

# Say nothing of their own; seen in 2.0.0 to 2.15.0.
BOXES: Final = frozenset({"TensorBox", "StorageBox"})
# Boxes around a node: a TensorBox around a StorageBox, and few more in any case.
_MAX_BOXES: Final = 32
CONTAINERS: Final = (dict, list, tuple, set, frozenset)
# Objects that are looked through for the operands of one node: lists of arguments, closures, layouts.
_MAX_HELD: Final = 100_000


def is_ir(value: Any) -> bool:
    """Whether ``value`` is a node of Inductor's IR; layouts, which are nodes on old releases, are not."""
    return is_ir_class(type(value))  # not isinstance, which asks the object for its __class__


def is_ir_class(kind: type) -> bool:
    """Whether :func:`is_ir` holds for the objects of a class.  Never raises."""
    try:
        # Seen in 2.0.0 to 2.15.0.  Without it no argument is taken for IR, and such a one shows its class.
        root = sys.modules["torch._inductor.ir"].IRNode
        return issubclass(kind, root) and not kind.__name__.endswith("Layout")
    except Exception:
        return False


def unboxed(node: Any) -> Any:
    """Return what is in the boxes around ``node``."""
    for _ in range(_MAX_BOXES):
        if type(node).__name__ not in BOXES:
            break
        data = held(node, "data")
        kind: Any = type(data)
        if not kind_of(kind)[0]:
            break
        node = data
    return node


def held(node: Any, name: str) -> Any:
    """Return the value of a field as it is stored; None where there is no such field."""
    stored = stored_in(node)
    if name in stored:
        return stored[name]
    kind: Any = type(node)
    for slot in _slots_named(kind, name):
        try:
            return slot.__get__(node, kind)
        except AttributeError:  # not set
            continue
    return None


def fields(value: Any) -> dict[str, Any]:
    found = dict(stored_in(value))
    kind: Any = type(value)
    for name, slot in slots(kind):
        if name not in found:
            try:
                found[name] = slot.__get__(value, kind)
            except AttributeError:  # not set
                continue
    return found


def stored_in(value: Any) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:  # __slots__
        return {}
    return stored


@functools.lru_cache(maxsize=1024)
def _slots_named(kind: type, name: str) -> tuple[Any, ...]:
    return tuple(slot for slot_name, slot in slots(kind) if slot_name == name)


@functools.lru_cache(maxsize=1024)
def slots(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return the fields that a class keeps in __slots__, its own before those of its bases."""
    return tuple(
        (name, slot)
        for base in kind.__mro__
        for name, slot in vars(base).items()
        if type(slot) is types.MemberDescriptorType
    )


def ir_in(values: list[Any]) -> list[Any]:
    """Return the IR nodes in ``values``, each once; in containers, closures and layouts as well."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending = values[::-1]
    while pending and len(seen) < _MAX_HELD:
        value = pending.pop()
        kind: Any = type(value)
        is_node, parts_of = kind_of(kind)
        if is_node:
            node = unboxed(value)
            found.setdefault(id(node), node)
        elif parts_of is not None and id(value) not in seen:
            seen.add(id(value))
            pending += parts_of(value)[::-1]
    return list(found.values())


@functools.lru_cache(maxsize=1024)
def kind_of(kind: type) -> tuple[bool, Callable[[Any], list[Any]] | None]:
    """Return whether the objects of a class are IR nodes, else what lists what they may hold IR in."""
    parts_of: Callable[[Any], list[Any]] | None = None
    if issubclass(kind, dict):
        parts_of = _values
    elif issubclass(kind, CONTAINERS):
        parts_of = _elements
    elif kind is types.FunctionType:
        # A Pointwise holds its operands in the closure of its inner_fn.
        parts_of = _cells_and_defaults
    elif kind is types.MethodType:
        parts_of = _function_and_self
    elif kind is functools.partial:
        parts_of = _partial_parts
    elif str(kind.__module__) == IR_MODULE:
        parts_of = _field_values  # a layout
    return is_ir_class(kind), parts_of


def _values(value: Any) -> list[Any]:
    return list(value.values())


def _elements(value: Any) -> list[Any]:
    return list(value)


def _cells_and_defaults(function: Any) -> list[Any]:
    contents = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:  # a cell that is still empty
            continue
    return contents


def _function_and_self(method: Any) -> list[Any]:
    return [method.__func__, method.__self__]


def _partial_parts(partial: Any) -> list[Any]:
    return [partial.func, partial.args, partial.keywords]


def _field_values(value: Any) -> list[Any]:
    return list(fields(value).values())
