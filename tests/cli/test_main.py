"""The command line."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from installed import DEMO_IS_EQUAL, RELEASE

import lowering_hooks
from lowering_hooks.cli import compile_process, demo, main
from lowering_hooks.records import OpReport, Report


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
        (["demo", "--deadline", "soon"], "'soon' is not a number of seconds"),
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
    good: dict[str, Any] = {
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
        failing: dict[str, Any] = good | {"case": case, "code_identical": None, "strides_identical": None}
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


@pytest.fixture
def dying(monkeypatch, tmp_path):
    """Have a process that compiles end at once, with a last word."""
    script = tmp_path / "dying.py"
    script.write_text("raise SystemExit('no compiler here')")
    monkeypatch.setattr(compile_process, "WORKER", script)


def test_a_worker_that_dies(dying, capsys) -> None:
    """It is an error, with the worker's words; the demo says how far it had come."""
    assert main(["demo", "--layers", "4"]) == 1
    err = capsys.readouterr().err
    assert "1 of 12: INFO off, stock: exit status 1" in err
    assert "no compiler here" in err


@pytest.mark.parametrize("command", ["demo", "check"])
def test_without_pytorch(monkeypatch, capsys, command) -> None:
    """What compiles says that PyTorch is missing, and starts no process."""
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    assert main([command]) == 1
    assert capsys.readouterr() == ("", f"lowering-hooks {command}: PyTorch is not installed here\n")


def test_a_worker_that_does_not_start(monkeypatch, tmp_path, capsys) -> None:
    """It is ended, and is an error."""
    script = tmp_path / "stuck.py"
    script.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(compile_process, "WORKER", script)
    monkeypatch.setattr(compile_process, "START_UP", 0.3)
    assert main(["demo"]) == 1
    assert "1 of 12: INFO off, stock: no compile ended in 0.3 s" in capsys.readouterr().err


def test_a_system_without_process_groups(monkeypatch, dying, capsys) -> None:
    """A process is ended alone."""
    monkeypatch.delattr(os, "killpg")
    killed = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: killed.append(process))
    assert main(["demo"]) == 1
    assert len(killed) == 1
    assert "exit status 1" in capsys.readouterr().err


def row(case: str, variant: str, result: str, same: bool | None) -> demo.Row:
    return demo.Row(case, variant, 59.9, 1_234_567, result, code_identical=same, strides_identical=same)


@pytest.mark.parametrize("result", [demo.EQUAL, demo.AS_STOCK])
def test_a_narrow_terminal(result: str) -> None:
    """The demo's table is stacked where it does not fit, whatever its longest words, and says the same."""
    rows = tuple(
        row(case.name, variant, "same error" if case.failing else result, None if case.failing else True)
        for case in demo.CASES
        for variant in demo.VARIANTS
    )
    outcome = demo.Outcome("2.12.1", 24, 3, 60.0, rows, ("A note of many words. " * 10,))
    assert outcome.as_text(400) == str(outcome)
    stacked = outcome.as_text(80)
    lines = stacked.splitlines()
    assert max(map(len, lines)) <= 80
    assert stacked.count("both identical") == 6
    assert stacked.count("1,234,567") == 12
    assert [line for line in lines if line in {case.name for case in demo.CASES}] == [
        case.name for case in demo.CASES
    ]


ENDED = compile_process.Ended(
    seconds=1.0,
    characters=1,
    error="",
    cause=False,
    message="",
    peak_mib=None,
    equal=True,
    code=["stock"],
    strides=[],
)


@pytest.fixture
def told(monkeypatch):
    """Say what the deep compile of each process of a demo comes to, by its variant."""

    def tell(**deep):
        def run_worker(spec, *_):
            found = {**dict.fromkeys(demo.VARIANTS, ENDED), **deep}[spec.variant]
            return compile_process.Compiled("2.12.1", "", shallow=ENDED, deep=found)

        monkeypatch.setattr(demo, "run_worker", run_worker)

    return tell


def test_a_demo_in_a_terminal(told, monkeypatch, capsys) -> None:
    """It fits into the terminal, and says how deep a model stock still compiles."""
    told()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["demo", "--layers", "5"]) == 1  # no error where the lowering fails
    out = capsys.readouterr().out
    assert "\nINFO off\n" in out
    assert max(map(len, out.partition("\nPyTorch 2.12.1")[0].splitlines())) <= 80
    for case in ("INFO off", "INFO on", "failing op", "failing aten op"):
        assert f"{case}: stock ended; it takes more than 5 layers to keep it from that." in out
    assert "NO ERROR" in out


def test_a_demo_that_fails(told, capsys) -> None:
    """The table says where lowering-hooks' compile raises, and a line below it what."""
    failed = dataclasses.replace(ENDED, error="KeyError", message="\nno such node\nin the graph")
    told(**{demo.STOCK: None, demo.OURS: failed})
    assert main(["demo", "--deadline", "2.5"]) == 1
    out = capsys.readouterr().out
    assert "| no end in 2.5 s " in out
    assert "| FAILED " in out
    assert "INFO on, lowering-hooks, 1.0 s: no such node\n" in out


def test_what_differs_in_a_narrow_terminal() -> None:
    """Code and strides are told apart where only one of them differs."""
    rows = tuple(
        dataclasses.replace(row(case.name, demo.OURS, demo.EQUAL, same=True), code_identical=False)
        for case in demo.CASES
    )
    outcome = demo.Outcome("2.12.1", 24, 3, 60.0, rows, ())
    assert outcome.as_text(80).count("code DIFFERENT, strides identical") == len(demo.CASES)


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


@pytest.fixture
def compiling(monkeypatch):
    """Say what the two compiles of a check come to."""

    def end(**ended):
        compiled = {
            variant: compile_process.Compiled("2.12.1", "", shallow=ended[name], deep=None)
            for variant, name in ((demo.STOCK, "stock"), (demo.OURS, "ours"))
        }
        monkeypatch.setattr(compile_process.WorkersBeside, "__init__", lambda *_: None)
        monkeypatch.setattr(compile_process.WorkersBeside, "__exit__", lambda *_: None)
        monkeypatch.setattr(compile_process.WorkersBeside, "wait", lambda *_: compiled)

    return end


def test_check_of_a_difference(compiling, capsys) -> None:
    """It fails where the compile differs from stock."""
    compiling(stock=ENDED, ours=dataclasses.replace(ENDED, code=["other"]))
    assert main(["check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["exit_status"]) == (False, 1)
    assert "does NOT work here" in found["words"]
    assert found["compiled"]["code_identical"] is False


def test_check_where_stock_fails(compiling, capsys) -> None:
    """What stock does not compile says nothing of lowering-hooks: the cause, and a status of its own."""
    failed = dataclasses.replace(
        ENDED, error="InductorError", message="no C++ compiler", equal=False, code=[]
    )
    compiling(stock=failed, ours=failed)
    assert main(["check"]) == 3
    out = capsys.readouterr().out
    assert "NOT checked: stock PyTorch does not compile here: InductorError: no C++ compiler" in out
    assert "does NOT work" not in out


def test_check_where_stock_dies(dying, capsys) -> None:
    """So does a process of stock that ends."""
    assert main(["check"]) == 3
    captured = capsys.readouterr()
    assert "NOT checked: stock PyTorch does not compile here: exit status 1" in captured.out
    assert "no compiler here" in captured.out
    assert "some 10 to 30 s" in captured.err


# A process that dies at once as lowering-hooks', and as stock's only later, or once it has compiled.
DYING = """
import json, sys, time
if json.loads(sys.argv[1])["variant"] == "lowering-hooks":
    sys.exit("no hooks here")
time.sleep(1)
{then}
"""
COMPILES = f"""
print("a line of somebody else's")
ended = {dataclasses.asdict(ENDED)!r}
print(json.dumps({{"event": "start", "torch": "2.12.1", "status": ""}}))
print(json.dumps({{"event": "end", "case": "shallow"}} | ended))
"""


@pytest.mark.parametrize(
    ("then", "exit_status", "says"),
    [
        (
            "sys.exit('no compiler here')",
            3,
            "NOT checked: stock PyTorch does not compile here: exit status 1\n",
        ),
        (
            COMPILES,
            1,
            "does NOT work here, where stock compiles: lowering-hooks: exit status 1\nno hooks here",
        ),
    ],
    ids=["stock dies later", "stock compiles"],
)
def test_check_where_ours_dies(monkeypatch, tmp_path, capsys, then, exit_status, says) -> None:
    """It waits for what becomes of stock before it says whose fault that is."""
    script = tmp_path / "dying.py"
    script.write_text(DYING.format(then=then))
    monkeypatch.setattr(compile_process, "WORKER", script)
    assert main(["check"]) == exit_status
    assert says in capsys.readouterr().out


def test_version(capsys) -> None:
    """It tells PyTorch's, too, and imports neither."""
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("lowering-hooks ")
    assert f", PyTorch {lowering_hooks.status().torch_version}\n" in out


def test_interrupted(monkeypatch, capsys) -> None:
    """Ctrl-C ends it with one line, and with the status that a shell has for it."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_worker", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "\nlowering-hooks demo: interrupted\n"


def test_a_closed_pipe(tmp_path) -> None:
    """``lowering-hooks report ... | head`` ends without a word, however much there is to read."""
    op = OpReport("vllm.op.default", "0", "node", 1, 1, 0.1, shown=True, stock_characters=1)
    report = {
        "pid": 1,
        "status": {},
        "seconds": 0.1,
        "ops": [op._replace(op=f"op{i}")._asdict() for i in range(5000)],
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    code = "import sys; from lowering_hooks.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "report", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(lowering_hooks.__file__).parents[1],
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


OPS = (
    OpReport(
        "vllm.all_reduce.default",
        "0",
        "all_reduce_59",
        1,
        1,
        0.000123,
        shown=True,
        stock_characters=36 * 10**12,
    ),
    OpReport(
        f"mylib.{'generated_' * 12}default",
        "1 (backward)",
        f"{'generated_' * 12}default_3",
        12,
        3,
        12345.678,
        shown=False,
        stock_characters=999_999,
        cut=2,
        allowed=False,
    ),
    OpReport("cond", "", "", 0, 1, 0.5, shown=True, stock_characters=0),
)


def in_terminal(columns: int, *arguments: str) -> str:
    """Return what the command line prints in a terminal of so many columns."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    code = "import sys; from lowering_hooks.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=terminal,
        stdout=terminal,
        cwd=Path(lowering_hooks.__file__).parents[1],
        env=environment,
    )
    os.close(terminal)
    printed = b""
    with contextlib.suppress(OSError):  # Linux: the read after the last one fails
        while block := os.read(master, 10_000):
            printed += block
    os.close(master)
    assert process.wait(60) == 0
    return printed.decode().replace("\r\n", "\n")


def test_a_report_in_a_terminal(tmp_path, capsys) -> None:
    """It fits there and leaves nothing out; in a wide one, and elsewhere, it is the table that print shows."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"pid": 1, "status": {}, "ops": [op._asdict() for op in OPS]}))
    narrow = in_terminal(80, "report", str(path)).split("\n", 1)[1]
    assert max(map(len, narrow.splitlines())) <= 80
    run_together = "".join(line.strip() for line in narrow.splitlines())
    for op in OPS:
        assert op.op in run_together
        assert op.node in run_together
    for part in ("3.6e+13 characters", "999,999 characters", "12345.678000", "lowering_hooks.allow('mylib')"):
        assert part in narrow
    printed = f"{path}: process 1\n{Report(OPS)}\n"
    assert in_terminal(400, "report", str(path)) == printed
    assert main(["report", str(path)]) == 0
    assert capsys.readouterr().out == printed
    assert main(["report", "--json", str(path)]) == 0
    assert [OpReport(**op) for op in json.loads(capsys.readouterr().out)[0]["ops"]] == list(OPS)


def test_an_empty_report_in_a_terminal(tmp_path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"pid": 1, "status": {}, "ops": []}))
    assert in_terminal(40, "report", str(path)).endswith("no op fell back implicitly, and no text was cut\n")


def test_check_unhooked(capsys) -> None:
    """It fails where nothing is hooked."""
    lowering_hooks.remove()
    assert main(["check"]) == 1
    assert "NOT hooked: removed by remove()" in capsys.readouterr().out


def test_python_m(run) -> None:
    """``python -m lowering_hooks`` is the command line."""
    done = run("import runpy; runpy.run_module('lowering_hooks', run_name='__main__')", "status")
    assert "active" in done.stdout
