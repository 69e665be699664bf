"""Writes a text that holds IR under a limit: whole where it fits, else bounded.

A text is first written as Inductor writes it, and counted (``limit``).  Once it has passed the limit it is
given up, and written again: the node in full, and what stands behind it by name.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from ..describe.node import node_text, op_of
from ..describe.op import target_name
from ..describe.stock_size import tree_characters
from ..inductor.modules import lowering_in_progress
from ..inductor.nodes import BOXES, unboxed
from ..inductor.site import NOWHERE, Site, node_in_progress, site_of
from ..records import Records, in_words
from ..settings import BoundedIRMode
from .limit import MAX_CHARACTERS, MAX_NODES, TOO_LONG, TOO_MANY, Text

log = logging.getLogger("lowering_hooks")


# A node without a name is written in full inside of this many others: a view of a view of a computation.
_MAX_UNNAMED: Final = 8


class _Thread(threading.local):
    """What this thread writes."""

    def __init__(self) -> None:
        self.text = Text()


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
                    current.stop(current.characters, TOO_MANY)
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
                    current.stop(current.characters, TOO_LONG)
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

    def _node(self, current: Text, original: Callable[[Any], str], node: Any) -> str:
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


def _by_name(current: Text, write: Callable[[], str], subject: _Subject) -> str:
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
