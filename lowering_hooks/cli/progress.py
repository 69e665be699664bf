"""Shows what is running, and for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import IO, Final

# Seconds between two updates.  A terminal's line is written over; elsewhere each one is a line of a log.
_TERMINAL_INTERVAL: Final = 0.2
_LOG_INTERVAL: Final = 10.0
_CLEAR_LINE: Final = "\r\033[K"


@dataclass
class Clock:
    """Writes how long a process has been in its phase.

    Attributes:
        label: What the process does, in words for the user.
        stream: Where it is written.
        phase: What the process is doing now.
        since: When that began, by :func:`time.monotonic`.
        shown: When this was last written.
    """

    label: str
    stream: IO[str]
    phase: str = "starting"
    since: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.monotonic)

    def restart(self) -> None:
        """Begin the phase in which the seconds count."""
        self.phase, self.since = "compiling", time.monotonic()

    def tick(self) -> None:
        """Write the phase and its seconds, unless that was done a moment ago."""
        now = time.monotonic()
        terminal = self.stream.isatty()
        if now - self.shown < (_TERMINAL_INTERVAL if terminal else _LOG_INTERVAL):
            return
        self.shown = now
        line = f"{self.label}: {self.phase}, {now - self.since:.0f} s"
        self.stream.write(f"{_CLEAR_LINE}{line}" if terminal else f"{line}\n")
        self.stream.flush()

    def end(self, what: str) -> None:
        """Write how it ended."""
        start = _CLEAR_LINE if self.stream.isatty() else ""
        self.stream.write(f"{start}{self.label}: {what}\n")
        self.stream.flush()
