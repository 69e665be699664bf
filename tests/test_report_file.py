"""LOWERING_HOOKS_REPORT: one file for each process, written when it ends, and the command that reads it."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys

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


def test_a_report_of_a_newer_version() -> None:
    """What this one does not know is left out; what it needs must be there."""
    op = {"op": "lib.op.default", "graph": "", "node": "", "fallbacks": 1, "texts": 0, "seconds": 0.0, "shown": False,
          "stock_characters": 0, "since": "0.2"}  # fmt: skip
    found = {"pid": 1, "status": {}, "ops": [op], "since": "0.2"}
    _, report = report_file.read(json.dumps(found))
    assert report.ops[0].op == "lib.op.default"
    del op["seconds"]
    with pytest.raises(ValueError, match="seconds"):
        report_file.read(json.dumps(found))


def test_the_command_line_writes_none(run, tmp_path) -> None:
    """It is no run that anybody wants a report of, and must not replace one."""
    path = tmp_path / "report.json"
    path.write_text("of a run")
    code = "import runpy; runpy.run_module('lowering_hooks', run_name='__main__')"
    done = run(code, "status", LOWERING_HOOKS_REPORT=str(path))
    assert "active" in done.stdout
    assert path.read_text() == "of a run"


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


def reloads() -> None:
    compile_here()
    import lowering_hooks

    compile_one("before")
    importlib.reload(lowering_hooks)
    compile_one("after")


def imports_anew() -> None:
    compile_here()
    import lowering_hooks

    compile_one("before")
    lowering_hooks.remove()
    for name in [name for name in sys.modules if name.startswith("lowering_hooks")]:
        del sys.modules[name]
    import lowering_hooks

    compile_one("after")


@pytest.mark.parametrize("function", [reloads, imports_anew])
def test_a_package_that_was_loaded_twice(run, tmp_path, function) -> None:
    """The report is the one that the package gives at the end, and not that of what it was before."""
    run(function, LOWERING_HOOKS_REPORT=str(tmp_path / "report.json"))
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["status"]["state"] == "active"
    assert [op["op"] for op in found["ops"]] == ["vllm.after.default"]


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
        (of_ops(1), "1 among ops, expected an object"),
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


def test_what_is_no_file(tmp_path) -> None:
    """A device is written to, a link stays one, and a pipe that nobody reads is an error at once."""
    link, target = tmp_path / "link.json", tmp_path / "target.json"
    link.symlink_to(target)
    for text in ("one", "two"):
        report_file._write(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    report_file._write(report_file.Path(os.devnull), "text")
    assert report_file.Path(os.devnull).is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="No such device"):
        report_file._write(pipe, "text")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    report_file._write(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(OSError, match="Is a directory"):
        report_file._write(tmp_path, "text")
    assert {path.name for path in tmp_path.iterdir()} == {"link.json", "target.json", "pipe"}


def test_the_output_of_a_process(run, tmp_path) -> None:
    """/dev/stdout is written to behind what is there, though it may be a file."""
    code = "import os; os.dup2(os.open('out.txt', os.O_CREAT | os.O_WRONLY | os.O_APPEND), 1); print('before', flush=True)\n"
    code += (
        "from lowering_hooks import report_file; report_file._write(report_file.Path('/dev/stdout'), 'text')"
    )
    run(f"import os; os.chdir({str(tmp_path)!r})\n{code}")
    assert (tmp_path / "out.txt").read_text() == "before\ntext"


def forks_by_hand() -> None:
    compile_here()
    import lowering_hooks  # noqa: F401

    compile_one("parent")
    child = os.fork()
    if child == 0:
        raise SystemExit
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_that_was_forked_by_hand(run, tmp_path) -> None:
    """It has nothing to report, and does not say so in a file of its own or of its parent."""
    run(forks_by_hand, LOWERING_HOOKS_REPORT=str(tmp_path / "report-%p.json"))
    (found,) = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert [op["op"] for op in found["ops"]] == ["vllm.parent.default"]


def test_nobody_finds_half_a_report(tmp_path, monkeypatch) -> None:
    """Where the new one cannot be written, the one before stays whole."""
    path = tmp_path / "report.json"
    path.write_text("the one before")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(report_file.Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        report_file._write(path, "new")
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]
