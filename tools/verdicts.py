"""What a session claims, and whether it holds: the words and the table that every page has for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from lowering_hooks.cli.tables import table

# Says on a page that a claim does not hold.
FAILS: Final = "FAILS"


class Verdict(NamedTuple):
    """One claim.

    Attributes:
        claim: What must hold.
        holds: Whether it did; None where nothing was found out about it.
        seen: What was seen, in a few words; may be empty.
    """

    claim: str
    holds: bool | None
    seen: str = ""

    @property
    def word(self) -> str:
        """``holds``, ``FAILS`` or ``no verdict``."""
        return {True: "holds", False: FAILS, None: "no verdict"}[self.holds]

    def __str__(self) -> str:
        return f"{self.word}: {self.claim} ({self.seen})" if self.seen else f"{self.word}: {self.claim}"


def claims(verdicts: Iterable[Verdict]) -> str:
    """Return the table of claims, in Markdown."""
    rows = [(verdict.claim, verdict.word, verdict.seen) for verdict in verdicts]
    return table(("claim", "verdict", "seen"), rows)


def held(verdicts: Iterable[Verdict]) -> str:
    """Return how many claims hold, and those that fail."""
    verdicts = list(verdicts)
    failing = [verdict.claim for verdict in verdicts if not verdict.holds]
    said = f"{len(verdicts) - len(failing)} of {len(verdicts)} claims hold"
    return f"{said}; not: {'; '.join(failing)}" if failing else said
