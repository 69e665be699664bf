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
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

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
        layers: The depth of the second, deep model.
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


def run_worker(spec: Spec, deadline: float, folder: str, label: str, progress: IO[str]) -> Compiled:
    """Run one process.

    Args:
        spec: What it compiles.
        deadline: Seconds that the compile of the deep model may take.
        folder: Its working directory, with the cache of what is compiled from C++.
        label: What it does, in words for the user.
        progress: Where to write that it runs, and for how long.

    Raises:
        WorkerError: It ended without a result, as where PyTorch or g++ is missing.
    """
    start: _Message = {}
    ended: dict[str, Ended] = {}
    clock = Clock(label, progress)
    with _worker(spec, folder) as (process, messages, errors):
        limit = time.monotonic() + START_UP
        while "deep" not in ended:
            try:
                message = messages.get(timeout=0.2)
            except queue.Empty:
                clock.tick()
                if time.monotonic() < limit:
                    continue
                if "shallow" not in ended:
                    raise WorkerError(f"{label}: no compile ended in {START_UP:g} s") from None
                break
            if message is None:
                process.wait()
                errors.seek(0)
                tail = errors.read()[-2000:].strip()
                raise WorkerError(f"{label}: exit status {process.returncode}\n{tail}")
            event = message.pop("event")
            if event == "start":
                start = message
            elif event == "end":
                case = message.pop("case")
                ended[case] = Ended(**message)
            elif event == "begin" and message["case"] == "deep":
                clock.restart()
                limit = time.monotonic() + deadline
    deep = ended.get("deep")
    clock.end(f"no end in {deadline:g} s" if deep is None else f"{deep.seconds:.1f} s")
    return Compiled(**start, shallow=ended["shallow"], deep=deep)


@contextmanager
def _worker(
    spec: Spec, folder: str
) -> Generator[tuple[subprocess.Popen[str], queue.Queue[_Message | None], IO[str]]]:
    """Start the process; yield it with a queue of its messages (None at their end) and its standard error."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(asdict(spec))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=_environment(spec, folder),
            start_new_session=True,
        ) as process,
    ):
        messages: queue.Queue[_Message | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout or (), messages), daemon=True)
        reader.start()
        try:
            yield process, messages, errors
        finally:
            _kill(process)
            process.wait()
            reader.join()


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
