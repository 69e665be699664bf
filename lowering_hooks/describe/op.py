"""The bounded text of an op: what it is called with, and nothing of what lies behind its arguments.

Inductor's own text prints an argument's producers, and theirs: a tree drawn from a graph, exponential in
depth.  This one looks at the arguments only, and is a pure look: it reads fields and asks for sizes, dtypes
and devices, which decide nothing; it never realizes a buffer, never fixes a layout, and never compares, adds
or truth-tests a symbolic number, which would add a guard.  It never raises and never recurses.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..inductor.graph import BOXES, CONTAINERS, MAX_NODES, Graph, builtin_of, reachable, unboxed
from ..inductor.modules import is_ir
from ..inductor.site import Site, source_of
from .words import counted

# Bounds of one text, far above what an op with two dozen arguments needs.  An error message may hold the text
# twice (LoweringException with a stack trace), so the whole stays below 4 KB.
MAX_LINES: Final = 48
MAX_LINE_CHARACTERS: Final = 240
MAX_CHARACTERS: Final = 3600
# Of a list, tuple or dict; of the sizes and strides of a tensor; of the origin nodes of a buffer.
MAX_ELEMENTS: Final = 8
MAX_DEPTH: Final = 4
MAX_ORIGINS: Final = 4
# Terms of a symbolic expression.  Its parts are shared like those of the IR, so its text can explode as well.
MAX_TERMS: Final = 64
# Operands of a node, where the graph is written, and characters of its line.
MAX_OPERANDS: Final = 16
_MAX_NODE_LINE: Final = 600
_MAX_NAME: Final = 60
# Nodes of the graph that an error shows, a line each: the nearest ones.
MAX_ERROR_NODES: Final = 200
# Nodes that are counted to say how much is behind the arguments: some 50 ms.
MAX_EXTENT: Final = 2_000
# Boxes and views around a buffer.  Real ones have three to five.
MAX_VIEWS: Final = 32

_INDENT: Final = "  "
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


# What torch.fx makes of the lists and dicts among a node's arguments, which the model has as plain ones.
_FX_CONTAINERS: Final = {
    ("torch.fx.immutable_collections", "immutable_list"): "list",
    ("torch.fx.immutable_collections", "immutable_dict"): "dict",
}


class _Entry(NamedTuple):
    """A value that is still to be described, under its label."""

    label: str
    value: Any
    depth: int


def operator_text(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Describe ``target`` as called with ``args`` and ``kwargs``.

    One line for the target and one for each argument, in the frame of ``OperatorIssue.operator_str``
    (``torch/_inductor/exc.py``).  Elements of a list that holds IR get a line each.  At most
    :data:`MAX_CHARACTERS` characters, plus a line that says how many arguments were left out.
    """
    try:
        return _operator_text(target, args, kwargs)
    except Exception:
        return f"{_INDENT}target: {_safe_str(target)}"


def _operator_text(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    lines = [_clip(f"{_INDENT}target: {_safe_str(target)}")]
    room = MAX_CHARACTERS - len(lines[0])
    entries = [_Entry(f"args[{i}]", arg, 0) for i, arg in enumerate(args)]
    entries += [_Entry(f"kwargs[{value_text(name)}]", arg, 0) for name, arg in dict(kwargs).items()]
    entries.reverse()  # a stack: the first argument on top
    while entries:
        entry = entries.pop()
        text, parts = _describe(entry)
        line = _clip(f"{_INDENT * (entry.depth + 1)}{entry.label}: {text}")
        room -= len(line) + 1
        if room < 0 or len(lines) == MAX_LINES:
            left = sum(1 for rest in [*entries, entry] if rest.depth == 0)
            lines.append(f"{_INDENT}... {counted(left, 'more argument')}" if left else f"{_INDENT}...")
            break
        lines.append(line)
        entries += reversed(parts)
    return "\n".join(lines)


def _describe(entry: _Entry) -> tuple[str, list[_Entry]]:
    """Return the text of an entry, and the entries of those of its elements that need lines of their own."""
    try:
        value = entry.value
        if not _is_container(value):
            return value_text(value), []
        items, length = _items(value)
        if not any(is_ir(element) or _is_container(element) for _, element in items):
            return _inline(value, items, length), []
        head = f"{_kind_name(type(value))} of {length}"
        if entry.depth + 1 >= MAX_DEPTH:
            return head, []
        if length > len(items):
            head += f", the first {len(items)}"
        return head, [_Entry(label, element, entry.depth + 1) for label, element in items]
    except Exception:
        return _class_name(entry.value), []


def _is_container(value: Any) -> bool:
    return issubclass(type(value), CONTAINERS)


def _kind_name(kind: type) -> str:
    """Return the name of a container's class; of FX's own lists and dicts, that of the builtin class."""
    # Seen in 2.4.1, 2.12.1 and 2.15.0; if they are renamed: they show their own names.
    return _FX_CONTAINERS.get((kind.__module__, kind.__name__), kind.__name__)


def _items(value: Any) -> tuple[list[tuple[str, Any]], int]:
    """Return the first elements of a container, labelled, and how many there are."""
    builtin = builtin_of(value)
    pairs = dict.items(value) if builtin is dict else enumerate(builtin.__iter__(value))
    first = itertools.islice(pairs, MAX_ELEMENTS)
    return [(f"[{value_text(key)}]", element) for key, element in first], builtin.__len__(value)


def _inline(value: Any, items: list[tuple[str, Any]], length: int) -> str:
    kind = type(value)
    if issubclass(kind, dict):
        shown = [f"{label[1:-1]}: {value_text(element)}" for label, element in items]
    else:
        shown = [value_text(element) for _, element in items]
    if length > len(items):
        shown.append(f"... {length - len(items)} more")
    opening, closing = "[]" if issubclass(kind, list) else "()" if issubclass(kind, tuple) else "{}"
    return f"{opening}{', '.join(shown)}{closing}"


def value_text(value: Any) -> str:
    """Describe one value in one line, whatever it is.  Never raises."""
    try:
        if is_ir(value):
            return _ir(value)
        kind = type(value)
        module = str(kind.__module__)
        if issubclass(kind, (str, bytes, bytearray)):
            return _one_line(repr(value[:MAX_LINE_CHARACTERS]))
        if _is_container(value):
            return f"{_kind_name(kind)} of {_items(value)[1]}"
        if kind is slice:
            return f"slice({value_text(value.start)}, {value_text(value.stop)}, {value_text(value.step)})"
        if module.split(".")[0] == "sympy" or hasattr(kind, "free_symbols"):
            return _expression(value)
        if module == "torch" and kind.__name__ in ("SymInt", "SymFloat", "SymBool"):
            return _expression(value.node._expr)
        if module.startswith("torch._inductor"):
            # What Inductor keeps outside the IR's own classes (layouts, subgraphs) prints the IR it holds.
            return _class_name(value)
        if _is_tensor(value):
            # A tensor's own text holds its numbers: long, and a wait for the device.
            return f"{kind.__name__}({_tensor_fields(value)})"
        return _one_line(repr(value)) if _is_small_tree(value) else _class_name(value)
    except Exception:
        return _class_name(value)


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
    return f"dtype={tensor.dtype}, size={_sizes(tensor.shape)}, device={tensor.device}"


def _ir(node: Any) -> str:
    """Describe an argument: its buffer, class, dtype, sizes, strides, device, op and origin nodes.

    What a node does not have (an unrealized ``Pointwise`` has no buffer and no strides yet) is left out.
    """
    chain = _boxes_and_views(node)
    # TensorBox and StorageBox say nothing; a view changes sizes and strides; the last one is the data.
    nodes = [n for n in chain if type(n).__name__ not in BOXES] or chain
    outer, inner = nodes[0], nodes[-1]
    name = _field(inner, "name")
    head = " of ".join(type(n).__name__ for n in nodes[:2] + nodes[2:][-1:])
    if isinstance(name, str):
        head = f"{name} {head}"
    return _one_line(f"{head}({_fields_of(outer, inner)})")


def _fields_of(outer: Any, inner: Any) -> str:
    """Describe what is known of a node, ``inner``, seen through ``outer``.

    Fields as seen in torch 2.0.1 to 2.15.0.
    """
    layout = _field(outer, "layout")
    size, stride = _field(layout, "size"), _field(layout, "stride")
    fields = {
        "dtype": _asked(outer, "get_dtype", "dtype"),
        "size": _sizes(size if size is not None else _asked(outer, "get_size", "size")),
        "stride": _sizes(stride),
        "offset": _offset(layout),
        # A FlexibleLayout may still be given other strides.
        "layout": "flexible" if type(layout).__name__ == "FlexibleLayout" else None,
        "device": _asked(outer, "get_device", "device"),
        "expr": _shown(_field(outer, "expr"), _expression),
        "op": _shown(op_of(inner), _safe_str),
        "origins": _origins(inner),
    }
    return ", ".join(f"{key}={text}" for key, text in fields.items() if text is not None)


def graph_text(args: Sequence[Any], kwargs: Mapping[str, Any], limit: int = MAX_NODES) -> str:
    """Describe the IR behind the arguments: a line for each node, producers before their users.

    Each line names the node's operands.  Boxes, which say nothing, are left out.  At most ``limit`` nodes,
    the nearest ones, and a line that says where there are more.  Empty where no argument is IR.
    """
    try:
        return _graph_text(reachable([args, kwargs], limit), limit)
    except Exception as error:
        return f"{_INDENT}the IR behind the arguments could not be described: {_safe_str(error)}"


def _graph_text(graph: Graph, limit: int) -> str:
    if not graph.nodes:
        return ""
    names: dict[int, str] = {}
    unnamed = itertools.count()
    for node in graph.nodes:
        name = _field(node, "name")
        names[id(node)] = _one_line(name, _MAX_NAME) if isinstance(name, str) else f"%{next(unnamed)}"
    written: set[int] = set()
    lines = [f"{_INDENT}behind them {_extent(graph)}, producers first:"]
    if graph.cut:
        lines.append(f"{_INDENT}  ... more, farther than the nearest {limit}")
    for node in graph.nodes:
        try:
            line = _node(node, graph, names, written)
        except Exception:  # it may be of any class
            line = _class_name(node)
        lines.append(f"{_INDENT}  {names[id(node)]} {line}")
        written.add(id(node))
    return "\n".join(lines)


def _node(node: Any, graph: Graph, names: Mapping[int, str], written: set[int]) -> str:
    """Describe one node of a graph."""
    operands = graph.operands[id(node)]
    shown = []
    for operand in operands[:MAX_OPERANDS]:
        name = names.get(id(operand), "...")
        shown.append(name if id(operand) in written or name == "..." else f"{name} (a cycle)")
    if len(operands) > MAX_OPERANDS:
        shown.append(f"... {len(operands) - MAX_OPERANDS} more")
    parts = [f"from=[{', '.join(shown)}]"] if shown else []
    parts += filter(None, [_fields_of(node, node), _shown(_source(node), "at={}".format)])
    return _one_line(f"{type(node).__name__}({', '.join(parts)})", _MAX_NODE_LINE)


def _extent(graph: Graph) -> str:
    nodes, depth = counted(len(graph.nodes), "node"), counted(graph.depth(), "kernel")
    return f"{nodes}, {depth} deep" if not graph.cut else f"more than {nodes}, at least {depth} deep"


def extent_text(args: Sequence[Any], kwargs: Mapping[str, Any], advise: bool = True) -> str:
    """Say how much IR is behind the arguments, in one line; empty where that is no more than they show.

    Counted are the nearest :data:`MAX_EXTENT` nodes.  ``advise``: say how to have them shown.
    """
    try:
        graph = reachable([args, kwargs], MAX_EXTENT)
        arguments = {id(unboxed(value)) for value in (*args, *kwargs.values())}
        if all(id(node) in arguments for node in graph.nodes):
            return ""
        advice = "; LOWERING_HOOKS_DETAIL=graph shows them" if advise else ""
        return f"{_INDENT}behind them {_extent(graph)}{advice}"
    except Exception:
        return ""


def site_text(site: Site) -> str:
    """Say in one line where the op stands in the model; empty where nothing is known."""
    parts = [
        site.node and f"node: {_one_line(site.node, _MAX_NAME)}",
        site.graph and f"of graph {_one_line(site.graph, _MAX_NAME)}",
        site.source and f"at {_one_line(site.source)}",
    ]
    return _INDENT + " ".join(filter(None, parts)) if site.node else ""


def _source(node: Any) -> str | None:
    """Return the line of the model that made an IR node, as far as Inductor recorded it."""
    candidates = [_maker(node)]
    with contextlib.suppress(Exception):  # no collection
        candidates += itertools.islice(_field(node, "origins"), MAX_ORIGINS)
    # Origins are in no order, and may hold those of an unrealized argument: the op's own come first.
    op = op_of(node)
    candidates.sort(key=lambda origin: _field(origin, "target") is not op)
    return next((_one_line(line) for line in map(source_of, candidates) if line), None)


def _maker(node: Any) -> Any:
    """Return the FX node that an IR node was made for, as far as Inductor recorded one.

    Inductor sets a buffer's ``origin_node`` whenever the lowering of an FX node returns that buffer (seen in
    2.4.1, 2.12.1 and 2.15.0): a ``getitem`` or a ``wait_tensor`` that hands it on, too.  The one that made it
    is among ``origins``, which are written down when it is made.
    """
    last, origins = _field(node, "origin_node"), _field(node, "origins")
    with contextlib.suppress(Exception):  # no collection
        if last is not None and origins and last not in origins:
            return next(iter(origins)) if len(origins) == 1 else None
    return last


def _boxes_and_views(node: Any) -> list[Any]:
    """Return ``node`` and what its ``data`` fields lead to, down to the first that has a buffer's name."""
    chain: list[Any] = []
    seen: set[int] = set()
    while is_ir(node) and id(node) not in seen and len(chain) < MAX_VIEWS:
        chain.append(node)
        seen.add(id(node))
        if isinstance(_field(node, "name"), str):
            break
        node = _field(node, "data")
    return chain


def _field(node: Any, name: str) -> Any:
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
        return _field(node, attribute)


def _sizes(values: Any) -> str | None:
    if not isinstance(values, (list, tuple)):
        return None
    shown = [_number(value) for value in itertools.islice(values, MAX_ELEMENTS)]
    if len(values) > MAX_ELEMENTS:
        shown.append(f"... {len(values) - MAX_ELEMENTS} more")
    return f"[{', '.join(shown)}]"


def _number(value: Any) -> str:
    if type(value) is int:
        return str(value)
    # On many releases the sizes that are known are sympy's, which is slow to print them.
    if type(value).__module__ == "sympy.core.numbers" and value.is_Integer:
        return str(value.p)
    return value_text(value)


def _offset(layout: Any) -> str | None:
    """Return where in its buffer a tensor begins; None where that is the buffer's own beginning, or unknown.

    Two views of one buffer may differ in nothing else.  A ``ReinterpretView`` and a buffer keep it in their
    layout (seen in 2.4.1, 2.12.1 and 2.15.0); a ``SliceView`` that is not realized keeps it in a closure,
    where it is not to be told from other numbers.  A symbolic one is not compared with 0: that would add a
    guard.
    """
    offset = _field(layout, "offset")
    shown = None if offset is None else _number(offset)
    return None if shown == "0" else shown


def _expression(expr: Any) -> str:
    """Write a symbolic expression, unless it has too many terms to be written."""
    pending = [expr]
    for _ in range(MAX_TERMS):
        if not pending:
            return _one_line(str(expr))
        pending += getattr(pending.pop(), "args", ())
    return f"{type(expr).__name__} of more than {MAX_TERMS} terms"


def op_of(buffer: Any) -> Any:
    """Return the op that made a buffer: the overload of an extern kernel, else what the origin node calls."""
    for node in (buffer, _first(_field(buffer, "inputs"))):
        overload = _field(node, "op_overload")
        if overload is not None:
            return overload
        kernel = _field(node, "kernel")  # all there is on 2.0
        if isinstance(kernel, str) and kernel.startswith("torch.ops."):
            return kernel.removeprefix("torch.ops.")
        if type(node).__name__ != "MultiOutput":  # whose one input is the kernel with the outputs
            break
    target = _field(_maker(buffer), "target")
    return None if isinstance(target, str) else target  # a placeholder's, which is its name


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, (list, tuple)) and values else None


def _origins(node: Any) -> str | None:
    origins = _field(node, "origins")
    try:
        if not origins:
            return None
        names = [str(_field(origin, "name")) for origin in itertools.islice(origins, MAX_ORIGINS)]
        if len(origins) > MAX_ORIGINS:
            names.append(f"... {len(origins) - MAX_ORIGINS} more")
    except Exception:  # no collection
        return None
    return f"[{', '.join(names)}]"


def _shown(value: Any, how: Any) -> str | None:
    return None if value is None else how(value)


def target_name(target: Any) -> str:
    """Return what an FX node calls, by name: an op's own, a function's with its module.  Never raises."""
    if isinstance(target, (types.FunctionType, types.BuiltinFunctionType)):
        return _one_line(f"{target.__module__}.{target.__qualname__}")
    return _safe_str(target)


def _safe_str(value: Any) -> str:
    try:
        return _one_line(str(value))
    except Exception:
        return _class_name(value)


def _class_name(value: Any) -> str:
    try:
        kind = type(value)
        return f"<{_kind_name(kind) if _is_container(value) else kind.__qualname__}>"
    except Exception:  # a metaclass can make even this raise
        return "<object>"


def _one_line(text: str, length: int = MAX_LINE_CHARACTERS) -> str:
    """Clip ``text`` and escape what would break the line or the terminal."""
    clipped = _clip(text, length)
    return clipped if clipped.isprintable() else _clip("".join(map(_printable, clipped)), length)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _clip(text: str, length: int = MAX_LINE_CHARACTERS) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
