"""A row for a PyTorch release that the table lacks: when it is needed, how it reads, and the copy that has it."""

from __future__ import annotations

import ast
import filecmp
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import InvalidVersion

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "new_release.py"

with pytest.MonkeyPatch.context() as paths:
    # The tool puts the checkout in front, where the tests of an install must not find it.
    paths.syspath_prepend(ROOT)
    from new_release import copy_checkout, look_up, row_for, row_source

    from compat import RELEASES, Release

TABLE = Path("compat", "releases.py")
NEWEST = RELEASES[0]
MAJOR, MINOR = map(int, NEWEST.series.split("."))
NEXT_SERIES = f"{MAJOR}.{MINOR + 1}"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def read_back(source: str) -> Release:
    """Return the row that ``source``, an element of the table, makes."""
    call = ast.parse(source.removesuffix(","), mode="eval").body
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) == "Release"
    return Release(*map(ast.literal_eval, call.args))


@pytest.mark.parametrize("row", RELEASES, ids=lambda row: row.series)
def test_source_of_a_row(row: Release) -> None:
    """A row is written as it stands in the table, and reads back equal."""
    source = row_source(row)
    assert f"    {source}\n" in (ROOT / TABLE).read_text()
    assert read_back(source) == row


def test_source_of_two_pythons() -> None:
    """A row of two Pythons reads back equal."""
    row = NEWEST._replace(pythons=("3.11", "3.13"))
    assert read_back(row_source(row)) == row


@pytest.mark.parametrize("row", RELEASES, ids=lambda row: row.series)
def test_known_release(row: Release) -> None:
    """A release of the table is known, whatever build of it."""
    for version in (row.verified_with, f"{row.verified_with}+cu130"):
        answer = look_up(version)
        assert answer.known
        assert answer.row is row
        assert answer.text == f"PyTorch {version} is in the table: {row_source(row)}"


@pytest.mark.parametrize("version", ["2.14.0", "2.12.0+cpu", "2.12.1a0+nv26.1", "2.12.1.dev20260301"])
def test_older_patch_release(version: str) -> None:
    """A release, or a build, from before the one of the table is known, and is told to be older."""
    answer = look_up(version)
    assert answer.known
    assert answer.row in RELEASES
    assert answer.row.series == version[:4]
    assert answer.text.startswith(f"PyTorch {version} is older than {answer.row.verified_with}")


def test_newer_patch_release() -> None:
    """A newer release of a series is not known; its row is that of the series but for the release and Python."""
    known = next(row for row in RELEASES if row.series == "2.7")
    answer = look_up("2.7.9+cpu")
    assert not answer.known
    assert answer.row == known._replace(verified_with="2.7.9", pythons=(HERE,))
    assert f"newer than {known.verified_with}" in answer.text


@pytest.mark.parametrize("version", [f"{NEXT_SERIES}.0", f"{NEXT_SERIES}.0.dev20270101+cpu"])
def test_new_series(version: str) -> None:
    """The row of a series that the table lacks is the newest row but for the series, the release and Python."""
    answer = look_up(version)
    assert not answer.known
    assert answer.row == row_for(version)
    assert answer.row == NEWEST._replace(
        series=NEXT_SERIES, verified_with=f"{NEXT_SERIES}.0", pythons=(HERE,)
    )
    assert f"series {NEXT_SERIES}, and the table has 2.0 to {NEWEST.series}" in answer.text


def test_no_version() -> None:
    """A text that is no version is refused."""
    with pytest.raises(InvalidVersion):
        look_up("the newest")


def rows_read_by(folder: Path) -> list[str]:
    """Return the rows that a Python started in ``folder`` reads from the table there."""
    code = "import compat; print(*compat.RELEASES, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def changed(copy: Path) -> list[Path]:
    """Return what differs between the checkout and its copy, and check that the copy has all that git tracks."""
    names = ["lowering_hooks", "compat", "tests", "tools", "docs", "benchmarks"]
    found = [file.relative_to(copy) for file in copy.rglob("*") if file.is_file()]
    assert {file.parts[0] for file in found} >= {*names, "pyproject.toml", "README.md", "LICENSE"}
    for name in names:
        here = {file.relative_to(ROOT) for file in (ROOT / name).rglob("*.py")}
        assert here == {file for file in found if file.parts[0] == name and file.suffix == ".py"}
    return [file for file in found if not filecmp.cmp(ROOT / file, copy / file, shallow=False)]


@pytest.mark.parametrize("version", [f"{NEXT_SERIES}.0", "2.7.9", "2.0.9"])
def test_copy(tmp_path: Path, version: str) -> None:
    """The copy of the checkout has the new row, in its place, and differs in nothing else."""
    row = look_up(version).row
    copy = tmp_path / "checkout"
    copy_checkout(copy, row)
    assert changed(copy) == [TABLE]
    before, after = list(RELEASES), rows_read_by(copy)
    if row.series == NEXT_SERIES:
        before.insert(0, row)
    else:
        before = [row if old.series == row.series else old for old in before]
    assert after == [str(expected) for expected in before]


def test_copy_with_a_known_row(tmp_path: Path) -> None:
    """A copy with a row that the table has differs in nothing from the checkout."""
    copy_checkout(tmp_path / "checkout", NEWEST)
    assert changed(tmp_path / "checkout") == []


def test_copy_has_nothing_that_git_ignores(tmp_path: Path) -> None:
    """A copy has nothing that git ignores."""
    copy_checkout(tmp_path / "checkout", NEWEST)
    names = {file.name for file in (tmp_path / "checkout").rglob("*")}
    assert not names & {".git", ".nox", ".venv", "__pycache__", "build", ".pytest_cache"}


def test_copy_replaces_nothing(tmp_path: Path) -> None:
    """No copy is made into a folder that exists."""
    with pytest.raises(FileExistsError):
        copy_checkout(tmp_path, NEWEST)
    assert list(tmp_path.iterdir()) == []


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False
    )


def test_command(tmp_path: Path) -> None:
    """The command says what the table has, and makes a copy where it is given a folder."""
    known = command(NEWEST.verified_with)
    assert (known.returncode, known.stdout) == (0, look_up(NEWEST.verified_with).text + "\n")
    version, copy = f"{NEXT_SERIES}.0", tmp_path / "checkout"
    new = command(version, str(copy))
    source = row_source(row_for(version))
    assert new.returncode == 0
    assert f"Its row:\n    {source}\n" in new.stdout
    assert rows_read_by(copy)[0] == str(row_for(version))


@pytest.mark.parametrize("arguments", [[], ["2.15.0", "folder", "more"], ["the newest"]])
def test_wrong_command(arguments: list[str]) -> None:
    """A wrong command prints how to use it, and exits with status 2."""
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
