"""Starts the process of ``worker.py``, and has it run tasks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compiling

Seen = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """How a task ended.

    Attributes:
        runs: What was seen of each run, by its name.
        seconds: How long all of it took.
        peak_mib: The most memory that its process held.
        errors: The end of what it wrote beside that.
    """

    runs: dict[str, Seen]
    seconds: float
    peak_mib: float
    errors: str


class Server:
    """One process of ``worker.py``; what it needs it keeps in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # One thread is asked for by the variable and not by torch.set_num_threads(): after a fork, each of
            # autograd's threads would call that again, meet a pool that another is just making, and end the process.
            env=compiling.environment("stock", folder) | {"OMP_NUM_THREADS": "1"},
        )
        self.versions: dict[str, str] = self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, architecture: str, layers: int, mode: str, how: str, deadline: float, *runs: str) -> Ran:
        """Compile one architecture in a process of its own; see ``worker.compile_run``."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            output = Path(folder, "output")
            task = {
                "architecture": architecture,
                "layers": layers,
                "mode": mode,
                "how": how,
                "deadline": deadline,
                "runs": runs,
                # The compilers' output is the same for the same code: all modes share it.
                "variables": compiling.environment(mode, self._folder / "cache"),
                "output": str(output),
            }
            assert self._process.stdin is not None
            print(json.dumps(task), file=self._process.stdin, flush=True)
            answer = self._answer()
            lines = output.read_text(errors="replace").splitlines(keepends=True)
        return Ran(
            runs={one["run"]: one for one in compiling.results_in(lines)},
            seconds=answer["seconds"],
            peak_mib=answer["peak_mib"],
            errors="".join(line for line in lines if not line.startswith("{"))[-2000:],
        )

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with status {self._process.wait()}")
        return json.loads(line)
