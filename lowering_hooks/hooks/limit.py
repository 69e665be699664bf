"""One text under a limit: counted while it is written, and given up once it has passed the limit.

The text of an IR node holds the texts of its operands, which hold those of theirs: a tree drawn from a graph,
exponential in depth.  How long it will be cannot be told beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ..inductor.nodes import BOXES, held

if TYPE_CHECKING:
    from ..inductor.objects import Foreign, IRNode

# `Text` gives up a text of more characters than this; any other is Inductor's own, to the byte.
MAX_CHARACTERS: Final = 100_000
# `Text` gives up a text that asks for the texts of more nodes than this.  Without it, nodes that clip the
# texts of their operands, or leave them out, would never come to the limit of characters.
MAX_NODES: Final = 100_000

_TO_HAVE_IT: Final = "LOWERING_HOOKS_BOUNDED_IR=off has it written whole, however long that takes"
TOO_LONG: Final = f"it has more than {MAX_CHARACTERS:,} characters; {_TO_HAVE_IT}"
TOO_MANY: Final = f"it asks for the texts of more than {MAX_NODES:,} nodes; {_TO_HAVE_IT}"
_TOO_DEEP: Final = "it is too deep for Python's recursion limit"


class Stop(BaseException):
    """Ends a text that has passed a limit.

    :meth:`Text.stop` raises it where a nested node's text begins or ends, and :meth:`Text.write` catches it
    where the outermost text began.  No ``except Exception`` in between catches it; code that catches it all
    the same is given no more texts.
    """


class Text:
    """The text that one thread writes: the outermost one, of which all others are parts.

    One object serves one attempt after another.  An object for each attempt would cost as much as all else
    that a small text costs.

    Attributes:
        is_written: Whether an attempt is under way.
        unnamed: How many nodes without a name are written in full inside one another; None where nested
            nodes are written as Inductor writes them, whether they have a name or not.
        node: The node that is being written now, where nested nodes are written by name.
        depth: How many nodes are being written inside one another then.
        nodes: How many nodes' texts were asked for; more than :data:`MAX_NODES` once the text is given up.
        characters: How many characters the text has at least: those of the nodes that are written so far.
        problem: Why the text was given up; empty where it was not.
    """

    __slots__ = ("characters", "depth", "is_written", "node", "nodes", "problem", "unnamed")

    def __init__(self) -> None:
        self.is_written = False
        self.unnamed: int | None = None
        self.node: IRNode = None
        self.depth = 0
        self.nodes = 0
        self.characters = 0
        self.problem = ""

    def write(
        self, write: Callable[..., Foreign], *nodes: IRNode, unnamed: int | None = None, behind: IRNode = None
    ) -> tuple[Foreign, str]:
        """Return what ``write(*nodes)`` returns, and why that passes a limit; empty where it does not.

        Raises what ``write`` raises.  A signal handler may come in between at any point, and ask for texts:
        until ``is_written`` is set they are texts of their own, and from then on parts of this one.

        Args:
            write: Writes the text.
            *nodes: The arguments of ``write``.
            unnamed: See the attribute.
            behind: The node behind which nodes are written by name; None where that is the first one.

        Returns:
            Whatever ``write`` returns, which may be no string; None where it was stopped.
        """
        self.is_written = True
        try:
            self.nodes = self.characters = 0
            self.problem = ""
            self.unnamed, self.node, self.depth = unnamed, behind, 0 if behind is None else 1
            written: Foreign = write(*nodes)
            if isinstance(written, str) and len(written) > MAX_CHARACTERS:
                self.give_up(len(written), TOO_LONG)
            return written, self.problem  # noqa: TRY300 - the recursion limit may stop len() as well
        except Stop:
            return None, self.problem
        except RecursionError:
            return None, self.problem or _TOO_DEEP
        finally:
            self.is_written = False
            self.node = None

    def give_up(self, characters: int, problem: str) -> None:
        """Note that the text passes a limit, so that no more nodes are written for it."""
        self.characters = characters
        self.nodes = MAX_NODES + 1
        self.problem = self.problem or problem

    def stop(self, characters: int, problem: str) -> None:
        """Give the text up, and raise :class:`Stop`, but only where :meth:`write` is there to catch it.

        :meth:`write` may be gone.  An exception from another thread, or a KeyboardInterrupt on Python 3.10,
        can end it between two of its last steps, and a coroutine library can run a node's own code on another
        stack.  Then that text is over, and what follows is a text of its own.
        """
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - CPython 3.10-3.13
        while frame.f_code is not _WRITE:
            if frame.f_back is None:
                self.is_written = False
                return
            frame = frame.f_back
        self.give_up(characters, problem)
        raise Stop

    def by_name(
        self,
        original: Callable[..., str],
        node: IRNode,
        args: Sequence[Foreign],
        kwargs: Mapping[str, Foreign],
    ) -> str:
        """Write a nested node by name; the outermost one, and those that have no name, in full."""
        # A class may ask its base class, or its __repr__ its __str__: that is still the same node.
        if node is self.node or type(node).__name__ in BOXES:
            return original(node, *args, **kwargs)
        if self.depth and (isinstance(held(node, "name"), str) or self.depth > (self.unnamed or 0)):
            return _name(node)
        outer, self.node = self.node, node
        self.depth += 1
        try:
            return original(node, *args, **kwargs)
        finally:
            self.node = outer
            self.depth -= 1


def _name(node: IRNode) -> str:
    name = held(node, "name")
    return f"<{name} {type(node).__name__}>" if isinstance(name, str) else f"<{type(node).__name__}>"


# `Text.stop` looks for a frame with this code.
_WRITE: Final = Text.write.__code__
