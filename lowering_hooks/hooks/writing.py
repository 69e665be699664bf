"""Writes a text that holds IR under a limit: whole where it fits, else bounded.

The text of an IR node holds those of its operands, and theirs: a tree drawn from a graph, exponential in
depth.  How long it will be cannot be told beforehand, so it is written and counted, and given up once it has
passed the limit.  Then it is written again: the node in full, and what stands behind it by name.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from ..describe.op import op_of, target_name, value_text
from ..inductor.graph import BOXES, held, tree_characters, unboxed
from ..inductor.modules import lowering_in_progress
from ..inductor.site import NOWHERE, Site, node_in_progress, site_of
from ..records import Records, in_words
from ..settings import BoundedIRMode

log = logging.getLogger("lowering_hooks")

# A text of at most this many characters is Inductor's own.
MAX_CHARACTERS: Final = 100_000
# One text may ask for the texts of this many nodes.  Without this limit, nodes that clip the texts of their
# operands, or leave them out, would never come to the limit of characters.
MAX_NODES: Final = 100_000
# A node without a name is written in full inside of this many others: a view of a view of a computation.
_MAX_UNNAMED: Final = 8

_TO_HAVE_IT: Final = "LOWERING_HOOKS_BOUNDED_IR=off has it written whole, however long that takes"
_TOO_LONG: Final = f"it has more than {MAX_CHARACTERS:,} characters; {_TO_HAVE_IT}"
_TOO_MANY: Final = f"it asks for the texts of more than {MAX_NODES:,} nodes; {_TO_HAVE_IT}"
_TOO_DEEP: Final = "it is too deep for Python's recursion limit"


class _Stop(BaseException):
    """Ends a text that has passed a limit.

    It is raised where a nested node's text begins or ends, and caught where the outermost text began.  No
    ``except Exception`` in between catches it; whoever catches it all the same is given no more texts.
    """


class _Text:
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
                self.give_up(len(written), _TOO_LONG)
            return written, self.problem
        except _Stop:
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
        """Give the text up, and raise :class:`_Stop`, but only where :meth:`write` is there to catch it.

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
        raise _Stop

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


_WRITE: Final = _Text.write.__code__


class _Thread(threading.local):
    """What this thread writes."""

    def __init__(self) -> None:
        self.text = _Text()


_thread: Final = _Thread()


class _Subject(NamedTuple):
    """What a text is of.

    Attributes:
        node: The node; None where it is an op with its arguments.
        values: What the text holds.
        short: Writes a short text, for values whose names alone pass a limit.
        asked_for: Returns the op whose lowering asks for the text, and where it is lowered.
        is_seen: Whether anybody reads the text.
    """

    node: Any
    values: Iterable[Any]
    short: Callable[[], str]
    asked_for: Callable[[], tuple[str, Site]]
    is_seen: bool = True


class Writer:
    """Writes the texts of IR nodes, and of what holds them.

    Args:
        records: Where it says which texts were cut.

    Attributes:
        mode: Whether texts are bounded: ``"auto"`` where they pass the limit, True always, False never.  It
            may be set at any time.
        before_next: What is to be called, once, before the next text is written.
    """

    def __init__(self, records: Records) -> None:
        self.mode: BoundedIRMode = False
        self.before_next: list[Callable[[], object]] = []
        self._records = records
        self._told: set[str] = set()  # targets that an INFO line has named

    def wrap(self, original: Callable[..., str]) -> Callable[..., str]:
        """Return a function for ``original``, the ``__str__`` or ``__repr__`` of an IR class."""
        thread, outermost = _thread, self._node

        # Called for every node of a text, so what is done here stands here.  It also adds one frame to each
        # node's, of which Python allows some thousand.
        @functools.wraps(original)
        def text(node: Any, *args: Any, **kwargs: Any) -> str:  # PyTorch 2.0: Loops.__str__ takes names
            current = thread.text
            if current.is_written:
                current.nodes += 1
                if current.nodes > MAX_NODES:
                    current.stop(current.characters, _TOO_MANY)
            if not current.is_written:
                if args or kwargs:
                    return outermost(current, _with_more(original, args, kwargs), node)
                return outermost(current, original, node)
            before = current.characters
            try:
                if current.unnamed is not None:
                    written = current.by_name(original, node, args, kwargs)
                elif args or kwargs:
                    written = original(node, *args, **kwargs)
                else:  # nearly always, and in half the time
                    written = original(node)
            except Exception:
                current.characters = before  # whoever catches it writes something else
                raise
            if isinstance(written, str):
                # It holds the texts of the node's own operands, which are not counted again.
                current.characters = before + len(written)
                if current.characters > MAX_CHARACTERS:
                    current.stop(current.characters, _TOO_LONG)
            return written

        return text

    def operator(
        self,
        target: Any,
        site: Site,
        values: Iterable[Any],
        write: Callable[[], str],
        short: Callable[[], str],
        is_seen: bool,
    ) -> tuple[str, bool]:
        """Return the text of an op with its arguments, which together are one text, and whether it was cut.

        Args:
            target: The op.
            site: Where it is lowered.
            values: Its arguments.
            write: Writes Inductor's own text.
            short: Writes a short one, for arguments whose names alone pass a limit.
            is_seen: Whether anybody reads the text.
        """
        current, mode = _thread.text, self.mode
        if current.is_written or mode is False:  # the first: a part of the text of somebody's node
            return write(), False
        subject = _Subject(None, values, short, lambda: (target_name(target), site), is_seen)
        if mode is True:
            return _by_name(current, write, subject), False
        start = time.perf_counter()
        written, problem = current.write(write)
        if not problem:
            return written, False  # whatever it is: str() says so where it is no text
        return self._cut(current, problem, write, subject, start), True

    def _node(self, current: _Text, original: Callable[[Any], str], node: Any) -> str:
        """Return the text of a node that is no part of another text."""
        if self.before_next:
            self._prepare()
        mode, start = self.mode, time.perf_counter()
        if mode == "auto":
            written, problem = current.write(original, node)
            if not problem:
                return written  # type: ignore[no-any-return]  # str() says so where it is no text
        elif mode is False:
            return original(node)
        write = functools.partial(original, node)
        short, asked_for = functools.partial(value_text, node), functools.partial(_asked_for, node)
        subject = _Subject(node, (node,), short, asked_for)
        if mode is True:
            return _by_name(current, write, subject)
        return self._cut(current, problem, write, subject, start)

    def _prepare(self) -> None:
        with contextlib.suppress(IndexError):  # another thread may do the same
            while self.before_next:
                self.before_next.pop()()

    def _cut(
        self,
        current: _Text,
        problem: str,
        write: Callable[[], str],
        subject: _Subject,
        start: float,
    ) -> str:
        """Return a bounded text in place of one that was just given up."""
        characters = current.characters
        written = _by_name(current, write, subject)
        note = f"\n... lowering-hooks cut this text of Inductor's: {problem}"
        if len(written) + len(note) > MAX_CHARACTERS:
            written = subject.short()
        try:
            seconds = time.perf_counter() - start
            characters = max(characters, tree_characters(subject.values))
            self._note_cut(*subject.asked_for(), seconds, subject.is_seen, characters, problem)
        except Exception:
            # A count and a log line are not worth a failed compile.
            log.debug("could not count a text that was cut", exc_info=True)
        return f"{written}{note}"

    def _note_cut(
        self, target: str, site: Site, seconds: float, is_seen: bool, characters: int, problem: str
    ) -> None:
        self._records.cut(target, site, seconds, is_seen, characters)
        if target in self._told:
            return
        self._told.add(target)
        if characters > MAX_CHARACTERS:
            problem = f"it has at least {in_words(characters)}"
        log.info(
            "lowering-hooks cut Inductor's text of %s: %s; lowering_hooks.report() lists all that were cut",
            target,
            problem,
        )


def _with_more(original: Callable[..., str], args: Any, kwargs: Any) -> Callable[[Any], str]:
    return lambda node: original(node, *args, **kwargs)


def _by_name(current: _Text, write: Callable[[], str], subject: _Subject) -> str:
    """Return a text in which the nodes behind the subject are written by name."""
    # The node in a box is the first that is written in full.
    node = None if type(subject.node).__name__ in BOXES else subject.node
    for unnamed in (_MAX_UNNAMED, 0):
        written, problem = current.write(write, unnamed=unnamed, behind=node)
        if not problem:
            return written  # type: ignore[no-any-return]
    return subject.short()


def _asked_for(node: Any) -> tuple[str, Site]:
    """Return the op whose lowering asks for a node's text, and its place; else the op that made the node."""
    lowering = lowering_in_progress()
    lowered = node_in_progress(lowering)
    if str(getattr(lowered, "op", "")).startswith("call_"):
        return target_name(lowered.target), site_of(lowering, lowered.target)
    op = op_of(unboxed(node))
    return target_name(op) if op is not None else type(node).__name__, NOWHERE


def _name(node: Any) -> str:
    name = held(node, "name")
    return f"<{name} {type(node).__name__}>" if isinstance(name, str) else f"<{type(node).__name__}>"
