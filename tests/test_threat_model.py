"""What docs/threat-model.md says of files, processes and connections."""

from __future__ import annotations

import atexit
import json
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from compile_one import compile_one

if TYPE_CHECKING:
    from types import FrameType

    from fresh_process import Run

WATCHED = ("os.", "socket.", "subprocess.", "ctypes.", "shutil.", "tempfile.")
READ_BY_IMPORTS = (".py", ".pyc")
READ_FOR_VERSIONS = ("METADATA", "PKG-INFO")


def compiles_watched() -> None:
    """Compile, and print at the end of the process what the code of lowering-hooks had Python do.

    That is whatever Python does while the innermost function outside of the standard library is one of that code.
    """
    standard_library = sysconfig.get_path("stdlib")
    seen: list[tuple[str, ...]] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and not event.startswith(WATCHED):
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and is_standard(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "lowering_hooks":
            seen.append((event, *map(str, arguments)))

    def is_standard(file: str) -> bool:
        return file.startswith("<frozen") or (
            file.startswith(standard_library) and "site-packages" not in file
        )

    sys.addaudithook(watch)
    atexit.register(lambda: print(json.dumps(seen)))
    import lowering_hooks

    compile_one()
    print(lowering_hooks.status().strategy)


@pytest.mark.parametrize("strategy", ["call_function", "set_proxy"])
def test_what_is_read_and_written(run: Run, tmp_path: Path, strategy: str) -> None:
    """It reads modules and metadata, writes the report, and nothing else."""
    report = tmp_path / "report.json"
    done = run(compiles_watched, LOWERING_HOOKS_REPORT=str(report), LOWERING_HOOKS_STRATEGY=strategy)
    *_, standing, events = done.stdout.splitlines()
    assert standing == strategy
    assert json.loads(report.read_text())["status"]["state"] == "active"
    seen = json.loads(events)

    opened = [event for event in seen if event[0] == "open" and "__pycache__" not in event[1]]
    # By its number: a file that was opened before, such as the bytecode of a module that is imported for the first time.
    written = {Path(path) for _, path, mode, *_ in opened if mode != "r" and not path.isdecimal()}
    assert [(path.parent, path.suffix) for path in written] == [(tmp_path, ".part")]
    # Python's own zip stands in sys.path, whether there is one or not.
    read = [path for _, path, mode, *_ in opened if mode == "r" and Path(path).exists()]
    assert [
        event for event in seen if event[0] == "open" and "lowering_hooks/hooks/" in event[1]
    ]  # it did watch
    assert [path for path in read if not path.endswith(READ_BY_IMPORTS + READ_FOR_VERSIONS)] == []
    # An import lists folders, and writes bytecode under another name first where that is not forbidden.
    others = {
        event[0] for event in seen if event[0] not in ("open", "os.listdir") and "__pycache__" not in event[1]
    }
    assert others == {"os.rename", "os.remove"}
