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
        pythons: The Python versions that it ran on, such as ``("3.11",)``.
        strategy: How the series is hooked.
        log_text: Whether ``call_function`` builds the text of "Creating implicit fallback" always
            (``"eager"``) or only for a handler that wants INFO (``"lazy"``, a ``LazyString``).
        layout_constraint: What ``call_function`` decides for a custom op in its implicit fallback and not for
            an op of the allow list, so what ``set_proxy`` has to make up for.

            ``"none"``: nothing.
            ``"on arguments"``: the arguments at hand of an op tagged ``needs_fixed_stride_order`` are
            constrained within the function; nothing recorded beforehand does the same.
            ``"tag or contiguous"``: as the op is tagged, else contiguous arguments.
            ``"tag"``: as the op is tagged.
            ``"tag or default"``: as the op is tagged, else by ``custom_op_default_layout_constraint`` of
            ``torch._functorch.config``.
    """

    series: str
    verified_with: str
    pythons: tuple[str, ...]
    strategy: Strategy
    log_text: LogText
    layout_constraint: LayoutConstraint


# Newest first.  The nox sessions take their versions from here.  call_function stands in
# torch/_inductor/graph.py.  The notes say where it differs from the older ones; no difference needs code of
# its own under the strategy call_function, since the original function runs.
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
    # The tag is read by get_layout_constraint_tag, now in torch._library.utils.  needs_exact_strides is new,
    # and the default: untagged ops get the strides that they had in eager.
    Release("2.8", "2.8.0", ("3.11",), "call_function", "eager", "tag or default"),
    # The allow list is an OrderedSet.  An untagged custom op gets no constraint any more.
    Release("2.7", "2.7.1", ("3.11",), "call_function", "eager", "tag"),
    # Constraints are applied within call_function, after the fallback is made.  Ops of the allow list are
    # made with override_decomp.
    Release("2.6", "2.6.0", ("3.11",), "call_function", "eager", "tag or contiguous"),
    # Tags are looked at in run_node, before call_function, for both branches.  flexible_layout is new.
    Release("2.5", "2.5.1", ("3.11",), "call_function", "eager", "none"),
    # The arguments are constrained before the text is built from them, from 2.3 on.
    Release("2.4", "2.4.1", ("3.11",), "call_function", "eager", "on arguments"),
    Release("2.3", "2.3.1", ("3.11",), "call_function", "eager", "on arguments"),
    Release("2.2", "2.2.2", ("3.11",), "call_function", "eager", "none"),
    # An error of a lowering is raised from None; 2.0 chained it.
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
    try:
        packaging = _packaging_version()
    except Exception as error:
        return _unverified(f"the version of PyTorch cannot be read: {type(error).__name__}: {error}")
    row = release_of(version)
    if row is not None:
        return Choice(
            row.strategy,
            f"PyTorch {version} belongs to series {row.series}, verified with {row.verified_with}",
            verified=True,
        )
    series = _series_of(version)
    if series is None:
        what = f"{str(version)!r} is no version number that packaging.version can read"
    elif packaging.Version(series) > packaging.Version(RELEASES[0].series):
        what = f"PyTorch {version} is newer than {RELEASES[0].series}, the last verified series"
    else:
        oldest, newest = RELEASES[-1].series, RELEASES[0].series
        what = f"PyTorch {version} does not belong to a verified series ({oldest} to {newest})"
    return _unverified(what)


def _unverified(what: str) -> Choice:
    return Choice(
        "set_proxy",
        f"{what}; upgrade lowering-hooks for a table that has it, or set "
        "LOWERING_HOOKS_STRATEGY=call_function to hook call_function unverified",
        verified=False,
    )


def _series_of(version: str) -> str | None:
    packaging = _packaging_version()
    try:
        parsed = packaging.Version(str(version))
    except packaging.InvalidVersion:
        return None
    return f"{parsed.major}.{parsed.minor}"


@functools.cache
def _packaging_version() -> types.ModuleType:
    """Import ``packaging.version`` at the first call, and nothing at any later one.

    It is imported here for the time it takes: a process that never imports PyTorch need not know its version.
    Later calls may come where nothing may be imported.
    """
    import packaging.version

    return packaging.version
