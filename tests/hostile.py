"""An allow list of another library that answers only what Inductor asks it."""

from __future__ import annotations

from typing import Any


class HostileSet:
    """Has the members of another set, and raises for everything else."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __contains__(self, name: object) -> bool:
        return name in self.inner

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)
