"""What is written down of a run of mutants, and what the page makes of it.  Needs no PyTorch, and runs no mutant."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import mutation
import pytest

if TYPE_CHECKING:
    from pathlib import Path

MODULE, TESTS = "pack/module.py", "test_module.py"
SOURCE = (
    '"""Adds."""\n\n\nclass Sum:\n    def add(self, x, y):\n        return (\n            x + y\n        )\n'
)
SURVIVOR = {
    "module": MODULE,
    "function": "Sum.add",
    "line": "return ( x + y )",
    "mutant": "return ( x - y )",
    "reason": "Nobody calls it.",
}
MEASURED = {
    "mutants": 9, "every": 1, "killed": 5, "timeout": 3, "survived": 1,
    "ran": 9, "date": "2026-01-31", "cpu": "CPU", "cores": 2, "commit": "abc1234",
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout of one module and its tests, with the data of a run of it, and the page."""
    for name in ("PAGE", "MEASURED", "SURVIVORS", "BUILD", "ROOT"):
        path = getattr(mutation, name).relative_to(mutation.ROOT)
        monkeypatch.setattr(mutation, name, tmp_path / path)
    monkeypatch.setattr(mutation, "MODULES", {MODULE: mutation.Tests((TESTS, f"{TESTS}::test_it"))})
    for folder in ("pack", "tests", "docs/mutation", "build/mutation"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / MODULE).write_text(SOURCE)
    (tmp_path / "tests" / TESTS).write_text("def test_it(): ...\n")
    mutation.SURVIVORS.write_text(json.dumps([SURVIVOR]))
    mutation.MEASURED.write_text(json.dumps({MODULE: MEASURED | mutation.hashes(MODULE)}))
    mutation.write_page()
    return tmp_path


def row() -> list[str]:
    """Return the cells that the page has of the module."""
    (line,) = [line for line in mutation.PAGE.read_text().splitlines() if line.startswith(f"| `{MODULE}`")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_timeouts_are_apart(checkout) -> None:
    """A mutant that ran out of time is not among those that a test noticed."""
    assert row() == [f"`{MODULE}`", "9", "5", "3", "1", "9", "2026-01-31, abc1234"]


def test_a_survivor_without_a_reason(checkout) -> None:
    """The page says how many of those that survived are not in the list."""
    measured = {MODULE: MEASURED | mutation.hashes(MODULE) | {"survived": 3}}
    mutation.MEASURED.write_text(json.dumps(measured))
    mutation.write_page()
    assert row()[4] == "3, 2 not listed"


@pytest.mark.parametrize("edited", [MODULE, f"tests/{TESTS}"])
def test_what_was_changed_since(checkout, edited: str) -> None:
    """The page says so of a module that was edited, or whose tests were; the check does not fail before it says so."""
    with (checkout / edited).open("a") as file:
        file.write("# edited\n")
    assert mutation.main(["--check"]) == 0
    mutation.main(["--page"])
    assert row()[-1] == "2026-01-31, abc1234, changed since"
    assert mutation.main(["--check"]) == 0


def test_a_page_of_other_data(checkout, capsys) -> None:
    """The check fails on a page that its data do not make."""
    mutation.MEASURED.write_text(mutation.MEASURED.read_text().replace("2026-01-31", "2026-02-01"))
    assert mutation.main(["--check"]) == 1
    assert "run python tools/mutation.py --page" in capsys.readouterr().err


def test_a_survivor_that_is_gone(checkout, capsys) -> None:
    """The check fails where a survivor's function lacks its line, and writing the page drops that survivor."""
    assert "`` return ( x + y ) ``" in mutation.PAGE.read_text()
    elsewhere = "def add(x, y):\n    return (\n        x + y\n    )\n"
    (checkout / MODULE).write_text(SOURCE.replace("x + y", "y + x") + elsewhere)
    assert mutation.main(["--check"]) == 1
    assert "no such line any more" in capsys.readouterr().err
    mutation.main(["--page"])
    assert mutation.listed() == []
    assert "x + y" not in mutation.PAGE.read_text()
    assert mutation.main(["--check"]) == 0


def test_survivors_that_stay() -> None:
    """What the checkout lists is in its modules."""
    assert [survivor for survivor in mutation.listed() if mutation.is_gone(survivor)] == []


def test_an_unknown_module(checkout, capsys) -> None:
    """A name that no module has is an error that says which there are, and nothing is run."""
    with pytest.raises(SystemExit) as ended:
        mutation.main(["module", "typo"])
    assert ended.value.code == 2
    assert f"no such module: 'typo'; accepted: a part of {MODULE}" in capsys.readouterr().err


class Mutant(NamedTuple):
    """Stands in for the class of that name in ``tools/mutants.py``."""

    key: tuple[str, str, str, int]
    around: str = ""
    function: str = "Sum.add"


@pytest.fixture
def run(checkout, monkeypatch) -> Any:
    """Run the module again after a run whose mutants came out as told, and return what was run and what is measured."""

    def again(*before: str) -> tuple[list[str], dict[str, Any]]:
        found = [Mutant(("Sum.add", "x", outcome, 1)) for outcome in before]
        log = [
            {"hash": mutation._hash(cast("Any", mutant)), "outcome": outcome}
            for mutant, outcome in zip(found, before, strict=True)
        ]
        mutation._log(MODULE).write_text("".join(f"{json.dumps(line)}\n" for line in log))
        ran: list[str] = []

        def outcomes(copy: Any, module: str, pending: Any) -> Any:
            for mutant in pending:
                ran.append(mutant.key[2])
                yield mutant, {"outcome": "failed"}

        # The module makes mutants with cosmic-ray, which only the session `mutation` installs.
        monkeypatch.setitem(sys.modules, "mutants", SimpleNamespace(mutants=lambda source: found))
        monkeypatch.setattr(mutation, "outcomes", outcomes)
        arguments = Namespace(again=True, only="", every=1)
        return ran, mutation.run(None, MODULE, arguments)["measured"]

    return again


def test_again(run) -> None:
    """What survived, or ran out of time, is run again, and the run is of today."""
    ran, measured = run("failed", "survived", "timeout")
    assert ran == ["survived", "timeout"]
    assert (measured["ran"], measured["killed"], measured["timeout"]) == (2, 3, 0)
    assert measured["date"] > MEASURED["date"]


def test_nothing_to_run_again(run, checkout) -> None:
    """Where every mutant was noticed before, the run that is written down stays that one, with what it was of."""
    before = mutation.hashes(MODULE)
    (checkout / MODULE).write_text(f"# edited\n{SOURCE}")
    ran, measured = run("failed", "failed")
    assert ran == []
    assert {name: measured[name] for name in ("ran", "date", "commit", "module", "tests")} == {
        **{name: MEASURED[name] for name in ("ran", "date", "commit")},
        **before,
    }
