"""The IR behind an op's arguments, as the graph that it is: every node once.

The walk keeps an explicit stack, so that it never recurses, and reads nodes as they are stored (``nodes``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from .nodes import fields, held, ir_in

# Nodes that one graph may have.  A line of each is some 200 characters.
MAX_NODES: Final = 20_000

# What a node makes, not what it is made of; both lead back to the node (seen from 2.5 on).
_RESULTS: Final = frozenset({"outputs", "mutation_outputs"})


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


def reachable(roots: Iterable[Any], limit: int = MAX_NODES) -> Graph:
    """Return the IR nodes that ``roots`` hold, whatever they are: the nearest ``limit`` of them.

    Linear in nodes.
    """
    return nearest(ir_in(list(roots)), limit, _operands)


def _operands(node: Any) -> list[Any]:
    return ir_in([value for name, value in fields(node).items() if name not in _RESULTS])


def nearest(first: list[Any], limit: int, operands_of: Callable[[Any], list[Any]]) -> Graph:
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
