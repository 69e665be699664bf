"""How the texts of IR nodes are said to be bounded; what stands is tested by what the manager does."""

from __future__ import annotations

from lowering_hooks.asked import AskedTexts
from lowering_hooks.standing import StandingTexts


def test_the_state_of_texts() -> None:
    """What is asked for is pending until it is settled; nothing is not."""
    nothing = AskedTexts(mode=False)
    texts = StandingTexts(nothing)
    assert texts.state(nothing) is False
    assert texts.state(AskedTexts(mode=False)) is False
    for mode in ("auto", True):
        assert texts.state(AskedTexts(mode)) == "pending"
