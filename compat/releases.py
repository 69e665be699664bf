"""The table of verified PyTorch release series, and the choice of a strategy from a version."""

from __future__ import annotations

import functools
import types
from typing import Final, Literal, NamedTuple

Strategy = Literal["call_function", "set_proxy", "none"]
LogText = Literal["eager", "lazy"]
LayoutConstraint = Literal["none", "on arguments", "tag or contiguous", "tag", "tag or default"]


class Release(NamedTuple):
    """One verified release series.

    Attributes:
        series: Major and minor number, such as ``"2.12"``.
        verified_with: The release of that series that the test suite ran against.
        pythons: The Python versions that the test suite ran on, such as ``("3.11",)``.
        strategy: How the series is hooked.
        log_text: Whether ``call_function`` always builds the text of "Creating implicit fallback"
            (``"eager"``) or only for a handler that wants INFO (``"lazy"``, a ``LazyString``).
        layout_constraint: Which layout constraint ``call_function`` decides on for a custom op in its
            implicit fallback and not for an op of the allow list; ``set_proxy`` has to make up for it.

            ``"none"``: none.
            ``"on arguments"``: the function itself constrains the arguments that an op tagged
            ``needs_fixed_stride_order`` is called with; nothing that is recorded beforehand does the same.
            ``"tag or contiguous"``: the constraint of the op's tag, else contiguous arguments.
            ``"tag"``: the constraint of the op's tag.
            ``"tag or default"``: the constraint of the op's tag, else the one that
            ``custom_op_default_layout_constraint`` of ``torch._functorch.config`` names.
    """

    series: str
    verified_with: str
    pythons: tuple[str, ...]
    strategy: Strategy
    log_text: LogText
    layout_constraint: LayoutConstraint


# `choose` and `release_of` look a version up here, and the nox sessions take theirs from here.  The newest
# series is first.  A comment says how call_function (torch/_inductor/graph.py) differs from that of the older
# series.  No difference needs code of its own under the strategy call_function: its hook calls the original.
RELEASES: Final[tuple[Release, ...]] = (
    Release("2.15", "2.15.0", ("3.11",), "call_function", "lazy", "tag or default"),
    Release("2.14", "2.14.1", ("3.13",), "call_function", "lazy", "tag or default"),
    # The text became a LazyString.
    Release("2.13", "2.13.0", ("3.11",), "call_function", "lazy", "tag or default"),
    # make_fallback takes get_decomp_fn from here on.
    Release("2.12", "2.12.1", ("3.11",), "call_function", "eager", "tag or default"),
    Release("2.11", "2.11.0", ("3.12",), "call_function", "eager", "tag or default"),
    Release("2.10", "2.10.0", ("3.11",), "call_function", "eager", "tag or default"),
    Release("2.9", "2.9.1", ("3.11",), "call_function", "eager", "tag or default"),
    # get_layout_constraint_tag, now in torch._library.utils, reads the tag.  needs_exact_strides is new, and
    # the default: untagged ops get the strides that they had in eager.
    Release("2.8", "2.8.0", ("3.11",), "call_function", "eager", "tag or default"),
    # The allow list is an OrderedSet.  An untagged custom op gets no constraint any more.
    Release("2.7", "2.7.1", ("3.11",), "call_function", "eager", "tag"),
    # call_function applies constraints itself, after it has made the fallback.  It makes the fallbacks of ops
    # of the allow list with override_decomp.
    Release("2.6", "2.6.0", ("3.11",), "call_function", "eager", "tag or contiguous"),
    # run_node looks at the tags, before call_function, for both branches.  flexible_layout is new.
    Release("2.5", "2.5.1", ("3.11",), "call_function", "eager", "none"),
    # From 2.3 on, call_function constrains the arguments before it builds the text from them.
    Release("2.4", "2.4.1", ("3.11",), "call_function", "eager", "on arguments"),
    Release("2.3", "2.3.1", ("3.11",), "call_function", "eager", "on arguments"),
    Release("2.2", "2.2.2", ("3.11",), "call_function", "eager", "none"),
    # call_function raises the error of a lowering from None; 2.0 chained it.
    Release("2.1", "2.1.2", ("3.11",), "call_function", "eager", "none"),
    # torch.compile refuses Python 3.11.
    Release("2.0", "2.0.1", ("3.10",), "call_function", "eager", "none"),
)


class Choice(NamedTuple):
    """What :func:`choose` decided.

    Attributes:
        strategy: The strategy for that version.
        reason: One sentence that says why, and what to do about it where something can be done.
        verified: Whether the version belongs to a series of :data:`RELEASES`.
        upgrade_may_help: Whether a later table may have the version, which is not older than all of this one.
    """

    strategy: Strategy
    reason: str
    verified: bool
    upgrade_may_help: bool = False


def release_of(version: str) -> Release | None:
    """Return the row of the series that ``version`` belongs to; None where :data:`RELEASES` has no such row.

    Local, vendor, nightly and pre-releases belong to the series of their number.

    Args:
        version: A version of PyTorch, such as ``2.12.1+cu130``, ``2.13.0a0+nv26.1`` or
            ``2.13.0.dev20260301``.
    """
    series = _series_of(version)
    return next((row for row in RELEASES if row.series == series), None)


def choose(version: str) -> Choice:
    """Choose the strategy for a version of PyTorch.  Never raises.

    The choice depends on the text alone.  A version that is of no verified series, or no version at all, gets
    ``set_proxy``, with a reason that says so.

    Args:
        version: The version, as for :func:`release_of`.
    """
    try:
        packaging = _packaging_version()
    except Exception as error:
        problem = f"the version of PyTorch cannot be read: {type(error).__name__}: {error}"
        return Choice("set_proxy", f"{problem}; install the package packaging again", verified=False)
    row = release_of(version)
    if row is not None:
        return Choice(
            row.strategy,
            f"PyTorch {version} belongs to series {row.series}, verified with {row.verified_with}",
            verified=True,
        )
    series = _series_of(version)
    oldest, newest = RELEASES[-1].series, RELEASES[0].series
    if series is None:
        return _unverified(f"{str(version)!r} is no version number that packaging.version can read")
    if packaging.Version(series) > packaging.Version(newest):
        what = f"PyTorch {version} is newer than {newest}, the last verified series"
    else:
        what = f"PyTorch {version} does not belong to a verified series ({oldest} to {newest})"
    return _unverified(what, upgrade_may_help=packaging.Version(series) > packaging.Version(oldest))


def _unverified(what: str, *, upgrade_may_help: bool = False) -> Choice:
    upgrade = "upgrade lowering-hooks for a table that has it, or " if upgrade_may_help else ""
    advice = f"{upgrade}set LOWERING_HOOKS_STRATEGY=call_function to hook call_function unverified"
    return Choice("set_proxy", f"{what}; {advice}", verified=False, upgrade_may_help=upgrade_may_help)


def _series_of(version: str) -> str | None:
    """Return major and minor number, such as ``"2.12"``; None where ``version`` is no version."""
    packaging = _packaging_version()
    try:
        parsed = packaging.Version(str(version))
    except packaging.InvalidVersion:
        return None
    return f"{parsed.major}.{parsed.minor}"


@functools.cache
def _packaging_version() -> types.ModuleType:
    """Return ``packaging.version``, which the first call imports.

    The import takes a while, and a process that never imports PyTorch is spared it.  A later call imports
    nothing, so it may come where nothing may be imported.
    """
    import packaging.version

    return packaging.version
