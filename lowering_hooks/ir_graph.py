"""The IR behind an op's arguments, as the graph that it is: every node once.

The walk is a pure look, as that of ``text``: it reads what objects hold and asks them nothing.  It keeps an
explicit stack, and knows no IR class by name but the two boxes, so that a class that does not exist yet is
walked like the others.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from .inductor import is_ir_class

# Nodes that one graph may have.  A line of each is some 200 characters.
MAX_NODES: Final = 20_000
# Stands for more characters than anybody counts.  No float is larger than 1.8e308.
ENDLESS: Final = 10**300
# Counting the characters of Inductor's text looks at this many nodes, the nearest ones: 85 layers of
# two-output ops, whose text doubles with each.
_COUNTED_NODES: Final = 256
# What Inductor writes at least for a buffer beside its operands: its name, its layout, the labels of its
# fields. PyTorch 2.0.1, 2.4.1, 2.8.0, 2.12.1: the shortest had 150.
_BUFFER_CHARACTERS: Final = 100
# By the class that defines `__str__`, the field that its text writes out in full.  ExternKernel writes its
# dataclass fields, and a view or a box what it is around; other classes write no operand, or none for
# certain. PyTorch 2.0-2.15: torch/_inductor/ir.py; if one is missing, its operands are not counted.
_WRITTEN: Final = {
    "ExternKernel": "inputs",
    "GenericView": "data",
    "ReinterpretView": "data",
    "DtypeView": "data",
    "MutableBox": "data",
}
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


def reachable(
    roots: Iterable[Any], limit: int = MAX_NODES, operands_of: Callable[[Any], list[Any]] = _operands
) -> Graph:
    """Return the IR nodes that ``roots`` hold, whatever they are: the nearest ``limit`` of them.

    Linear in nodes.
    """
    first = _ir_in(list(roots))
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

    A node counts once for each way that leads to it, where the text is certain to write it on that way.  Only
    the nearest :data:`_COUNTED_NODES` nodes are looked at, so the time does not grow with the depth of a
    model. A cycle, whose text has no end, is :data:`ENDLESS`, as is all above that; 0 where it cannot be
    told.
    """
    try:
        roots = _ir_in(list(values))
        return _characters(roots, reachable(roots, _COUNTED_NODES, _written))
    except Exception:
        return 0


def _characters(roots: list[Any], graph: Graph) -> int:
    counts: dict[int, int] = {}
    for node in graph.nodes:
        count = _own_characters(node)
        for operand in graph.operands[id(node)]:
            if id(operand) in graph.operands:  # else it was cut off
                count += counts.get(id(operand), ENDLESS)
        counts[id(node)] = min(count, ENDLESS)
    return min(sum(counts[id(root)] for root in roots if id(root) in counts), ENDLESS)


def _own_characters(node: Any) -> int:
    kind: Any = type(node)
    writer = _writer(kind)
    if writer == "ExternKernel" and isinstance(held(node, "name"), str):
        return _BUFFER_CHARACTERS
    return len(kind.__name__) if writer in _WRITTEN else 0


def _written(node: Any) -> list[Any]:
    kind: Any = type(node)
    writer = _writer(kind)
    field = _WRITTEN.get(writer)
    if field is None or (writer == "ExternKernel" and field not in getattr(kind, "__dataclass_fields__", ())):
        return []
    return _ir_in([held(node, field)])


@functools.lru_cache(maxsize=1024)
def _writer(kind: type) -> str:
    """Return the name of Inductor's class that writes the text of such nodes; empty for one of others."""
    for base in type.__getattribute__(kind, "__mro__"):
        if "__str__" in vars(base):
            return str(base.__name__) if base.__module__ == "torch._inductor.ir" else ""
    return ""


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
    elif str(kind.__module__) == "torch._inductor.ir":
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
