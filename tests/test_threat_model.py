"""What docs/threat-model.md says of files, processes and connections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from snippets import COMPILE_ONE

if TYPE_CHECKING:
    from conftest import Run

# Notes what the code of lowering-hooks has Python do: the innermost frame outside of the standard library is its own.
WATCH = """
import os, sys, sysconfig
seen = []
standard_library = sysconfig.get_path("stdlib")
def is_standard(frame):
    file = frame.f_code.co_filename
    return file.startswith("<frozen") or file.startswith(standard_library) and "site-packages" not in file
def watch(event, arguments):
    if event == "open" or event.startswith(("os.", "socket.", "subprocess.", "ctypes.", "shutil.", "tempfile.")):
        frame = sys._getframe(1)
        while frame is not None and is_standard(frame):
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "lowering_hooks":
            seen.append((event, *map(str, arguments)))
sys.addaudithook(watch)
"""
AT_EXIT = """
import atexit, json
atexit.register(lambda: print(json.dumps(seen)))
"""
READ_BY_IMPORTS = (".py", ".pyc")
READ_FOR_VERSIONS = ("METADATA", "PKG-INFO")


@pytest.mark.parametrize("strategy", ["call_function", "set_proxy"])
def test_what_is_read_and_written(run: Run, tmp_path: Path, strategy: str) -> None:
    """It reads modules and metadata, writes the report, and nothing else."""
    report = tmp_path / "report.json"
    code = (
        f"{WATCH}{AT_EXIT}{COMPILE_ONE}\nimport lowering_hooks\ncompile_one()\nprint(lowering_hooks.status())"
    )
    done = run(code, LOWERING_HOOKS_REPORT=str(report), LOWERING_HOOKS_STRATEGY=strategy)
    assert f"strategy        {strategy}\nstate           active" in done.stdout
    assert json.loads(report.read_text())["status"]["state"] == "active"
    seen = json.loads(done.stdout.splitlines()[-1])

    opened = [event for event in seen if event[0] == "open" and "__pycache__" not in event[1]]
    written = {path for _, path, mode, *_ in opened if mode != "r"}
    assert {Path(path).suffix for path in written} == {".part"}
    assert {Path(path).parent for path in written} == {tmp_path}
    read = [path for _, path, mode, *_ in opened if mode == "r"]
    assert [path for path in read if path.endswith("lowering_hooks/hooks/__init__.py")]  # it did watch
    assert [path for path in read if not path.endswith(READ_BY_IMPORTS + READ_FOR_VERSIONS)] == []
    # Python's import lists folders, and writes bytecode under another name first where that is not forbidden.
    others = {
        event[0] for event in seen if event[0] not in ("open", "os.listdir") and "__pycache__" not in event[1]
    }
    assert others == {"os.rename", "os.remove"}
