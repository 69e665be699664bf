"""Runs one process of ``worker/demo_worker.py``, which compiles the decoder, and kills it at its deadline."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, cast

from .environment import uncached
from .progress import Clock

STOCK, PLAIN_SET_PROXY, OURS = "stock", "plain set proxy", "lowering-hooks"
# Stock comes first: the others are compared with it.
VARIANTS: Final = (STOCK, PLAIN_SET_PROXY, OURS)
# The benchmarks measure against this one, in which the text is replaced by nothing.
IDEAL: Final = "ideal"

# These ops have a lowering that fails, behind the decoder's layers: none, one of its own, one of PyTorch's.
NOTHING, CUSTOM_OP, ATEN_OP = "", "custom op", "aten op"

# Stock ends at once at this depth on every series, so its code can be compared.
SHALLOW_LAYERS: Final = 3
# A process may take so many seconds until its first compile is done, with PyTorch's import and a cold C++
# compiler.
START_UP: Final = 300.0
# Seconds between two looks at a process.
_POLL: Final = 0.1

# The decoder's modules, which import nothing of lowering-hooks: others put this folder on `sys.path`.
WORKER_FOLDER: Final = Path(__file__).parent / "worker"
WORKER: Final = WORKER_FOLDER / "demo_worker.py"

_Message = dict[str, Any]


class WorkerError(RuntimeError):
    """A process ended, or its time did, before it said what came of its compiles."""


@dataclass(frozen=True)
class Spec:
    """What a process compiles.

    Attributes:
        variant: :data:`STOCK`, :data:`PLAIN_SET_PROXY`, :data:`OURS` or :data:`IDEAL`.
        layers: The depth of the second, deep model; 0 for no second one.
        shallow: The depth of the first one, which must end in any case.
        info: Whether Inductor logs at INFO.
        failing: What fails: :data:`NOTHING`, :data:`CUSTOM_OP` or :data:`ATEN_OP`.
        device: ``"cpu"`` or ``"cuda"``.
        dtype: The name of the tensors' type, as ``torch`` has it.
    """

    variant: str
    layers: int
    shallow: int = SHALLOW_LAYERS
    info: bool = False
    failing: str = NOTHING
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class Ended:
    """What came of one compile.

    Attributes:
        seconds: How long it took.
        characters: The size of the logged text, or of the error's message.
        error: The name of the error's class; empty where there was none.
        cause: Whether the message holds that of the lowering that failed on purpose.
        message: The beginning of the message of any other error.
        peak_mib: The most memory that the process held until then; None where the system does not say.
        equal: Whether the result is what eager computes.
        code: The generated wrappers.
        strides: The strides of every tensor that a kernel was handed, in order.
    """

    seconds: float
    characters: int
    error: str
    cause: bool
    message: str
    peak_mib: float | None
    equal: bool
    code: list[str]
    strides: list[list[int]]


@dataclass(frozen=True)
class Compiled:
    """What came of one process.

    Attributes:
        torch: Its version of PyTorch.
        status: What lowering-hooks said of itself; empty in the other variants.
        shallow: The compile of the shallow model.
        deep: That of the deep one; None where the deadline ended it.
    """

    torch: str
    status: str
    shallow: Ended
    deep: Ended | None


class Worker:
    """One process that compiles, and what it has told so far; the process ends with the ``with`` block.

    Args:
        spec: What it compiles.
        deadline: Seconds that the compile of the deep model may take.
        folder: Its working directory, with the cache of what is compiled from C++.
        label: What it does, in words for the user.
    """

    def __init__(self, spec: Spec, deadline: float, folder: str, label: str) -> None:
        self.label = label
        self.is_deep = False  # once the compile of the deep model has begun
        self._deadline = deadline
        self._start: _Message = {}
        self._ended: dict[str, Ended] = {}
        self._last = "deep" if spec.layers else "shallow"
        self._is_late = False
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed at the end
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(asdict(spec))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=folder,
            env=_environment(spec, folder),
            start_new_session=True,
        )
        self._limit = time.monotonic() + START_UP
        self._messages: queue.Queue[_Message | None] = queue.Queue()
        self._lines = cast("IO[str]", self._process.stdout)  # a pipe, as told above
        self._reader = threading.Thread(target=_read, args=(self._lines, self._messages), daemon=True)
        self._reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *raised: object) -> None:
        _kill(self._process)
        self._process.wait()
        self._reader.join()
        self._lines.close()
        self._errors.close()

    def is_done(self) -> bool:
        """Whether all compiles have ended, or the deadline has come."""
        return self._last in self._ended or self._is_late

    def wait(self, seconds: float) -> None:
        """Wait at most so many seconds for what the process tells next.

        Raises:
            WorkerError: The process ended without a result, or took too long to start.
        """
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            if time.monotonic() >= self._limit:
                if "shallow" not in self._ended:
                    raise WorkerError(f"{self.label}: no compile ended in {START_UP:g} s") from None
                self._is_late = True
            return
        if message is None:
            self._process.wait()
            self._errors.seek(0)
            tail = self._errors.read()[-2000:].strip()
            raise WorkerError(f"{self.label}: exit status {self._process.returncode}\n{tail}")
        event = message.pop("event")
        if event == "start":
            self._start = message
        elif event == "end":
            case = message.pop("case")
            self._ended[case] = Ended(**message)
        elif event == "begin" and message["case"] == "deep":
            self.is_deep = True
            self._limit = time.monotonic() + self._deadline

    def compiled(self) -> Compiled:
        """Return what came of a process that is done."""
        return Compiled(**self._start, shallow=self._ended["shallow"], deep=self._ended.get("deep"))


def run_worker(spec: Spec, deadline: float, folder: str, label: str, progress: IO[str]) -> Compiled:
    """Run one process.

    Args:
        spec: What it compiles.
        deadline: Seconds that the compile of the deep model may take.
        folder: Its working directory, with the cache of what is compiled from C++.
        label: What it does, in words for the user.
        progress: Where to write that it runs, and for how long.

    Raises:
        WorkerError: It ended without a result, as where PyTorch is missing.
    """
    clock = Clock(label, progress)
    with Worker(spec, deadline, folder, label) as worker:
        while not worker.is_done():
            was_deep = worker.is_deep
            worker.wait(_POLL)
            if worker.is_deep and not was_deep:
                clock.restart()
            clock.tick()
        compiled = worker.compiled()
    deep = compiled.deep
    clock.end(f"no end in {deadline:g} s" if deep is None else f"{deep.seconds:.1f} s")
    return compiled


class WorkersBeside:
    """Several processes at once, each with the shallow model only; they end with the ``with`` block.

    Args:
        specs: What each compiles, by its label.
        folder: As for :func:`run_worker`.
    """

    def __init__(self, specs: Mapping[str, Spec], folder: str) -> None:
        self._stack = contextlib.ExitStack()
        self._workers = {
            label: self._stack.enter_context(Worker(replace(spec, layers=0), 0.0, folder, label))
            for label, spec in specs.items()
        }

    def __enter__(self) -> WorkersBeside:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def wait(self, label: str, progress: IO[str]) -> dict[str, Compiled | WorkerError]:
        """Wait for all of them, and return what came of each: an error where it ended without a result.

        The error of one does not end the others: only what became of all of them tells whose fault it is.

        Args:
            label: What they do together, in words for the user.
            progress: As for :func:`run_worker`.
        """
        clock = Clock(label, progress, phase="two processes")
        ended: dict[str, Compiled | WorkerError] = {}
        while len(ended) < len(self._workers):
            for name, worker in self._workers.items():
                if name in ended:
                    continue
                try:
                    worker.wait(_POLL)
                    if worker.is_done():
                        ended[name] = worker.compiled()
                except WorkerError as error:
                    ended[name] = error
            clock.tick()
        clock.end("done")
        return ended


def _read(lines: Iterable[str], messages: queue.Queue[_Message | None]) -> None:
    for line in lines:
        if line.startswith("{"):
            messages.put(json.loads(line))
    messages.put(None)


def _environment(spec: Spec, folder: str) -> dict[str, str]:
    # The user may ask for a strategy, to see it; any other variable of ours would change what is shown.
    environment = uncached(Path(folder, "cache"), keep=("LOWERING_HOOKS_STRATEGY",))
    if spec.variant != OURS:
        environment["LOWERING_HOOKS"] = "0"
    return environment


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process with its children: a compiler may be running."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
