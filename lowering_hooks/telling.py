"""Logs what lowering-hooks has to say where nothing may fail: inside other people's imports and compiles."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import Final

_log = logging.getLogger("lowering_hooks")
# What is to be logged once no text is being written; only the latest are kept.
_later: Final[deque[tuple[int, str, tuple[object, ...]]]] = deque(maxlen=100)


def tell(level: int, message: str, *values: object, exc_info: bool = False) -> None:
    """Log a message.  Never raises: a handler or a filter of other code may.

    Args:
        level: A level of :mod:`logging`, such as ``logging.WARNING``.
        message: The message, with a ``%s`` or the like for each of ``values``.
        *values: What stands in the message.
        exc_info: Whether the traceback of the exception that is being handled is logged as well.
    """
    with suppress(Exception):
        _log.log(level, message, *values, exc_info=exc_info, stacklevel=2)


def tell_later(level: int, message: str, *values: object) -> None:
    """Keep a message until :func:`tell_the_rest` is called.

    A text is often asked for by a logging handler, which formats its record.  To log meanwhile calls the same
    handler inside itself, and it may hold a lock of its own there, for which it would wait for ever.

    Args:
        level: As for :func:`tell`.
        message: As for :func:`tell`.
        *values: Numbers and strings that stand in the message.
    """
    _later.append((level, message, values))


def tell_the_rest() -> None:
    """Log what was kept.  Never raises.

    Only the end of a lowering calls this.  A logging handler, and a signal handler that interrupts one, may
    call any public function, so that none of those logs what was kept.
    """
    with suppress(IndexError):  # another thread may do the same
        while _later:
            level, message, values = _later.popleft()
            tell(level, message, *values)
