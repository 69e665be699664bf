"""The command line."""

from __future__ import annotations

import io
import json
import re

import pytest
from installed import DEMO_IS_EQUAL, RELEASE

import lowering_hooks
from lowering_hooks.cli import demo, main


def test_status(capsys) -> None:
    """It says what is hooked, and how."""
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    for part in ("call_function", "active", "vllm, vllm_aiter", "verified with"):
        assert part in out


def test_status_in_json(capsys) -> None:
    """It has what status() returns."""
    assert main(["status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    status = lowering_hooks.status()
    assert found["torch_version"] == status.torch_version
    assert (found["strategy"], found["state"]) == ("call_function", "active")
    assert found["namespaces"] == ["vllm", "vllm_aiter"]
    assert found["conflicts"] == []
    assert found["import_error"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["no-such-command"], "no-such-command"),
        (["demo", "--layers", "0"], "'0' is not a whole number of 1 or more"),
        (["demo", "--layers", "many"], "'many' is not a whole number"),
        (["demo", "--deadline", "-1"], "'-1' is not a number of seconds above 0"),
        (["demo", "--deadline", "nan"], "'nan' is not a number of seconds"),
    ],
)
def test_misuse(arguments, says, capsys) -> None:
    """It exits with 2 and says what is accepted."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert says in capsys.readouterr().err


AS_STOCK = demo.EQUAL if DEMO_IS_EQUAL else demo.AS_STOCK


@pytest.fixture(scope="module")
def outcome():
    """A demo that is deep enough for stock to be slow, and short enough for a test."""
    return demo.run(layers=12, deadline=10, progress=io.StringIO())


def test_the_demo_of_ours(outcome) -> None:
    """With lowering-hooks every case ends, equal and identical."""
    assert outcome.ok
    ours = [row for row in outcome.rows if row.variant == demo.OURS]
    assert [row.case for row in ours] == ["INFO off", "INFO on", "failing op", "failing aten op"]
    for row in ours:
        assert row.seconds is not None
        assert row.seconds < outcome.deadline
    assert [row.result for row in ours] == [*[AS_STOCK] * 2, *["same error"] * 2]
    assert [row.code_identical for row in ours] == [True, True, None, None]


def test_the_demo_of_others(outcome) -> None:
    """It shows what stock and a plain set proxy do."""
    rows = {(row.case, row.variant): row for row in outcome.rows}
    assert len(rows) == 12
    assert rows["INFO on", demo.STOCK].seconds is None
    for case in (demo.FAILING, demo.FAILING_ATEN):
        assert rows[case, demo.STOCK].seconds is None
        assert rows[case, demo.PLAIN_SET_PROXY].seconds is None
    plain = rows["INFO off", demo.PLAIN_SET_PROXY]
    lost = RELEASE.layout_constraint in ("tag or contiguous", "tag or default")
    expected = ("NOT equal", False, False) if lost else (AS_STOCK, True, True)
    assert (plain.result, plain.code_identical, plain.strides_identical) == expected
    lazy = RELEASE.log_text == "lazy"
    assert (rows["INFO off", demo.STOCK].seconds is not None) is lazy
    assert ("Stock is fine with INFO off" in str(outcome)) is lazy


def test_the_demo_as_table_and_as_json(outcome) -> None:
    """Both tell the same outcome."""
    table = str(outcome)
    assert "no end in 10 s" in table
    assert "compile of 12 layers" in table
    found = json.loads(outcome.as_json())
    assert found["ok"] is True
    assert len(found["rows"]) == 12


def test_good_rows() -> None:
    """A row is bad unless it ended, equal and identical."""
    good = {
        "case": "INFO off",
        "variant": demo.OURS,
        "seconds": 1.0,
        "characters": 0,
        "result": "equal to eager",
        "code_identical": True,
        "strides_identical": True,
    }
    assert demo.Row(**good).good
    assert demo.Row(**(good | {"result": demo.AS_STOCK})).good
    for case in (demo.FAILING, demo.FAILING_ATEN):
        failing = good | {"case": case, "code_identical": None, "strides_identical": None}
        assert demo.Row(**(failing | {"result": "same error"})).good
        for result in ("equal to eager", "NO ERROR", "OTHER ERROR", "-"):
            assert not demo.Row(**(failing | {"result": result})).good
    for change in (
        {"seconds": None},
        {"result": "NOT equal"},
        {"result": "FAILED"},
        {"code_identical": False},
        {"strides_identical": False},
        {"code_identical": None},
    ):
        bad = demo.Row(**(good | change))
        assert not bad.good
        assert not demo.Outcome("2", 1, 1, 1.0, (demo.Row(**good), bad), ()).ok


def test_a_worker_that_dies(monkeypatch, capsys) -> None:
    """It is an error, with the worker's words."""
    monkeypatch.setattr(demo, "_RUN_WORKER", "raise SystemExit('no compiler here')")
    assert main(["demo", "--layers", "4"]) == 1
    err = capsys.readouterr().err
    assert "INFO off, stock: exit status 1" in err
    assert "no compiler here" in err


@pytest.mark.parametrize("strategy", ["call_function", "set_proxy"])
def test_check(monkeypatch, strategy, capsys) -> None:
    """It compares a compile with what stock makes."""
    monkeypatch.setenv("LOWERING_HOOKS_STRATEGY", strategy)
    lowering_hooks.apply(strategy)
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    for part in ("generated code  identical to stock", "kernel strides  identical to stock", AS_STOCK):
        assert part in out
    assert f"works: by {strategy}, what is compiled is what stock PyTorch makes" in out
    characters = re.search(r"logged text     ([\d,]+) characters, ([\d,]+) in stock", out)
    ours, stocks = (int(number.replace(",", "")) for number in characters.groups())
    assert ours < 4 * 4000 < stocks


def test_check_of_a_difference(monkeypatch, capsys) -> None:
    """It fails where the compile differs from stock."""

    def events(spec, *_):
        code = [spec["variant"]]
        end = {
            "code": code,
            "strides": [],
            "equal": True,
            "seconds": 1.0,
            "characters": 1,
            "error": "",
            "message": "",
        }
        return {"shallow": end, "deep": end}

    monkeypatch.setattr(demo, "run_worker", events)
    assert main(["check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert "does NOT work here" in found["words"]
    assert found["compiled"]["code_identical"] is False


def test_check_unhooked(capsys) -> None:
    """It fails where nothing is hooked."""
    lowering_hooks.remove()
    assert main(["check"]) == 1
    assert "NOT hooked: removed by remove()" in capsys.readouterr().out


def test_python_m(run) -> None:
    """``python -m lowering_hooks`` is the command line."""
    done = run("import runpy; runpy.run_module('lowering_hooks', run_name='__main__')", "status")
    assert "active" in done.stdout
