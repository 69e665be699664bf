"""The IR behind the arguments of an op: a line for each node, or how much of it there is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ..inductor.graph import MAX_NODES, Graph, reachable
from ..inductor.nodes import unboxed
from .clipping import INDENT, MAX_NAME, class_name, one_line, safe_str
from .node import field, fields_of, shown_by, source
from .words import counted

if TYPE_CHECKING:
    from ..inductor.objects import Argument, IRNode

# `_node` names at most this many operands of a node.
MAX_OPERANDS: Final = 16
# `_node` keeps at most this many characters of a line.
_MAX_NODE_LINE: Final = 600
# An error shows at most this many nodes of the graph, the nearest ones, with a line for each.
MAX_ERROR_NODES: Final = 200
# `extent_text` counts at most this many nodes, which takes some 50 ms.
MAX_EXTENT: Final = 2_000


def graph_text(args: Sequence[Argument], kwargs: Mapping[str, Argument], limit: int = MAX_NODES) -> str:
    """Describe the IR behind the arguments: a line for each node, producers before their users.

    Each line names the node's operands.  The text leaves out boxes, which say nothing.  Never raises.

    Args:
        args: The op's positional arguments.
        kwargs: Its keyword arguments.
        limit: How many nodes to describe at most.  Where there are more, the text has the nearest ones and a
            line that says so.

    Returns:
        The lines; an empty text where no argument is or holds IR.
    """
    try:
        return _graph_text(reachable([args, kwargs], limit), limit)
    except Exception as error:
        return f"{INDENT}the IR behind the arguments could not be described: {safe_str(error)}"


def _graph_text(graph: Graph, limit: int) -> str:
    if not graph.nodes:
        return ""
    names: dict[int, str] = {}
    unnamed = itertools.count()
    for node in graph.nodes:
        name = field(node, "name")
        names[id(node)] = one_line(name, MAX_NAME) if isinstance(name, str) else f"%{next(unnamed)}"
    written: set[int] = set()
    lines = [f"{INDENT}behind them {_extent(graph)}, producers first:"]
    if graph.cut:
        lines.append(f"{INDENT}  ... more, farther than the nearest {limit}")
    for node in graph.nodes:
        try:
            line = _node(node, graph, names, written)
        except Exception:  # the node may be of any class
            line = class_name(node)
        lines.append(f"{INDENT}  {names[id(node)]} {line}")
        written.add(id(node))
    return "\n".join(lines)


def _node(node: IRNode, graph: Graph, names: Mapping[int, str], written: set[int]) -> str:
    """Describe one node of a graph."""
    operands = graph.operands[id(node)]
    shown: list[str] = []
    for operand in operands[:MAX_OPERANDS]:
        name = names.get(id(operand), "...")
        shown.append(name if id(operand) in written or name == "..." else f"{name} (a cycle)")
    if len(operands) > MAX_OPERANDS:
        shown.append(f"... {len(operands) - MAX_OPERANDS} more")
    parts = [f"from=[{', '.join(shown)}]"] if shown else []
    parts += filter(None, [fields_of(node, node), shown_by(source(node), "at={}".format)])
    return one_line(f"{type(node).__name__}({', '.join(parts)})", _MAX_NODE_LINE)


def _extent(graph: Graph) -> str:
    nodes, depth = counted(len(graph.nodes), "node"), counted(graph.depth(), "kernel")
    return f"{nodes}, {depth} deep" if not graph.cut else f"more than {nodes}, at least {depth} deep"


def extent_text(args: Sequence[Argument], kwargs: Mapping[str, Argument], *, advise: bool = True) -> str:
    """Say in one line how much IR is behind the arguments.  Never raises.

    The line counts the nearest :data:`MAX_EXTENT` nodes, and says so where there are more.

    Args:
        args: The op's positional arguments.
        kwargs: Its keyword arguments.
        advise: Whether to say which setting has the nodes shown.

    Returns:
        The line; an empty text where no IR is behind the arguments, or its extent is not known.
    """
    try:
        graph = reachable([args, kwargs], MAX_EXTENT)
        arguments = {id(unboxed(value)) for value in (*args, *kwargs.values())}
        if all(id(node) in arguments for node in graph.nodes):
            return ""
        advice = "; LOWERING_HOOKS_DETAIL=graph shows them" if advise else ""
        return f"{INDENT}behind them {_extent(graph)}{advice}"
    except Exception:
        return ""
