"""The IR behind an op's arguments, as the graph that it is: every node once.

The walk is a pure look, as that of ``text``: it reads what objects hold and asks them nothing.  It keeps an
explicit stack, and knows no IR class by name but the two boxes, so that a class that does not exist yet is
walked like the others.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from .modules import is_ir_class

_IR: Final = "torch._inductor.ir"

# Nodes that one graph may have.  A line of each is some 200 characters.
MAX_NODES: Final = 20_000
# `tree_characters` looks at the nearest 256 nodes, 26 layers of the demo's, and at 32 values of each: some
# milliseconds, whatever the depth.
_COUNTED_NODES: Final = 256
_COUNTED_VALUES: Final = 32
# Objects that are looked through for the operands of one node: lists of arguments, closures, layouts.
_MAX_HELD: Final = 100_000

# What a node makes, not what it is made of; both lead back to the node (seen from 2.5 on).
_RESULTS: Final = frozenset({"outputs", "mutation_outputs"})
# Say nothing of their own; seen in 2.0.0 to 2.15.0.
BOXES: Final = frozenset({"TensorBox", "StorageBox"})
# Boxes around a node: a TensorBox around a StorageBox, and few more in any case.
_MAX_BOXES: Final = 32
CONTAINERS: Final = (dict, list, tuple, set, frozenset)


class Graph(NamedTuple):
    """What :func:`reachable` found.

    Attributes:
        nodes: The IR nodes, producers before their users, boxes left out.
        operands: For the ``id`` of each node, the nodes it is made of, those that were cut off included.
        cut: Whether there are more nodes than these.
    """

    nodes: list[Any]
    operands: dict[int, list[Any]]
    cut: bool

    def depth(self) -> int:
        """Return the number of kernels on the longest way from an input to an argument.

        A kernel is a node with a buffer's name that has operands, and is not one of the outputs of another;
        a way around a cycle is counted once.
        """
        depths: dict[int, int] = {}
        for node in self.nodes:
            behind = max((depths.get(id(operand), 0) for operand in self.operands[id(node)]), default=0)
            made = (
                bool(self.operands[id(node)])
                and isinstance(held(node, "name"), str)
                and type(node).__name__ != "MultiOutput"
            )
            depths[id(node)] = behind + made
        return max(depths.values(), default=0)


def _operands(node: Any) -> list[Any]:
    return _ir_in([value for name, value in _fields(node).items() if name not in _RESULTS])


def reachable(roots: Iterable[Any], limit: int = MAX_NODES) -> Graph:
    """Return the IR nodes that ``roots`` hold, whatever they are: the nearest ``limit`` of them.

    Linear in nodes.
    """
    return _nearest(_ir_in(list(roots)), limit, _operands)


def _nearest(first: list[Any], limit: int, operands_of: Callable[[Any], list[Any]]) -> Graph:
    operands: dict[int, list[Any]] = {}
    waiting, cut = deque(first), False
    while waiting:  # breadth first, so that what is cut is the farthest
        node = waiting.popleft()
        if id(node) in operands:
            continue
        if len(operands) >= limit:
            cut = True
            break
        operands[id(node)] = operands_of(node)
        waiting.extend(operands[id(node)])
    return Graph(_producers_first(first, operands), operands, cut)


def _producers_first(roots: list[Any], operands: dict[int, list[Any]]) -> list[Any]:
    order: list[Any] = []
    entered: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) in operands and id(node) not in entered:
            entered.add(id(node))
            stack.append((node, True))
            stack += [(operand, False) for operand in reversed(operands[id(node)])]
    return order


def tree_characters(values: Iterable[Any]) -> int:
    """Return how many characters Inductor's own text of ``values`` has at least, without building it.

    That text prints a node wherever another refers to it, so that a node counts once for each way that leads
    to it.  Counted is only what is sure to be printed (:class:`_Text`), of the nearest 256 nodes, so that the
    time does not grow with the depth of a model whose text does not end.  In a cycle, which Python's repr of
    lists and dataclasses cuts somewhere, each node counts once.  0 where nothing is sure.
    """
    try:
        first = _printed_in(list(values))
        return _characters(first, _nearest(first, _COUNTED_NODES, _printed_by))
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
    return str(function.__qualname__) if function.__module__ == _IR else ""


def _owner(kind: type, name: str) -> type:
    return next(base for base in kind.__mro__ if name in vars(base))


def _is_stored(kind: type, name: str) -> bool:
    """Whether a field is read from where it is stored, and not from a property."""
    attribute = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return type(attribute) is types.MemberDescriptorType or not hasattr(type(attribute), "__set__")


def _printed_by(node: Any) -> list[Any]:
    stored = _stored(node)
    kind: Any = type(node)
    fields = _text_of(kind).fields
    values = [stored[field] for field in fields if field in stored and type(stored[field]) not in _LEAVES]
    if _slots(kind):
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
        elif not _kind(kind)[0]:
            if _has_text_of_builtin(kind):
                elements = dict.values(value) if issubclass(kind, dict) else builtin_of(value).__iter__(value)
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


def unboxed(node: Any) -> Any:
    """Return what is in the boxes around ``node``."""
    for _ in range(_MAX_BOXES):
        if type(node).__name__ not in BOXES:
            break
        data = held(node, "data")
        kind: Any = type(data)
        if not _kind(kind)[0]:
            break
        node = data
    return node


def held(node: Any, name: str) -> Any:
    """Return the value of a field as it is stored; None where there is no such field."""
    stored = _stored(node)
    if name in stored:
        return stored[name]
    kind: Any = type(node)
    for slot in _slots_named(kind, name):
        try:
            return slot.__get__(node, kind)
        except AttributeError:  # not set
            continue
    return None


def _ir_in(values: list[Any]) -> list[Any]:
    """Return the IR nodes in ``values``, each once; in containers, closures and layouts as well."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending = values[::-1]
    while pending and len(seen) < _MAX_HELD:
        value = pending.pop()
        kind: Any = type(value)
        is_node, parts_of = _kind(kind)
        if is_node:
            node = unboxed(value)
            found.setdefault(id(node), node)
        elif parts_of is not None and id(value) not in seen:
            seen.add(id(value))
            pending += parts_of(value)[::-1]
    return list(found.values())


@functools.lru_cache(maxsize=1024)
def _kind(kind: type) -> tuple[bool, Callable[[Any], list[Any]] | None]:
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
    elif str(kind.__module__) == _IR:
        parts_of = _field_values  # a layout
    return is_ir_class(kind), parts_of


def builtin_of(container: Any) -> Any:
    """Return the builtin class of a container, whose methods a subclass cannot have changed."""
    kind: Any = type(container)
    return _builtin_class(kind)


@functools.lru_cache(maxsize=1024)
def _builtin_class(kind: type) -> Any:
    return next(builtin for builtin in CONTAINERS if issubclass(kind, builtin))


def _values(value: Any) -> list[Any]:
    return list(dict.values(value))


def _elements(value: Any) -> list[Any]:
    return list(builtin_of(value).__iter__(value))


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
    return list(_fields(value).values())


def _stored(value: Any) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:  # __slots__
        return {}
    return stored


def _fields(value: Any) -> dict[str, Any]:
    fields = dict(_stored(value))
    kind: Any = type(value)
    for name, slot in _slots(kind):
        if name not in fields:
            try:
                fields[name] = slot.__get__(value, kind)
            except AttributeError:  # not set
                continue
    return fields


@functools.lru_cache(maxsize=1024)
def _slots_named(kind: type, name: str) -> tuple[Any, ...]:
    return tuple(slot for slot_name, slot in _slots(kind) if slot_name == name)


@functools.lru_cache(maxsize=1024)
def _slots(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return the fields that a class keeps in __slots__, its own before those of its bases."""
    return tuple(
        (name, slot)
        for base in type.__getattribute__(kind, "__mro__")
        for name, slot in vars(base).items()
        if type(slot) is types.MemberDescriptorType
    )
