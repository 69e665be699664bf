"""What counts as an end of a compile that prints IR, and what makes the session fail.  Needs no PyTorch."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import make_evidence
import make_printed_ir
import pytest
from printed_ir import runs
from printed_ir.page import outcome

if TYPE_CHECKING:
    from pathlib import Path

ENDED = {"seconds": 1.0, "error": "", "message": 10, "way": "log"}
WITHOUT_END = ({"no_end": 120}, {"no_memory": 8 * 2**30}, {"failed": "Segmentation fault"})


class Runs(runs.Runner):
    """Stands in for the process that runs the models.

    Args:
        **variants: What a run of each variant comes to; the others end, with the code ``["a"]``.
    """

    def __init__(self, **variants: dict[str, Any]) -> None:
        self.torch = "2.15.0"
        self.reached = {"model": "words", "other": "words"}
        self._variants = variants
        self.is_ended = False

    def run(self, model: str, layers: int, variant: str, askers: bool = False) -> dict[str, Any]:
        return dict(self._variants.get(variant, ENDED | {"code": ["a"]}))

    def end(self) -> None:
        self.is_ended = True


def test_the_same_code() -> None:
    """What ends, with stock's code, breaks no claim, and how each variant ended is kept without the code."""
    measured = runs.measured(Runs(), "model")
    assert measured["same_code"] is True
    assert measured["hooked"] == measured["bounded"] == measured["stock"]["6"] == ENDED
    assert runs.broken_claims({"model": measured, "missing": {"unavailable": "no such op"}}) == []


@pytest.mark.parametrize("bounded", [ENDED | {"code": ["b"]}, ENDED, *WITHOUT_END])
def test_other_code(bounded: dict[str, Any]) -> None:
    """Where stock generates code, a bounded compile with other code, or without an end, has not the same."""
    measured = runs.measured(Runs(bounded=bounded), "model")
    assert measured["same_code"] is False
    (broken,) = runs.broken_claims({"model": measured})
    assert broken.startswith("model: with every text bounded, the code is another; that compile: ")
    assert broken.endswith(runs.ending(bounded))


@pytest.mark.parametrize(
    ("name", "stock"),
    [
        ("model", ENDED | {"code": []}),
        ("model", ENDED | {"way": "files", "code": ["a"]}),
        ("autotuning-log", ENDED | {"code": ["a"]}),
        ("model", {"no_end": 120}),
    ],
)
def test_no_code_to_compare(name: str, stock: dict[str, Any]) -> None:
    """Where stock generates no code, or not twice the same, none is compared."""
    assert runs.measured(Runs(stock=stock), name)["same_code"] is None


@pytest.mark.parametrize("hooked", WITHOUT_END)
def test_a_crash_is_no_end(tmp_path, monkeypatch, hooked: dict[str, Any]) -> None:
    """A compile that crashed, or was killed, has not ended: the page, the evidence and the claims all say so."""
    measured = runs.measured(Runs(hooked=hooked), "model")
    (broken,) = runs.broken_claims({"model": measured})
    assert broken == f"model: with lowering-hooks, 60 layers: {runs.ending(hooked)}"
    models = {"model": measured, "other": runs.measured(Runs(), "other")}
    data = {"torch": "2.15.0", "python": "3.11", "models": models}
    row = outcome({"2.15": data}).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")][3:5] == ["2", "1"]
    (tmp_path / "printed-ir").mkdir()
    (tmp_path / "printed-ir" / "2.15.json").write_text(json.dumps(data))
    monkeypatch.setattr(make_evidence, "DOCS", tmp_path)
    (row_of_evidence,) = make_evidence.printed()
    assert row_of_evidence.outcome.startswith("1 end; ")


@pytest.fixture
def started(monkeypatch) -> Any:
    """Have the runner that ``use`` is called with in the place of a process."""
    return SimpleNamespace(use=lambda runner: monkeypatch.setattr(runs, "Runner", lambda folder: runner))


@pytest.mark.parametrize(
    ("variants", "status"), [({}, 0), ({"hooked": {"failed": ""}}, 1), ({"bounded": ENDED}, 1)]
)
def test_the_exit_status(tmp_path: Path, started, variants: dict[str, Any], status: int) -> None:
    """A model that does not end, or has other code, makes the run fail, after all models were written down."""
    runner, output = Runs(**variants), tmp_path / "2.15.json"
    started.use(runner)
    assert make_printed_ir.main(["measure", str(output)]) == status
    assert [*json.loads(output.read_text())["models"]] == ["model", "other"]
    assert runner.is_ended


def test_an_unknown_model(tmp_path: Path, started, capsys) -> None:
    """A name that no model has is an error that says which names there are, and nothing is written."""
    runner, output = Runs(), tmp_path / "2.15.json"
    started.use(runner)
    assert make_printed_ir.main(["measure", str(output), "model", "typo"]) == 2
    assert capsys.readouterr().err == "no such model: 'typo'; accepted: model, other\n"
    assert not output.exists()
    assert runner.is_ended
