"""What can be asked for, and what follows from it without looking at Inductor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .inductor.versions import torch_is_there

if TYPE_CHECKING:
    from .compat import Choice, Strategy
    from .inductor.modules import Inductor
    from .settings import BoundedIRMode
    from .status import Idle, State

# The strategies that hook something, and "auto", which leaves the choice to `compat`.
Hookable = Literal["auto", "call_function", "set_proxy"]


class AskedStrategy(NamedTuple):
    """The strategy that was asked for last.

    Every request makes a new one, and identity tells whether it was settled.

    Attributes:
        strategy: What is to be hooked; None where nothing is.
        otherwise: What the status says while nothing is hooked.
    """

    strategy: Hookable | None
    otherwise: Idle

    @property
    def needs_inductor(self) -> bool:
        """Whether the request can only be settled for a loaded Inductor."""
        return self.strategy is not None


class AskedTexts(NamedTuple):
    """Which texts of IR nodes are to be bounded, as was asked for last.

    Every request makes a new one, and identity tells whether it was settled.
    """

    mode: BoundedIRMode

    @property
    def needs_inductor(self) -> bool:
        """Whether the request can only be settled for a loaded Inductor."""
        return self.mode is not False


class Asked(NamedTuple):
    """What is asked for, as a whole: one assignment replaces it, whoever comes in between.

    Attributes:
        strategy: The strategy.
        texts: Which texts of IR nodes are to be bounded.
    """

    strategy: AskedStrategy
    texts: AskedTexts

    @property
    def needs_inductor(self) -> bool:
        """Whether a part of it can only be settled for a loaded Inductor."""
        return self.strategy.needs_inductor or self.texts.needs_inductor

    def is_same_as(self, other: Asked) -> bool:
        """Whether nothing was asked for anew since ``other``."""
        return self.strategy is other.strategy and self.texts is other.texts


def differs(
    asked: AskedStrategy | AskedTexts,
    settled: tuple[AskedStrategy | AskedTexts, Inductor | None],
    inductor: Inductor | None,
) -> bool:
    """Whether there is something to do since ``settled``: another request, or another Inductor."""
    settled_request, settled_for = settled
    if not asked.needs_inductor:
        return settled_request is not asked
    if inductor is None:
        return False
    return settled_request is not asked or settled_for is None or not inductor.is_same_as(settled_for)


def plan(request: Hookable, choice: Choice) -> tuple[tuple[Strategy, ...], str, str]:
    """Return the strategies to try, in order, why, and an advice where a better one could be had."""
    if request != "auto":
        return (request,), f"strategy {request} was asked for", ""
    tried: tuple[Strategy, ...] = (choice.strategy,)
    if choice.strategy != "set_proxy":
        tried += ("set_proxy",)
    return tried, choice.reason, "" if choice.verified else choice.reason


def expected(request: Hookable, version: str | None, choice: Choice) -> tuple[State, Strategy, str]:
    """Return the state, strategy and reason while Inductor is not imported."""
    waiting = "torch._inductor.graph is not imported yet"
    if version is None and not torch_is_there():
        return "inactive", "none", "PyTorch is not installed here"
    if version is None and request == "auto":
        return "pending", "none", f"{waiting}; the version of PyTorch will be known then"
    strategies, why, _ = plan(request, choice)
    return "pending", strategies[0], f"{waiting}; {why}"
