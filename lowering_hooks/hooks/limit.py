"""One text under a limit: it is counted while it is written, and given up once it has passed the limit.

The text of an IR node holds those of its operands, and theirs: a tree drawn from a graph, exponential in
depth.  How long it will be cannot be told beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from ..inductor.nodes import BOXES, held

# A text of at most this many characters is Inductor's own.
MAX_CHARACTERS: Final = 100_000
# One text may ask for the texts of this many nodes.  Without this limit, nodes that clip the texts of their
# operands, or leave them out, would never come to the limit of characters.
MAX_NODES: Final = 100_000

_TO_HAVE_IT: Final = "LOWERING_HOOKS_BOUNDED_IR=off has it written whole, however long that takes"
TOO_LONG: Final = f"it has more than {MAX_CHARACTERS:,} characters; {_TO_HAVE_IT}"
TOO_MANY: Final = f"it asks for the texts of more than {MAX_NODES:,} nodes; {_TO_HAVE_IT}"
_TOO_DEEP: Final = "it is too deep for Python's recursion limit"


class Stop(BaseException):
    """Ends a text that has passed a limit.

    It is raised where a nested node's text begins or ends, and caught where the outermost text began.  No
    ``except Exception`` in between catches it; whoever catches it all the same is given no more texts.
    """


class Text:
    """The text that one thread writes: the outermost one, of which all others are parts.

    It serves one attempt after another.  An object for each attempt would cost as much as all else that is
    done for a small text.

    Attributes:
        is_written: Whether an attempt is under way.
        unnamed: How many nodes without a name are written in full inside one another; None where nested
            nodes are written as Inductor writes them, whether they have a name or not.
        node: The node that is being written now, where nested nodes are written by name.
        depth: How many nodes are being written inside one another then.
        nodes: How many nodes' texts have been asked for; more than :data:`MAX_NODES` once it is given up.
        characters: How many characters it will have at least: those of the nodes that are written so far.
        problem: Why it was given up; empty where it was not.
    """

    __slots__ = ("characters", "depth", "is_written", "node", "nodes", "problem", "unnamed")

    def __init__(self) -> None:
        self.is_written = False
        self.unnamed: int | None = None
        self.node: Any = None
        self.depth = 0
        self.nodes = 0
        self.characters = 0
        self.problem = ""

    def write(
        self, write: Callable[..., str], *nodes: Any, unnamed: int | None = None, behind: Any = None
    ) -> tuple[Any, str]:
        """Return what ``write(*nodes)`` returns, and why that passes a limit; empty where it does not.

        Raises what ``write`` raises.  A signal handler may come in between at any point, and ask for texts:
        until ``is_written`` is set they are on their own, and from then on parts of this one.

        Args:
            write: What writes the text.
            *nodes: What it is called with.
            unnamed: See the attribute.
            behind: The node behind which nodes are written by name; None where that is the first one.
        """
        self.is_written = True
        try:
            self.nodes = self.characters = 0
            self.problem = ""
            self.unnamed, self.node, self.depth = unnamed, behind, 0 if behind is None else 1
            written = write(*nodes)
            if isinstance(written, str) and len(written) > MAX_CHARACTERS:
                self.give_up(len(written), TOO_LONG)
            return written, self.problem
        except Stop:
            return None, self.problem
        except RecursionError:
            return None, self.problem or _TOO_DEEP
        finally:
            self.is_written = False
            self.node = None

    def give_up(self, characters: int, problem: str) -> None:
        """Give the text no more nodes."""
        self.characters = characters
        self.nodes = MAX_NODES + 1
        self.problem = self.problem or problem

    def stop(self, characters: int, problem: str) -> None:
        """Give the text up, and raise :class:`Stop`, but only where :meth:`write` is there to catch it.

        That may be gone.  An exception from another thread, or a KeyboardInterrupt on Python 3.10, can
        end it between two of its last steps, and a coroutine library can run a node's own code on another
        stack.  Then that text is over, and what follows is a text of its own.
        """
        frame = sys._getframe(1)
        while frame.f_code is not _WRITE:
            if frame.f_back is None:
                self.is_written = False
                return
            frame = frame.f_back
        self.give_up(characters, problem)
        raise Stop

    def by_name(self, original: Callable[..., str], node: Any, args: Any, kwargs: Any) -> str:
        """Write a nested node by name; the outermost one, and those that have none, in full."""
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


def _name(node: Any) -> str:
    name = held(node, "name")
    return f"<{name} {type(node).__name__}>" if isinstance(name, str) else f"<{type(node).__name__}>"


_WRITE: Final = Text.write.__code__
