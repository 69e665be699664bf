"""What stands, and how the status tells it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from .describe.words import html_table

if TYPE_CHECKING:
    from .compat import Strategy
    from .hooks import Hook

State = Literal["pending", "active", "removed", "inactive", "displaced"]
# How the texts of IR nodes are bounded; "pending" where Inductor, whose nodes they are, is not loaded yet.
BoundedIRState = Literal["auto", True, False, "pending"]

_ON_OFF: Final[dict[Any, str]] = {True: "on", False: "off"}


class Idle(NamedTuple):
    """Nothing is hooked, and why.

    Attributes:
        state: ``"pending"``, ``"removed"`` or ``"inactive"``.
        reason: Why, in a sentence.
    """

    state: State
    reason: str


class Hooked(NamedTuple):
    """A hook stands in the loaded Inductor.

    Attributes:
        hook: The hook.
        reason: Why it is this one.
        earlier: The hooks, newest last, of Inductors that were loaded before this one.  Modules that imported
            from those may still compile with them.
        problem: Why what was asked for since is not hooked; empty where it is.
    """

    hook: Hook
    reason: str
    earlier: tuple[Hook, ...] = ()
    problem: str = ""


class Status(NamedTuple):
    """What lowering-hooks did in this process, and why.

    Attributes:
        version: The version of lowering-hooks that is installed; None where none is.  A checkout may run in
            its place: ``lowering_hooks.__version__`` is the version of the code that runs.
        torch_version: The version of PyTorch, loaded or installed; None where none is known.
        strategy: ``"call_function"``, ``"set_proxy"`` or ``"none"``; while the state is ``"pending"``, the
            one that will be tried, as far as it is known.
        state: ``"pending"`` (Inductor is not imported yet), ``"active"``, ``"removed"``, ``"inactive"``
            (no strategy is hooked) or ``"displaced"`` (another library replaced the hook).
        reason: Why the state is what it is, in a sentence.
        namespaces: The allowed namespaces, here and now.
        conflicts: What other libraries have done to the same places, and what that means; one sentence each.
        bounded_ir: Whether the texts of IR nodes themselves are bounded: ``"auto"`` (those that would pass
            100,000 characters), True (all), False (none), or ``"pending"`` where ``"auto"`` or True is asked
            for and Inductor is not imported yet.
    """

    version: str | None
    torch_version: str | None
    strategy: Strategy
    state: State
    reason: str
    namespaces: frozenset[str]
    conflicts: tuple[str, ...]
    bounded_ir: BoundedIRState

    def __str__(self) -> str:
        return "\n".join(
            f"{label:14}  {text}"
            for heading, values in self._rows().items()
            for label, text in zip((heading, *("",) * len(values)), values, strict=False)
        )

    def _repr_pretty_(self, printer: Any, _cycle: object) -> None:
        """Show the status in IPython as ``print`` does."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Show the status in a notebook as a table."""
        return html_table([(label, "\n".join(values)) for label, values in self._rows().items()])

    def _rows(self) -> dict[str, tuple[str, ...]]:
        return {
            "lowering-hooks": (self.version or "not installed",),
            "PyTorch": (self.torch_version or "not installed",),
            "strategy": (self.strategy,),
            "state": (self.state,),
            "reason": (self.reason,),
            "namespaces": (", ".join(sorted(self.namespaces)) or "none",),
            "conflicts": self.conflicts or ("none",),
            "bounded IR": (_ON_OFF.get(self.bounded_ir, str(self.bounded_ir)),),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes, and the version of Python, as JSON has them."""
        return self._asdict() | {
            "namespaces": sorted(self.namespaces),
            "conflicts": list(self.conflicts),
            "python_version": sys.version.split()[0],
        }
