"""Starts the process of ``worker.py``, and has it run tasks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import compiling

Seen = dict[str, Any]

WORKER: Final = Path(__file__).with_name("worker.py")
# The worker counts processor time, of which a process that waits for ever takes none.  So a task is ended after this
# many times the seconds of its compiles, and these more, of wall-clock time: generous, as the machine may be busy.
TIMES, SECONDS = 2.0, 600.0
# Seconds of wall-clock time after which a worker must have imported the libraries.
START: Final = 900.0


@dataclass(frozen=True)
class Ran:
    """How a task ended.

    Attributes:
        runs: What was seen of each run, by its name.
        peak_mib: The most memory that its process held; 0 where nobody knows.
        errors: The end of what it wrote beside that, and why it was ended.
    """

    runs: dict[str, Seen]
    peak_mib: float
    errors: str


class WorkerEndedError(RuntimeError):
    """The worker gave no answer."""


class Server:
    """One process of ``worker.py``, started for the first task, and anew for the next one after it has ended.

    Args:
        folder: Where it keeps what it needs.
    """

    def __init__(self, folder: Path) -> None:
        # The versions of the libraries, once the process was started.
        self.versions: dict[str, str] = {}
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        # Guards the two attributes around it, as `close` is called by another thread.
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """End the process and all that it has started, at once; a task that is running fails, and any later one."""
        with self._lock:
            self._is_closed = True
        self._end()

    def run(self, architecture: str, layers: int, mode: str, how: str, deadline: float, *runs: str) -> Ran:
        """Compile one architecture in a process of its own; see ``worker.compile_run``.

        Raises:
            WorkerEndedError: The worker could not be started.
            RuntimeError: This server is closed.
        """
        process = self._started()
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
            try:
                answer = self._answer(process, TIMES * deadline * len(runs) + SECONDS, json.dumps(task))
            except WorkerEndedError as ended:
                answer = {"peak_mib": 0.0, "why": str(ended)}
            # A child that was ended early has not made the file.
            text = output.read_text(errors="replace") if output.exists() else ""
        lines = text.splitlines(keepends=True)
        written = "".join(line for line in lines if not line.startswith("{"))[-2000:]
        return Ran(
            runs={one["run"]: one for one in compiling.results_in(lines)},
            peak_mib=answer["peak_mib"],
            errors=f"{written}{answer['why']}",
        )

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            process = self._process
            if process is not None and process.poll() is None:
                return process
        self._end()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the server is closed")
            process = self._process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # OMP_NUM_THREADS asks for one thread, and not torch.set_num_threads(): after a fork, each of
                # autograd's threads would call that again, meet a pool that another is just making, and end the
                # process.
                env=compiling.environment("stock", self._folder) | {"OMP_NUM_THREADS": "1"},
                # The group of the process has its children and their compilers in it, so that all end together.
                start_new_session=True,
            )
        self.versions = self._answer(process, START)
        return process

    def _answer(self, process: subprocess.Popen[str], deadline: float, task: str | None = None) -> Any:
        """Hand the worker a task, if any, and return what it answers within ``deadline`` seconds."""
        assert process.stdin is not None
        assert process.stdout is not None
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            _kill(process)

        timer = threading.Timer(deadline, end)
        timer.daemon = True
        timer.start()
        line = ""
        try:
            # The worker may have ended since its last answer; then there is no line to read, either.
            with contextlib.suppress(BrokenPipeError):
                if task is not None:
                    print(task, file=process.stdin, flush=True)
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        self._end()
        if is_late.is_set():
            raise WorkerEndedError(
                f"ended after {deadline:.0f} s of wall-clock time, in which it did not answer"
            )
        raise WorkerEndedError(f"the worker ended with status {process.returncode}")

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                _kill(process)
                process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
