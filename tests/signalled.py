"""A process that is told by a signal to end, once it has begun what it is to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


def ended_by(number: int, process: subprocess.Popen[bytes], has_begun: Callable[[], bool]) -> bytes:
    """Send ``process`` a signal, and return what it wrote to its stderr, which is a pipe.

    Args:
        number: The signal.
        process: The process, of which nothing is left afterwards.
        has_begun: Whether it may be sent now; asked for up to a minute.
    """
    deadline = time.monotonic() + 60
    try:
        while not has_begun():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        return process.communicate(timeout=30)[1]
    finally:
        process.kill()
