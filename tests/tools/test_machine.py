"""A measurement is of the code of a commit, which is or is not the package that the checkout has.  Needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import machine
import pytest

if TYPE_CHECKING:
    from pathlib import Path


def git(*arguments: str) -> str:
    """Run git in the checkout of the test, as somebody; return what it prints."""
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    ran = machine._ran(*who, *arguments)
    assert ran is not None
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.fixture
def package(monkeypatch, tmp_path) -> Path:
    """The package of a checkout with one commit."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    for name in machine.PACKAGE:
        file = tmp_path / name if name.endswith(".py") else tmp_path / name / "__init__.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text('__version__ = "0.1.0"\nLIMIT = 1\n')
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return tmp_path / "lowering_hooks"


def test_the_same_package(package) -> None:
    """What is beside the package does not count, nor does the version."""
    first = machine.commit()
    assert first == git("rev-parse", "--short", "HEAD")
    (package.parent / "README.md").write_text("more\n")
    (package / "__init__.py").write_text('__version__ = "0.2.0"\nLIMIT = 1\n')
    assert machine.has_package_of(first)
    git("add", ".")
    git("commit", "--quiet", "-m", "second")
    assert machine.has_package_of(first)


@pytest.mark.parametrize(
    "file", ["lowering_hooks/__init__.py", "lowering_hooks/new.py", "compat/__init__.py", machine.PACKAGE[2]]
)
def test_another_package(package, file: str) -> None:
    """A changed or a new file makes another package of it, and says so before and after it is committed."""
    first = machine.commit()
    (package.parent / file).write_text('__version__ = "0.1.0"\nLIMIT = 2\n')
    assert machine.commit() == f"{first}-dirty"
    git("add", ".")
    git("commit", "--quiet", "-m", "second")
    assert not machine.has_package_of(first)
    assert machine.has_package_of(machine.commit())


@pytest.mark.parametrize("commit", ["0123abc", "HEAD-dirty"])
def test_a_commit_that_nobody_knows(package, commit: str) -> None:
    """Nobody can tell what was measured."""
    assert not machine.has_package_of(commit)
