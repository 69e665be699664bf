"""A count of one is followed by the singular."""

from __future__ import annotations

import pytest

from lowering_hooks.cli import demo
from lowering_hooks.describe.words import counted
from lowering_hooks.records import in_words


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes"), (20_000, "20,000 nodes")]
)
def test_numbers(number: int, text: str) -> None:
    """A noun stands in the singular after a count of one, and in the plural after any other."""
    assert counted(number, "node") == text


def test_a_report_of_one_character() -> None:
    """A report counts one character in the singular."""
    assert (in_words(1), in_words(2)) == ("1 character", "2 characters")


def test_a_demo_of_one_layer() -> None:
    """The demo counts one layer in the singular."""
    outcome = demo.Outcome("2.12.1", 1, 1, 60.0, (), ())
    assert "compile of 1 layer " in str(outcome)
