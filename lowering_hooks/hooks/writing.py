"""Writes a text that holds IR under a limit: whole where it fits, else bounded.

A text is first written as Inductor writes it, and counted (``limit``).  Once it has passed the limit it is
given up and written again, bounded: the node in full, and what stands behind it by name.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ..describe.node import node_text, op_of
from ..describe.op import target_name
from ..describe.stock_size import tree_characters
from ..inductor.modules import lowering_in_progress
from ..inductor.nodes import BOXES, unboxed
from ..inductor.site import NOWHERE, Site, node_in_progress, site_of
from ..records import Records, in_words
from ..telling import tell_later
from .limit import MAX_CHARACTERS, MAX_NODES, TOO_LONG, TOO_MANY, Text

if TYPE_CHECKING:
    from ..inductor.objects import Argument, Foreign, IRNode, Target
    from ..settings import BoundedIRMode


# A bounded text writes at most this many nodes without a name inside one another in full: a view of a view of
# a computation.
_MAX_UNNAMED: Final = 8


class _Thread(threading.local):
    """The text that this thread writes."""

    def __init__(self) -> None:
        self.text = Text()


_thread: Final = _Thread()


class _Subject(NamedTuple):
    """The node, or the op with its arguments, that a text is of.

    Attributes:
        node: The node; None where it is an op with its arguments.
        values: The node, or the arguments.
        short: Writes a short text, for values whose names alone pass a limit.
        asked_for: Returns the op whose lowering asks for the text, and where it is lowered.
        is_shown: Whether the text is shown, rather than built and thrown away.
    """

    node: IRNode
    values: Iterable[Argument]
    short: Callable[[], str]
    asked_for: Callable[[], tuple[str, Site]]
    is_shown: bool = True


class Writer:
    """Writes the texts of IR nodes, and of ops with their arguments.

    Args:
        records: Is told which texts were cut.

    Attributes:
        mode: Whether texts are bounded: ``"auto"`` where they pass the limit, True always, False never.  It
            may be set at any time.
        before_next: Functions that are called, once, before the next text is written.
        before_operators: Functions that are called before each text of an op with its arguments is written.
    """

    def __init__(self, records: Records) -> None:
        self.mode: BoundedIRMode = False
        self.before_next: list[Callable[[], object]] = []
        self.before_operators: list[Callable[[], object]] = []
        self._records = records
        self._logged: set[str] = set()  # targets that an INFO line has named

    # One function, since each call that it made would cost as much as half a small text.
    def wrap(self, original: Callable[..., Foreign]) -> Callable[..., Foreign]:  # noqa: C901
        """Return a function for ``original``, the ``__str__`` or ``__repr__`` of an IR class."""
        thread, outermost = _thread, self._node

        # Hot path: runs once per node of every text, so it calls as little as it can.  It also adds one frame
        # to each node's, of which Python allows some thousand.
        @functools.wraps(original)
        def text(node: IRNode, /, *args: Foreign, **kwargs: Foreign) -> Foreign:
            # PyTorch 2.0-2.5: Loops.__str__ takes names; if missing: there are no further arguments.
            current = thread.text
            if current.is_written:
                current.nodes += 1
                if current.nodes > MAX_NODES:
                    current.stop(current.characters, TOO_MANY)
            if not current.is_written:
                if args or kwargs:
                    return outermost(current, _with_arguments(original, args, kwargs), node)
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
                current.characters = before  # the code that catches it writes something else
                raise
            if isinstance(written, str):
                # The node's text holds those of its own operands, which are not counted again.
                current.characters = before + len(written)
                if current.characters > MAX_CHARACTERS:
                    current.stop(current.characters, TOO_LONG)
            return written

        # CPython 3.10-3.13: `pprint` knows the text of a dataclass by the name of what it wraps; if it does
        # not: it writes one in a single line.
        generated: Foreign = vars(original).get("__wrapped__") if hasattr(original, "__dict__") else None
        if "__create_fn__" in getattr(generated, "__qualname__", ""):
            text.__wrapped__ = generated
        return text

    def operator(
        self,
        target: Target,
        site: Site,
        values: Iterable[Argument],
        write: Callable[[], str],
        short: Callable[[], str],
        *,
        is_shown: bool,
    ) -> tuple[str, bool]:
        """Return the text of an op with its arguments, which together are one text, and whether it was cut.

        Args:
            target: The op.
            site: Where the op is lowered.
            values: The arguments of the op.
            write: Writes Inductor's own text.
            short: Writes a short text, for arguments whose names alone pass a limit.
            is_shown: Whether the text is shown, rather than built and thrown away.
        """
        current, mode = _thread.text, self.mode
        if mode is False or current.is_written:  # where it is written: a part of the text of a node
            return write(), False
        for prepare in self.before_operators:
            prepare()
        subject = _Subject(None, values, short, lambda: (target_name(target), site), is_shown)
        if mode is True:
            return _by_name(current, write, subject), False
        start = time.perf_counter()
        written, problem = current.write(write)
        if not problem:
            return written, False  # str() raises where it is no string, as in stock
        return self._cut(current, problem, write, subject, start), True

    def _node(self, current: Text, original: Callable[[IRNode], str], node: IRNode) -> str:
        """Return the text of a node that is no part of another text."""
        if self.before_next:
            self._prepare()
        mode, start, problem = self.mode, time.perf_counter(), ""
        if mode == "auto":
            written, problem = current.write(original, node)
            if not problem:
                return cast("str", written)  # str() raises where it is no string, as in stock
        elif mode is False:
            return original(node)
        write = functools.partial(original, node)
        short, asked_for = functools.partial(node_text, node), functools.partial(_asked_for, node)
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
        current: Text,
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
            target, site = subject.asked_for()
            self._records.cut(target, site, seconds, characters, shown=subject.is_shown)
            self._log_cut(target, characters, problem)
        except Exception as error:
            # A count and a log line are not worth a failed compile.
            what = type(error).__name__
            tell_later(logging.DEBUG, "lowering-hooks could not count a text that it cut: %s", what)
        return f"{written}{note}"

    def _log_cut(self, target: str, characters: int, problem: str) -> None:
        if target in self._logged:
            return
        self._logged.add(target)
        if characters > MAX_CHARACTERS:
            problem = f"it has at least {in_words(characters)}"
        tell_later(
            logging.INFO,
            "lowering-hooks cut Inductor's text of %s: %s; lowering_hooks.report() lists all that were cut",
            target,
            problem,
        )


def _with_arguments(
    original: Callable[..., str], args: Sequence[Foreign], kwargs: Mapping[str, Foreign]
) -> Callable[[IRNode], str]:
    return lambda node: original(node, *args, **kwargs)


def _by_name(current: Text, write: Callable[[], str], subject: _Subject) -> str:
    """Return a text in which the nodes behind the subject are written by name."""
    # The node in a box is the first that is written in full.
    node = None if type(subject.node).__name__ in BOXES else subject.node
    for unnamed in (_MAX_UNNAMED, 0):
        written, problem = current.write(write, unnamed=unnamed, behind=node)
        if not problem:
            return cast("str", written)
    return subject.short()


def _asked_for(node: IRNode) -> tuple[str, Site]:
    """Return the op whose lowering asks for a node's text, and its site; else the op that made the node."""
    lowering = lowering_in_progress()
    lowered = node_in_progress(lowering)
    if str(getattr(lowered, "op", "")).startswith("call_"):
        return target_name(lowered.target), site_of(lowering, lowered.target)
    op = op_of(unboxed(node))
    return target_name(op) if op is not None else type(node).__name__, NOWHERE
