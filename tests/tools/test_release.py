"""What decides whether a release is built, and what it is checked for.  Needs no PyTorch."""

from __future__ import annotations

import io
import tarfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from release import Checkout, differences, main, make_reproducible, problems, relative_links, show, version_of

import lowering_hooks

ROOT = Path(__file__).resolve().parents[2]
READY = Checkout("1.2.0", "# Changelog\n\n## 1.2.0 (2026-01-31)\n\n## 1.1.0 (unreleased)\n", "", ("v1.2.0",))
UNRELEASED = READY._replace(changelog="# Changelog\n\n## 1.2.0 (unreleased)\n", tags=())


def test_one_place_states_the_version() -> None:
    """The build reads the version that the package itself has, and no other file states one."""
    assert version_of((ROOT / "lowering_hooks" / "__init__.py").read_text()) == lowering_hooks.__version__
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later have it")
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in configured["project"]
    assert configured["project"]["dynamic"] == ["version"]
    assert configured["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "lowering_hooks.__version__"}}


def test_installed_version() -> None:
    """An install has the version that the package states."""
    try:
        installed = version("lowering-hooks")
    except PackageNotFoundError:
        pytest.skip("not installed")
    assert installed == lowering_hooks.__version__


def test_no_version() -> None:
    """A package that states no version is refused."""
    with pytest.raises(ValueError, match="states no __version__"):
        version_of("version = '1.0'")


@pytest.mark.parametrize(("checkout", "tag"), [(READY, "v1.2.0"), (READY, None), (UNRELEASED, None)])
def test_nothing_against_it(checkout: Checkout, tag: str | None) -> None:
    """A tagged commit may be released, and a commit without a tag, or without a day, may rehearse it."""
    assert problems(checkout, tag) == []


@pytest.mark.parametrize(
    ("checkout", "tag", "says"),
    [
        (READY._replace(changes=" M README.md\n"), None, "not committed:\n M README.md"),
        (
            READY._replace(version="1.3.0"),
            None,
            "'## 1.2.0 (2026-01-31)', and the package states version 1.3.0",
        ),
        (READY._replace(changelog="# Changelog\n"), None, "begins with nothing"),
        (READY._replace(changelog="## 1.2.0\n"), None, "begins with '## 1.2.0'"),
        (READY._replace(changelog="## 1.2.0 (soon)\n"), None, "'soon' for 1.2.0, where the day belongs"),
        (READY._replace(changelog="## 1.2.0 (20260131)\n"), None, "'20260131' for 1.2.0"),
        (READY._replace(changelog="## 1.2.0 (2026-02-30)\n"), None, "'2026-02-30' for 1.2.0"),
        (UNRELEASED._replace(tags=("v1.2.0",)), "v1.2.0", "'unreleased' for 1.2.0, where the day belongs"),
        (READY._replace(tags=("v1.2.1",)), "v1.2.1", "that of version 1.2.0 is v1.2.0"),
        (READY._replace(tags=("v1.1.0",)), "v1.2.0", "does not bear the tag v1.2.0"),
    ],
)
def test_against_it(checkout: Checkout, tag: str | None, says: str) -> None:
    """Each thing that does not agree is told in one sentence, and nothing else is."""
    (problem,) = problems(checkout, tag)
    assert says in problem


def test_every_problem_is_told() -> None:
    """Every problem is told, not only the first one."""
    checkout = Checkout("1.3.0", READY.changelog, "?? new.py\n", ())
    assert len(problems(checkout, "v1.2.0")) == 4


def test_differences() -> None:
    """A source distribution has the files of the repository and those that a build generates, and no other."""
    tracked = ["README.md", "tests/conftest.py", "lowering_hooks/__init__.py"]
    generated = ["PKG-INFO", "setup.cfg", "lowering_hooks.egg-info/SOURCES.txt"]
    assert differences([*tracked, *generated], tracked) == []
    assert differences([*tracked[1:], "notes.txt", "tests/PKG-INFO"], tracked) == [
        "The source distribution lacks README.md.",
        "The source distribution has notes.txt, which the repository does not track.",
        "The source distribution has tests/PKG-INFO, which the repository does not track.",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "[the pages](docs/README.md), [more](<../a.md>), ![a picture](p.svg)",
            ["docs/README.md", "../a.md", "p.svg"],
        ),
        ('<img src="docs/a.svg"> <a href=b.md>', ["docs/a.svg", "b.md"]),
        ("see [it][1]\n\n[1]: docs/a.md\n  [two]: <b.md> 'Title'\n", ["docs/a.md", "b.md"]),
        ("[on](https://pytorch.org/docs), [below](#use-it), `LICENSE`, f(x)", []),
        ("[plain](http://pytorch.org), [root](/docs)", ["http://pytorch.org", "/docs"]),
    ],
)
def test_relative_links(text: str, found: list[str]) -> None:
    """Links of every form that lead to no full address are found."""
    assert relative_links(text) == found


def test_long_description() -> None:
    """Nothing in the text that a package index shows leads to a file of the repository."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later have it")
    readme = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"]
    text = (ROOT / readme).read_text()
    assert text.startswith("# lowering-hooks\n")
    assert relative_links(text) == []


def archive(file: Path, order: list[str], *, owner: int, mtime: float, mode: int) -> bytes:
    """Make an archive of ``order``, with what depends on who makes it, run make_reproducible, and return it."""
    with tarfile.open(file, "w:gz") as made:
        for name in order:
            member = tarfile.TarInfo(name)
            member.uid = member.gid = owner
            member.uname = member.gname = f"user-{owner}"
            member.mtime, member.mode = mtime, mode
            if name == "top":
                member.type, member.mode = tarfile.DIRTYPE, mode | 0o111
                made.addfile(member)
            else:
                content = f"content of {name}".encode()
                member.size, member.mode = len(content), mode | (0o100 if name == "top/run" else 0)
                made.addfile(member, io.BytesIO(content))
    make_reproducible(file, 1_700_000_000)
    return file.read_bytes()


def test_make_reproducible(tmp_path: Path) -> None:
    """Two archives of the same files are the same bytes, whoever made them, when, in which order and umask."""
    one = archive(tmp_path / "a.tar.gz", ["top", "top/run", "top/b"], owner=0, mtime=1.5, mode=0o600)
    other = archive(tmp_path / "b.tar.gz", ["top/b", "top/run", "top"], owner=1000, mtime=9e8, mode=0o664)
    assert one == other
    with tarfile.open(tmp_path / "a.tar.gz") as made:
        members = made.getmembers()
        assert [member.name for member in members] == ["top", "top/b", "top/run"]
        assert [member.mode for member in members] == [0o755, 0o644, 0o755]
        assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {
            (0, 0, "", 1_700_000_000)
        }
        extracted = made.extractfile("top/run")
        assert extracted is not None
        assert extracted.read() == b"content of top/run"


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file is told with the hash that sha256sum prints."""
    (tmp_path / "b.whl").write_bytes(b"")
    (tmp_path / "a.tar.gz").write_bytes(b"abc")
    show(tmp_path)
    first, *files = capsys.readouterr().out.splitlines()
    assert first.startswith("Nothing has been uploaded.")
    assert files == [
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.tar.gz  (3 bytes)",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b.whl  (0 bytes)",
    ]


@pytest.mark.parametrize(
    "arguments", [[], ["build"], ["show"], ["upload", "dist"], ["build", "dist", "v1", "more"]]
)
def test_wrong_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command prints how to use it, and returns status 2."""
    assert main(arguments) == 2
    assert capsys.readouterr().err
