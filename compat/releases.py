"""The table of verified PyTorch release series, and the choice of a strategy from a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from packaging.version import InvalidVersion, Version

Strategy = Literal["call_function", "set_proxy", "none"]
LogText = Literal["eager", "lazy"]


@dataclass(frozen=True)
class Release:
    """One verified release series.

    Attributes:
        series: Major and minor number, such as ``"2.12"``.
        verified_with: The release of that series that the test suite ran against.
        strategy: How the series is hooked.
        log_text: Whether ``call_function`` builds the text of "Creating implicit fallback" always
            (``"eager"``) or only for a handler that wants INFO (``"lazy"``, a ``LazyString``).
    """

    series: str
    verified_with: str
    strategy: Strategy
    log_text: LogText


# Newest first.  The nox sessions take their versions from here.
RELEASES: Final[tuple[Release, ...]] = (
    # The text became a LazyString: torch/_inductor/graph.py, call_function.
    Release("2.13", "2.13.0", "call_function", "lazy"),
    # make_fallback takes get_decomp_fn from here on; the original function passes it, so do we.
    Release("2.12", "2.12.1", "call_function", "eager"),
)


@dataclass(frozen=True)
class Choice:
    """What :func:`choose` decided.

    Attributes:
        strategy: The strategy for that version.
        reason: One sentence that says why, and what to do about it where something can be done.
        verified: Whether the version belongs to a series of :data:`RELEASES`.
    """

    strategy: Strategy
    reason: str
    verified: bool


def release_of(version: str) -> Release | None:
    """Return the row of the series that ``version`` belongs to, or None where nobody verified it.

    Local, vendor, nightly and pre-releases (``2.12.1+cu130``, ``2.13.0a0+nv26.1``,
    ``2.13.0.dev20260301``) belong to the series of their number.
    """
    series = _series_of(version)
    return next((row for row in RELEASES if row.series == series), None)


def choose(version: str) -> Choice:
    """Choose the strategy for the PyTorch version ``version``.

    A pure function of the string.  Never raises: whatever is not a verified version gets
    ``set_proxy``, with a reason that says so.
    """
    row = release_of(version)
    if row is not None:
        return Choice(
            row.strategy,
            f"PyTorch {version} belongs to series {row.series}, verified with {row.verified_with}",
            verified=True,
        )
    series = _series_of(version)
    verified = ", ".join(row.series for row in reversed(RELEASES))
    if series is None:
        what = f"{str(version)!r} is no version number that packaging.version can read"
    elif Version(series) > Version(RELEASES[0].series):
        what = f"PyTorch {version} is newer than the verified series ({verified})"
    else:
        what = f"PyTorch {version} is not of a verified series ({verified})"
    return Choice(
        "set_proxy",
        f"{what}; upgrade lowering-hooks for a table that has it, or set "
        "LOWERING_HOOKS_STRATEGY=call_function to hook call_function unverified",
        verified=False,
    )


def _series_of(version: str) -> str | None:
    try:
        parsed = Version(str(version))
    except InvalidVersion:
        return None
    return f"{parsed.major}.{parsed.minor}"
