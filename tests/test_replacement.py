"""An attribute is replaced, and put back only where the replacement still stands."""

from __future__ import annotations

from typing import Any

from lowering_hooks.replacement import Replacement


class Owner:
    attribute = "original"


def _raise(_: object) -> Any:
    raise RuntimeError("no attributes")


# Does not say what it holds.
Closed = type("Closed", (Owner,), {"__dict__": property(_raise)})


def test_an_attribute_that_was_not_there() -> None:
    """It is gone again."""
    owner = Owner()
    replacement = Replacement(owner, "attribute", "new")
    replacement.put()
    assert owner.attribute == "new"
    replacement.put_back()
    assert vars(owner) == {}


def test_an_owner_that_does_not_tell() -> None:
    """Nothing is known to stand there, so nothing is put back."""
    owner = Owner()
    replacement = Replacement(owner, "attribute", "new", "old")
    replacement.put()
    owner.__class__ = Closed
    assert replacement.standing() is None
    replacement.put_back()
    assert owner.attribute == "new"
