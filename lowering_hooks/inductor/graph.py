"""The IR behind an op's arguments, as the graph that it is: every node once.

The walk keeps an explicit stack, so that it never recurses, and reads nodes as they are stored (``nodes``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from .nodes import fields, held, ir_in

if TYPE_CHECKING:
    from .objects import IRNode

# `reachable` returns at most this many nodes.  The line that describes one has some 200 characters.
MAX_NODES: Final = 20_000

# `_operands` leaves out these fields: they hold what a node produces, and lead back to the node.
# PyTorch 2.5-2.15: IR nodes have these two fields; if missing: no field is left out.
_RESULTS: Final = frozenset({"outputs", "mutation_outputs"})


class Graph(NamedTuple):
    """What :func:`reachable` found.

    Attributes:
        nodes: The IR nodes, producers before their users, without boxes.
        operands: For the ``id`` of each node, the nodes that it is made of.  These include nodes that are not
            among ``nodes`` because of the limit.
        cut: Whether there are more nodes than these.
    """

    nodes: list[IRNode]
    operands: dict[int, list[IRNode]]
    cut: bool

    def depth(self) -> int:
        """Return the number of kernels on the longest way from an input to an argument.

        A kernel is a node with a buffer's name and with operands that is not one of the outputs of another
        node.  A way around a cycle counts once.
        """
        # PyTorch 2.0-2.15: a MultiOutput is one output of a kernel, which is its operand; if missing: the
        # outputs count as kernels, and the depth is too high.
        depths: dict[int, int] = {}
        for node in self.nodes:
            behind = max((depths.get(id(operand), 0) for operand in self.operands[id(node)]), default=0)
            is_kernel = (
                bool(self.operands[id(node)])
                and isinstance(held(node, "name"), str)
                and type(node).__name__ != "MultiOutput"
            )
            depths[id(node)] = behind + is_kernel
        return max(depths.values(), default=0)


def reachable(roots: Iterable[object], limit: int = MAX_NODES) -> Graph:
    """Return the IR nodes that ``roots`` hold, and those behind them, in time linear in their number.

    Args:
        roots: Values of any kind: IR, containers of IR, and whatever else an op is called with.
        limit: How many nodes to return at most.  Where there are more, the nearest ones are returned.
    """
    return nearest(ir_in(list(roots)), limit, _operands)


def _operands(node: IRNode) -> list[IRNode]:
    return ir_in([value for name, value in fields(node).items() if name not in _RESULTS])


def nearest(first: list[IRNode], limit: int, operands_of: Callable[[IRNode], list[IRNode]]) -> Graph:
    """Return ``first`` and the nodes behind them, the nearest ones.

    Args:
        first: The nodes to begin with.
        limit: How many nodes to return at most.
        operands_of: Returns the nodes that a node leads to.
    """
    operands: dict[int, list[IRNode]] = {}
    waiting, cut = deque(first), False
    while waiting:  # breadth first, so that the limit leaves out the farthest nodes
        node = waiting.popleft()
        if id(node) in operands:
            continue
        if len(operands) >= limit:
            cut = True
            break
        operands[id(node)] = operands_of(node)
        waiting.extend(operands[id(node)])
    return Graph(_producers_first(first, operands), operands, cut)


def _producers_first(roots: list[IRNode], operands: dict[int, list[IRNode]]) -> list[IRNode]:
    order: list[IRNode] = []
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
