"""Nodes of Inductor's IR, read as they are stored.

Nothing here asks an object anything: these functions read a field from the object's ``__dict__`` or slot, so
no code of the object runs.  They know no IR class by name but the two boxes, so that they read a class that
does not exist yet like the others.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from .objects import Field, IRNode

# `class_of(value)` is `type(value)`, of which pyright knows nothing where `value` is an `Any`.
class_of: Final[Callable[[object], type[object]]] = type

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# `is_ir_class` and `kind_of` look in this module for the classes of nodes and of layouts.
# PyTorch 2.0-2.15: torch._inductor.ir; if missing: no argument is taken for IR; each shows only its class.
IR_MODULE: Final = "torch._inductor.ir"

# `unboxed` goes through nodes of these two classes, which say nothing of their own.
# PyTorch 2.0-2.15: TensorBox and StorageBox hold a node in `data`; if missing: a box reads like other nodes.
BOXES: Final = frozenset({"TensorBox", "StorageBox"})
# `unboxed` goes through at most this many boxes.  There are two around most nodes, and few more in any case.
_MAX_BOXES: Final = 32
# `kind_of` takes objects of these classes, and of classes derived from them, for containers.
CONTAINERS: Final = (dict, list, tuple, set, frozenset)
# `ir_in` looks for the operands of one node in at most this many lists of arguments, closures and layouts.
_MAX_HELD: Final = 100_000


def cached(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Keep the last 1024 results of a function whose arguments are classes and names.

    This is ``functools.lru_cache`` with the type of the function.  The type of its own takes any ``Hashable``
    argument, and mypy does not count a class as one.
    """
    return cast("Callable[_Parameters, _Result]", functools.lru_cache(maxsize=1024)(function))


def is_ir(value: object) -> bool:
    """Whether ``value`` is a node of Inductor's IR; layouts, which are nodes on old releases, are not."""
    return is_ir_class(type(value))  # not isinstance, which asks the object for its __class__


def is_ir_class(kind: type[object]) -> bool:
    """Whether :func:`is_ir` holds for the objects of a class.  Never raises."""
    try:
        # PyTorch 2.0-2.15: all IR classes derive from IRNode; if missing: no argument is taken for IR.
        # PyTorch 2.0-2.4, and perhaps later: so do layouts, whose names end so; if missing: nothing changes.
        root = sys.modules[IR_MODULE].IRNode
        return issubclass(kind, root) and not kind.__name__.endswith("Layout")
    except Exception:
        return False


def unboxed(node: IRNode) -> IRNode:
    """Return what is in the boxes around ``node``, which is ``node`` itself where it is in none."""
    for _ in range(_MAX_BOXES):
        if type(node).__name__ not in BOXES:
            break
        data: object = held(node, "data")
        if not kind_of(type(data))[0]:
            break
        node = data
    return node


def held(node: object, name: str) -> Field:
    """Return the value of a field as it is stored; None where there is no such field."""
    stored = stored_in(node)
    if name in stored:
        return stored[name]
    kind = type(node)
    for slot in _slots_named(kind, name):
        try:
            return slot.__get__(node, kind)
        except AttributeError:  # not set
            continue
    return None


def fields(value: object) -> dict[str, Field]:
    """Return the fields that are set, by name: those in the object's ``__dict__``, then those in slots."""
    found = dict(stored_in(value))
    kind = type(value)
    for name, slot in slots(kind):
        if name not in found:
            try:
                found[name] = slot.__get__(value, kind)
            except AttributeError:  # not set
                continue
    return found


def stored_in(value: object) -> dict[str, Field]:
    """Return the ``__dict__`` of an object itself, not a copy; an empty one where it keeps all in slots."""
    try:
        stored: dict[str, Field] = object.__getattribute__(value, "__dict__")
    except AttributeError:  # __slots__
        return {}
    return stored


@cached
def _slots_named(kind: type[object], name: str) -> tuple[types.MemberDescriptorType, ...]:
    return tuple(slot for slot_name, slot in slots(kind) if slot_name == name)


@cached
def slots(kind: type[object]) -> tuple[tuple[str, types.MemberDescriptorType], ...]:
    """Return the fields that a class keeps in ``__slots__``: its own before those of its bases."""
    return tuple(
        (name, slot)
        for base in kind.__mro__
        for name, slot in vars(base).items()
        if type(slot) is types.MemberDescriptorType
    )


def ir_in(values: list[IRNode]) -> list[IRNode]:
    """Return the IR nodes in ``values``, each once, without boxes.

    The nodes may be in containers, closures and layouts, which may hold each other.  The result has no node
    that only another node holds.
    """
    found: dict[int, IRNode] = {}
    seen: set[int] = set()
    pending = values[::-1]
    while pending and len(seen) < _MAX_HELD:
        value: object = pending.pop()
        is_node, parts_of = kind_of(type(value))
        if is_node:
            node = unboxed(value)
            found.setdefault(id(node), node)
        elif parts_of is not None and id(value) not in seen:
            seen.add(id(value))
            pending += parts_of(value)[::-1]
    return list(found.values())


@cached
def kind_of(kind: type[object]) -> tuple[bool, Callable[[Field], list[Field]] | None]:
    """Return what a class is to a search for IR.

    Returns:
        Whether its objects are IR nodes, and a function that lists what such an object may hold IR in.  The
        function is None for a class whose objects hold none.
    """
    is_node = is_ir_class(kind)
    parts_of: Callable[[Field], list[Field]] | None = None
    if issubclass(kind, dict):
        parts_of = _values
    elif issubclass(kind, CONTAINERS):
        parts_of = _elements
    elif kind is types.FunctionType:
        # PyTorch 2.0-2.15: a Pointwise holds its operands in the closure of its inner_fn; if missing: the
        # search finds them in the fields that hold them then, or not at all.
        parts_of = _cells_and_defaults
    elif kind is types.MethodType:
        parts_of = _function_and_self
    elif kind is functools.partial:
        parts_of = _partial_parts
    elif str(kind.__module__) == IR_MODULE:
        parts_of = _field_values  # a layout
    return is_node, parts_of


def _values(value: Field) -> list[Field]:
    return list(value.values())


def _elements(value: Field) -> list[Field]:
    return list(value)


def _cells_and_defaults(function: Field) -> list[Field]:
    contents = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:  # a cell that is still empty
            continue
    return contents


def _function_and_self(method: Field) -> list[Field]:
    return [method.__func__, method.__self__]


def _partial_parts(partial: Field) -> list[Field]:
    return [partial.func, partial.args, partial.keywords]


def _field_values(value: Field) -> list[Field]:
    return list(fields(value).values())
