"""LOWERING_HOOKS_REPORT: one file for each process, written when it ends, and the command that reads it."""

from __future__ import annotations

import json
import multiprocessing
import os

import pytest
from compile_one import compile_here, compile_one

from lowering_hooks import report_file
from lowering_hooks.cli import main


def compiles_in_three_processes() -> None:
    compile_here()
    import lowering_hooks  # noqa: F401

    compile_one("parent")
    child = multiprocessing.get_context("fork").Process(target=compile_one, args=("child",))
    child.start()
    child.join()
    assert child.exitcode == 0
    if os.fork() == 0:
        compile_one("forked")
        raise SystemExit
    assert os.wait()[1] == 0


def test_each_process_writes_its_own(run, tmp_path) -> None:
    """When it ends, also one that was forked."""
    run(compiles_in_three_processes, LOWERING_HOOKS_REPORT=str(tmp_path / "report-%p.json"))
    files = sorted(tmp_path.iterdir())
    found = {path: json.loads(path.read_text()) for path in files}
    assert {path.name for path in files} == {f"report-{content['pid']}.json" for content in found.values()}
    ops = {tuple(op["op"] for op in content["ops"]) for content in found.values()}
    assert ops == {("vllm.parent.default",), ("vllm.child.default",), ("vllm.forked.default",)}
    for content in found.values():
        assert content["status"]["state"] == "active"
        (op,) = content["ops"]
        assert op["fallbacks"] == 1
        assert op["graph"] != ""
        assert op["node"] == op["op"].split(".")[1]


def forks_what_meets_no_op() -> None:
    compile_here()
    import lowering_hooks  # noqa: F401

    compile_one("parent")
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    assert child.exitcode == 0


def test_a_child_that_meets_no_op(run, tmp_path) -> None:
    """It writes no report, such as the processes that Inductor forks to compile."""
    run(forks_what_meets_no_op, LOWERING_HOOKS_REPORT=str(tmp_path / "report-%p.json"))
    (file,) = tmp_path.iterdir()
    assert [op["op"] for op in json.loads(file.read_text())["ops"]] == ["vllm.parent.default"]


def hooks_nothing() -> None:
    import torch  # noqa: F401

    import lowering_hooks  # noqa: F401


def hooks_inductor() -> None:
    import torch._inductor.graph  # noqa: F401

    import lowering_hooks  # noqa: F401


@pytest.mark.parametrize(("function", "off"), [(hooks_nothing, "on"), (hooks_inductor, "0")])
def test_nothing_to_say(run, tmp_path, function, off) -> None:
    """A process that has hooked nothing writes no report."""
    done = run(function, LOWERING_HOOKS_REPORT=str(tmp_path / "report.json"), LOWERING_HOOKS=off)
    assert "LOWERING_HOOKS_REPORT" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/report.json", ""], ids=["no such folder", "a folder"])
def test_a_path_that_cannot_be_written(run, tmp_path, name) -> None:
    """It costs one WARNING that names the path, and the exit status stays."""
    path = str(tmp_path / name)
    done = run(hooks_inductor, LOWERING_HOOKS_REPORT=path)
    (line,) = (line for line in done.stderr.splitlines() if "LOWERING_HOOKS_REPORT" in line)
    assert f"lowering-hooks wrote no report to LOWERING_HOOKS_REPORT={path!r}: " in line
    assert ("No such file or directory" if name else "Is a directory") in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "report.json"
    op = {
        "op": "vllm.moe.default",
        "graph": "3 (backward)",
        "node": "moe_1",
        "fallbacks": 1,
        "texts": 2,
        "seconds": 0.25,
        "shown": True,
        "stock_characters": 12 * 10**17,
    }
    path.write_text(json.dumps({"pid": 42, "status": {}, "seconds": 0.25, "ops": [op]}))
    return path


def test_the_command(written, capsys) -> None:
    """It prints reports, as text and as they are."""
    assert main(["report", str(written), str(written)]) == 0
    out = capsys.readouterr().out
    assert out.count(f"{written}: process 42") == 2
    for part in ("vllm.moe.default", "moe_1 of graph 3 (backward)", "0.250000", "1.2e+18 characters"):
        assert out.count(part) == 2
    assert main(["report", "--json", str(written)]) == 0
    assert json.loads(capsys.readouterr().out) == [json.loads(written.read_text())]


def of_ops(*ops: object) -> str:
    return json.dumps({"pid": 42, "status": {}, "ops": ops})


OP = {"op": "a", "graph": "", "node": "", "fallbacks": 1, "texts": 0, "seconds": 0.0, "shown": True, "stock_characters": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'pid'"),
        ("\ufeff", "JSONDecodeError"),
        ('{"pid": "42", "status": {}, "ops": []}', "expected a number pid, an object status and a list ops"),
        ('{"pid": 42, "status": {}, "ops": {}}', "expected a number pid, an object status and a list ops"),
        (of_ops({"op": "a"}), "missing 7 required positional arguments"),
        (of_ops({**OP, "more": 1}), "unexpected keyword argument 'more'"),
        (of_ops(1), "must be a mapping, not int"),
        (of_ops({**OP, "seconds": "1"}), "seconds is '1', expected one of type float"),
    ],
)
def test_no_report(text, says, tmp_path, capsys) -> None:
    """What is no report is named in the error, with what is wrong with it."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    assert main(["report", str(path)]) == 1
    err = capsys.readouterr().err
    assert f"{path}: not a report of lowering-hooks: " in err
    assert says in err
    path.write_text(of_ops(OP))
    assert main(["report", str(path)]) == 0
    assert main(["report", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def test_nobody_finds_half_a_report(tmp_path, monkeypatch) -> None:
    """Where the new one cannot be written, the one before stays whole."""
    path = tmp_path / "report.json"
    path.write_text("the one before")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(report_file.Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        report_file._replace(path, "new")
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]
