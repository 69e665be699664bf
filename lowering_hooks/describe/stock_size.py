"""The size of Inductor's own text, counted without building it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import types
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..inductor.graph import Graph, nearest
from ..inductor.nodes import (
    BOXES,
    CONTAINERS,
    IR_MODULE,
    held,
    is_ir_class,
    kind_of,
    slots,
    stored_in,
)

# `tree_characters` looks at the nearest 256 nodes, 26 layers of the demo's, and at 32 values of each: some
# milliseconds, whatever the depth.
_COUNTED_NODES: Final = 256
_COUNTED_VALUES: Final = 32


def tree_characters(values: Iterable[Any]) -> int:
    """Return how many characters Inductor's own text of ``values`` has at least, without building it.

    That text prints a node wherever another refers to it, so that a node counts once for each way that leads
    to it.  Counted is only what is sure to be printed (:class:`_Text`), of the nearest 256 nodes, so that the
    time does not grow with the depth of a model whose text does not end.  In a cycle, which Python's repr of
    lists and dataclasses cuts somewhere, each node counts once.  0 where nothing is sure.
    """
    try:
        first = _printed_in(list(values))
        return _characters(first, nearest(first, _COUNTED_NODES, _printed_by))
    except Exception:
        return 0


def _characters(first: list[Any], graph: Graph) -> int:
    own: dict[int, int] = {}
    for node in graph.nodes:
        kind: Any = type(node)
        own[id(node)] = _text_of(kind).characters
    counts: dict[int, int] = {}
    for node in graph.nodes:
        shown = [id(operand) for operand in graph.operands[id(node)] if id(operand) in own]  # else cut off
        if not all(operand in counts for operand in shown):
            return sum(own.values())  # a cycle: the operand, though a producer, is yet to come
        counts[id(node)] = own[id(node)] + sum(counts[operand] for operand in shown)
    return sum(counts[id(node)] for node in first if id(node) in counts)


class _Text(NamedTuple):
    """What is sure to be in the text of the objects of an IR class, be it ``str`` or ``repr``.

    Attributes:
        characters: The length of the class's name and of the labels of the fields.
        fields: The fields whose values are printed.
    """

    characters: int
    fields: tuple[str, ...]


_NOTHING: Final = _Text(0, ())

# The texts that are written by hand, by where they are defined, and the fields whose values they print; None
# stands for all fields of the dataclass.  One that is not here, such as a Triton template's, counts nothing.
# PyTorch 2.0.1, 2.4.1, 2.12.1 and 2.15.0; if one prints less: the count is too high.
_WRITTEN_BY_HAND: Final[dict[str, tuple[str, ...] | None]] = {
    "ExternKernel.__str__": None,
    "MutableBox.__str__": ("data",),
    "GenericView.__str__": ("data",),
    "View.__str__": ("data",),  # 2.0.1, which has no GenericView
    "ReinterpretView.__str__": ("data",),
    "DtypeView.__str__": ("data",),
    # A computation writes the buffers that it reads by name.
    "Loops.__str__": (),
    "Pointwise.__str__": (),
    "Reduction.__str__": (),
    "Reduction.__repr__": (),
}
# What most fields hold, and no IR is in.
_LEAVES: Final = frozenset({type(None), str, int, bool})
# What the code of a dataclass's own __repr__ uses beside the fields.
_REPR_NAMES: Final = frozenset({"__class__", "__qualname__", "join"})


@functools.lru_cache(maxsize=1024)
def _text_of(kind: type) -> _Text:
    if not is_ir_class(kind) or _owner(kind, "__getattribute__") is not object:
        return _NOTHING
    # Whether a node is asked for its str or its repr depends on who holds it, and they may differ.
    texts = [_text_by(kind, method) for method in ("__str__", "__repr__")]
    fields = [field for field in texts[0].fields if field in texts[1].fields and _is_stored(kind, field)]
    return _Text(min(text.characters for text in texts), tuple(fields))


def _text_by(kind: type, method: str) -> _Text:
    owner = _owner(kind, method)
    function: Any = vars(owner)[method]
    if inspect.unwrap(function) is object.__str__:
        return _text_by(kind, "__repr__")
    if owner is object:
        return _NOTHING
    labels = _generated(owner, function)
    if labels is not None:
        fields = labels
    else:
        helper = vars(_owner(kind, "str_helper"))["str_helper"]
        where = _defined_in_ir(function)
        if where not in _WRITTEN_BY_HAND or _defined_in_ir(helper) != "IRNode.str_helper":
            return _NOTHING
        by_hand = _WRITTEN_BY_HAND[where]
        labels = () if by_hand is not None else tuple(field.name for field in dataclasses.fields(kind))
        fields = labels if by_hand is None else by_hand
    name = min(len(kind.__name__), len(kind.__qualname__))
    return _Text(name + sum(len(label) + len("=") for label in labels), fields)


def _generated(owner: type, function: Any) -> tuple[str, ...] | None:
    """Return the fields that a text prints, if it is the ``__repr__`` that a dataclass is given."""
    fields = vars(owner).get("__dataclass_fields__")
    code = getattr(inspect.unwrap(function), "__code__", None)
    if fields is None or code is None or code.co_filename != "<string>":
        return None
    shown = tuple(field.name for field in dataclasses.fields(owner) if field.repr)
    return shown if tuple(name for name in code.co_names if name not in _REPR_NAMES) == shown else None


def _defined_in_ir(function: Any) -> str:
    """Return the dotted name of a function of Inductor's IR; empty for any other."""
    return str(function.__qualname__) if function.__module__ == IR_MODULE else ""


def _owner(kind: type, name: str) -> type:
    return next(base for base in kind.__mro__ if name in vars(base))


def _is_stored(kind: type, name: str) -> bool:
    """Whether a field is read from where it is stored, and not from a property."""
    attribute = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return type(attribute) is types.MemberDescriptorType or not hasattr(type(attribute), "__set__")


def _printed_by(node: Any) -> list[Any]:
    stored = stored_in(node)
    kind: Any = type(node)
    fields = _text_of(kind).fields
    values = [stored[field] for field in fields if field in stored and type(stored[field]) not in _LEAVES]
    if slots(kind):
        values += [held(node, field) for field in fields if field not in stored]
    return _printed_in(values)


def _printed_in(values: list[Any]) -> list[Any]:
    """Return IR nodes that are sure to be in the text of ``values``, each once; boxes are looked through."""
    found: dict[int, Any] = {}
    pending = values[::-1]
    for _ in range(_COUNTED_VALUES):
        if not pending:
            break
        value = pending.pop()
        kind: Any = type(value)
        if kind is list or kind is tuple:  # what most containers are, in a third of the time
            pending += value[:_COUNTED_VALUES][::-1]
        elif not kind_of(kind)[0]:
            if _has_text_of_builtin(kind):
                elements = value.values() if issubclass(kind, dict) else value
                pending += [*itertools.islice(elements, _COUNTED_VALUES)][::-1]
        elif kind.__name__ not in BOXES:
            found.setdefault(id(value), value)
        elif "data" in _text_of(kind).fields:
            pending.append(held(value, "data"))
    return list(found.values())


@functools.lru_cache(maxsize=1024)
def _has_text_of_builtin(kind: type) -> bool:
    """Whether a class is a container whose text holds those of its elements, with no say of the class."""
    return issubclass(kind, CONTAINERS) and all(
        _owner(kind, method) in (*CONTAINERS, object)
        for method in ("__str__", "__repr__", "__getattribute__")
    )
