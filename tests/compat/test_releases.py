"""The choice of a strategy from a version, and the table that it is read from."""

from __future__ import annotations

import sys

import pytest
import torch
from packaging.version import Version

from lowering_hooks import compat

VERIFIED = [row.series for row in compat.RELEASES]


@pytest.mark.parametrize(
    ("version", "series"),
    [
        # PyPI and PyTorch's own index
        ("2.0.0", "2.0"),
        ("2.0.1+cu117", "2.0"),
        ("2.0.1+cpu", "2.0"),
        ("2.0.1+cpu.cxx11.abi", "2.0"),
        ("2.1.2+cu118", "2.1"),
        ("2.2.0+rocm5.7", "2.2"),
        ("2.3.1+cu121", "2.3"),
        ("2.4.1+cu124", "2.4"),
        ("2.5.1+cxx11.abi", "2.5"),
        ("2.5.1+cpu", "2.5"),
        ("2.6.0+xpu", "2.6"),
        ("2.6.0+rocm6.2.4", "2.6"),
        ("2.7.1+cu128", "2.7"),
        ("2.8.0+cu129", "2.8"),
        ("2.9.1+cu130", "2.9"),
        ("2.12.1+cu130", "2.12"),
        ("2.13.0+rocm7.2", "2.13"),
        ("2.15.0+cu132", "2.15"),
        # release candidates and nightlies
        ("2.1.0rc5", "2.1"),
        ("2.9.0rc9+cu130", "2.9"),
        ("2.3.0.dev20240122+cu121", "2.3"),
        ("2.7.0.dev20250310+cu126", "2.7"),
        ("2.13.0.dev20260301+cpu", "2.13"),
        ("2.14.0.dev20260801", "2.14"),
        # NVIDIA's containers
        ("2.1.0a0+b5021ba", "2.1"),
        ("2.2.0a0+81ea7a4", "2.2"),
        ("2.3.0a0+ebedce2", "2.3"),
        ("2.4.0a0+07cecf4168.nv24.5", "2.4"),
        ("2.6.0a0+ecf3bae40a.nv25.1", "2.6"),
        ("2.7.0a0+7c8ec84dab.nv25.3", "2.7"),
        ("2.9.0a0+145a3a7bda.nv25.10", "2.9"),
        ("2.9.0a0+nv25.9", "2.9"),
        # AMD's containers, Jetson, Intel, conda, a build from git
        ("2.3.0a0+git96dd291", "2.3"),
        ("2.7.0a0+git295f2ed", "2.7"),
        ("2.8.0+rocm7.0.0.lw.git64359f59", "2.8"),
        ("2.5.0a0+872d972e41.nv24.08", "2.5"),
        ("2.1.0.post0+cxx11.abi", "2.1"),
        ("2.4.0.post301", "2.4"),
        ("2.10.0a0+git1a2b3c4", "2.10"),
        ("v2.13.0", "2.13"),
    ],
)
def test_versions_of_a_series(version: str, series: str) -> None:
    """Local, vendor and pre-releases belong to their series."""
    choice = compat.choose(version)
    assert choice.strategy == "call_function"
    assert choice.verified
    assert f"series {series}," in choice.reason
    assert version in choice.reason
    release = compat.release_of(version)
    assert release is not None
    assert release.series == series


@pytest.mark.parametrize("version", ["2.120.0", "1.13.1", "3.0.0", "2.99.0.dev20300101", "12.13.0"])
def test_an_unverified_version(version: str) -> None:
    """It takes the set proxy, and the reason says what can be done."""
    choice = compat.choose(version)
    assert choice.strategy == "set_proxy"
    assert not choice.verified
    assert version in choice.reason
    assert "LOWERING_HOOKS_STRATEGY=call_function" in choice.reason
    newer = Version(version) > Version(VERIFIED[0])
    assert (f"newer than {VERIFIED[0]}, the last verified series" in choice.reason) is newer


@pytest.mark.parametrize("version", ["", "unknown", "2.12.x", "None", "git-1a2b3c", "2,12"])
def test_a_version_that_cannot_be_read(version: str) -> None:
    """It takes the set proxy, and the reason names it."""
    choice = compat.choose(version)
    assert choice.strategy == "set_proxy"
    assert not choice.verified
    assert repr(version) in choice.reason


def test_without_packaging(monkeypatch) -> None:
    """A broken install of packaging takes the set proxy, and the reason tells what is broken."""

    def import_it():
        raise ImportError("no module named packaging")

    monkeypatch.setattr("lowering_hooks.compat.releases._packaging_version", import_it)
    choice = compat.choose("2.12.1")
    assert (choice.strategy, choice.verified) == ("set_proxy", False)
    assert (
        "cannot be read: ImportError: no module named packaging; install the package packaging again"
        in choice.reason
    )


@pytest.mark.parametrize(
    ("version", "helps"),
    [("2.99.0", True), ("3.0", True), ("1.13.1", False), ("main", False), ("0+unknown", False)],
)
def test_the_advice_for_an_unverified_version(version, helps) -> None:
    """An upgrade is for a PyTorch that a later table may have; the strategy is for any."""
    choice = compat.choose(version)
    assert choice.upgrade_may_help is helps
    assert ("upgrade lowering-hooks" in choice.reason) is helps
    assert choice.reason.endswith(
        "set LOWERING_HOOKS_STRATEGY=call_function to hook call_function unverified"
    )


def test_a_gap_in_the_table(monkeypatch) -> None:
    """A series in it is of no verified series, and is not newer than the last one either."""
    rows = [row for row in compat.RELEASES if row.series in ("2.15", "2.12", "2.9", "2.4")]
    monkeypatch.setattr("lowering_hooks.compat.releases.RELEASES", rows)
    for version, what in [
        ("2.14.1", "upgrade"),
        ("2.11.0", "upgrade"),
        ("2.5.1", "upgrade"),
        ("2.3.0", "set"),
    ]:
        reason = compat.choose(version).reason
        assert f"PyTorch {version} does not belong to a verified series (2.4 to 2.15); {what} " in reason
    assert "2.16.0 is newer than 2.15, the last verified series" in compat.choose("2.16.0").reason


def test_nothing_is_imported_twice(monkeypatch) -> None:
    """The first call imports what it takes; a later one may come where nothing may be imported."""
    assert compat.choose("2.12.1").verified
    for name in ("packaging", "packaging.version"):
        monkeypatch.setitem(sys.modules, name, None)
    assert compat.choose("2.12.1").verified


def test_the_table() -> None:
    """It is newest first, and each row names a release of its series."""
    assert [Version(s) for s in VERIFIED] == sorted({Version(s) for s in VERIFIED}, reverse=True)
    for row in compat.RELEASES:
        assert compat.release_of(row.verified_with) is row
        assert row.log_text in ("eager", "lazy")
        assert row.pythons


def test_the_installed_pytorch() -> None:
    """It is in the table, or the table wants a row."""
    version = torch.__version__
    release = compat.release_of(version)
    assert release is not None, (
        f"PyTorch {version} is of no series in compat/releases.py: run nox -s new-release"
    )
