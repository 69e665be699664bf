"""What the logger of the package is told, in the processes that the tests start."""

from __future__ import annotations

import logging


class Messages(logging.Handler):
    """Keeps the messages of ``lowering_hooks`` from INFO on."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, str]] = []
        log = logging.getLogger("lowering_hooks")
        log.addHandler(self)
        log.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelname, record.getMessage()))

    def infos(self) -> list[str]:
        return [text for level, text in self.records if level == "INFO"]

    def warnings(self) -> list[str]:
        # On 2.3 and 2.4 the set proxy says once what it cannot do: test_set_proxy.py.
        untold = "only: on this PyTorch the strides of ops tagged"
        return [text for level, text in self.records if level == "WARNING" and untold not in text]
