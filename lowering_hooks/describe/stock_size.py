"""Counts how many characters Inductor's own text has at least, without building it."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ..inductor.graph import Graph, nearest
from ..inductor.nodes import (
    BOXES,
    CONTAINERS,
    IR_MODULE,
    cached,
    class_of,
    held,
    is_ir_class,
    kind_of,
    slots,
    stored_in,
)

if TYPE_CHECKING:
    from ..inductor.objects import Argument, Foreign, IRNode

# `tree_characters` counts at most this many nodes, the nearest ones.  The demo has as many in 26 layers.  The
# count takes some milliseconds, whatever the depth.
_COUNTED_NODES: Final = 256
# `_printed_in` looks at most at this many values of each node.
_COUNTED_VALUES: Final = 32


def tree_characters(values: Iterable[Argument]) -> int:
    """Return how many characters Inductor's own text of ``values`` has at least.  Never raises.

    That text prints a node wherever another refers to it, so that a node counts once for each way that leads
    to it.  The count has only what that text is sure to print (:class:`_Text`), of the nearest 256 nodes, so
    that the time does not grow with the depth of a model whose text does not end.  In a cycle, which Python's
    ``repr`` of lists and dataclasses cuts somewhere, each node counts once.  The result is 0 where nothing is
    sure.
    """
    try:
        first = _printed_in(list(values))
        return _characters(first, nearest(first, _COUNTED_NODES, _printed_by))
    except Exception:
        return 0


def _characters(first: list[IRNode], graph: Graph) -> int:
    own: dict[int, int] = {}
    for node in graph.nodes:
        own[id(node)] = _text_of(class_of(node)).characters
    counts: dict[int, int] = {}
    for node in graph.nodes:
        # An operand that `own` lacks is one that the limit cut off.
        shown = [id(operand) for operand in graph.operands[id(node)] if id(operand) in own]
        if not all(operand in counts for operand in shown):
            return sum(own.values())  # a cycle: an operand, although a producer, comes later than its user
        counts[id(node)] = own[id(node)] + sum(counts[operand] for operand in shown)
    return sum(counts[id(node)] for node in first if id(node) in counts)


class _Text(NamedTuple):
    """What both ``str`` and ``repr`` of the objects of an IR class are sure to have.

    Attributes:
        characters: The length of the class's name and of the labels of the fields.
        fields: The fields whose values the text prints.
    """

    characters: int
    fields: tuple[str, ...]


# `_text_by` returns this for a class of whose text nothing is sure.
_NOTHING: Final = _Text(0, ())

# `_text_by` looks up here which fields a method prints that Inductor wrote by hand.  None stands for all
# fields of the dataclass.  A method that is not here, such as a Triton template's, counts nothing.
# PyTorch 2.0-2.15: these methods print these fields; if missing: a method of another name counts nothing, and
# one that prints less makes the count too high.
_WRITTEN_BY_HAND: Final[dict[str, tuple[str, ...] | None]] = {
    "ExternKernel.__str__": None,
    "MutableBox.__str__": ("data",),
    "GenericView.__str__": ("data",),
    "View.__str__": ("data",),  # 2.0.1, which has no GenericView
    "ReinterpretView.__str__": ("data",),
    "DtypeView.__str__": ("data",),
    # A computation prints the buffers that it reads by name.
    "Loops.__str__": (),
    "Pointwise.__str__": (),
    "Reduction.__str__": (),
    "Reduction.__repr__": (),
}
# `_printed_by` passes over objects of these classes, which most fields hold, and which hold no IR.
_LEAVES: Final = frozenset({type(None), str, int, bool})
# `_generated` passes over these names when it reads which fields the `__repr__` of a dataclass prints.
# CPython 3.10-3.13: the code that `dataclasses` makes has these names and the fields' own, in their order; if
# missing: such a text counts nothing.
_REPR_NAMES: Final = frozenset({"__class__", "__qualname__", "join"})


@cached
def _text_of(kind: type[IRNode]) -> _Text:
    if not is_ir_class(kind) or _owner(kind, "__getattribute__") is not object:
        return _NOTHING
    # What holds a node prints its `str` or its `repr`, and the two may differ.
    texts = [_text_by(kind, method) for method in ("__str__", "__repr__")]
    fields = [field for field in texts[0].fields if field in texts[1].fields and _is_stored(kind, field)]
    return _Text(min(text.characters for text in texts), tuple(fields))


def _text_by(kind: type[IRNode], method: str) -> _Text:
    """Return what the ``__str__`` or the ``__repr__`` of a class is sure to have."""
    owner = _owner(kind, method)
    function: Foreign = vars(owner)[method]
    if inspect.unwrap(function) is object.__str__:
        return _text_by(kind, "__repr__")
    if owner is object:
        return _NOTHING
    labels = _generated(owner, function)
    if labels is not None:
        fields = labels
    else:
        # PyTorch 2.0-2.15: IRNode.str_helper builds these texts; if missing: the count is 0, since nothing is
        # sure.
        helper = vars(_owner(kind, "str_helper"))["str_helper"]
        where = _defined_in_ir(function)
        if where not in _WRITTEN_BY_HAND or _defined_in_ir(helper) != "IRNode.str_helper":
            return _NOTHING
        by_hand = _WRITTEN_BY_HAND[where]
        labels = () if by_hand is not None else tuple(field.name for field in dataclasses.fields(kind))
        fields = labels if by_hand is None else by_hand
    name = min(len(kind.__name__), len(kind.__qualname__))
    return _Text(name + sum(len(label) + len("=") for label in labels), fields)


def _generated(owner: type[IRNode], function: Foreign) -> tuple[str, ...] | None:
    """Return the fields that ``function`` prints, if ``dataclasses`` made it; None for any other function."""
    # CPython 3.10-3.13: "<string>" is the file of its code; if missing: such a text counts nothing.
    fields = vars(owner).get("__dataclass_fields__")
    code = getattr(inspect.unwrap(function), "__code__", None)
    if fields is None or code is None or code.co_filename != "<string>":
        return None
    shown = tuple(field.name for field in dataclasses.fields(owner) if field.repr)
    return shown if tuple(name for name in code.co_names if name not in _REPR_NAMES) == shown else None


def _defined_in_ir(function: Foreign) -> str:
    """Return the dotted name of a function of Inductor's IR; empty for any other."""
    return str(function.__qualname__) if function.__module__ == IR_MODULE else ""


def _owner(kind: type[object], name: str) -> type[object]:
    """Return the class that defines what ``kind`` has under a name."""
    return next(base for base in kind.__mro__ if name in vars(base))


def _is_stored(kind: type[object], name: str) -> bool:
    """Whether reading a field reads where it is stored, and runs no property."""
    attribute: object = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return type(attribute) is types.MemberDescriptorType or not hasattr(type(attribute), "__set__")


def _printed_by(node: IRNode) -> list[IRNode]:
    stored = stored_in(node)
    kind = class_of(node)
    fields = _text_of(kind).fields
    values = [stored[field] for field in fields if field in stored and type(stored[field]) not in _LEAVES]
    if slots(kind):
        values += [held(node, field) for field in fields if field not in stored]
    return _printed_in(values)


def _printed_in(values: list[Argument]) -> list[IRNode]:
    """Return IR nodes that are sure to be in the text of ``values``, each once, without their boxes."""
    found: dict[int, IRNode] = {}
    pending = values[::-1]
    for _ in range(_COUNTED_VALUES):
        if not pending:
            break
        value = pending.pop()
        kind = class_of(value)
        # Most containers are a list or a tuple, and this takes a third of the time.
        if kind is list or kind is tuple:
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


@cached
def _has_text_of_builtin(kind: type[object]) -> bool:
    """Whether a class is a container whose text, a builtin class's, has the texts of its elements."""
    owners = (_owner(kind, method) for method in ("__str__", "__repr__", "__getattribute__"))
    return issubclass(kind, CONTAINERS) and all(owner in (*CONTAINERS, object) for owner in owners)
