"""The demo: one decoder, compiled as stock, with a plain set proxy and with lowering-hooks.

Every compile runs in a process of its own (``worker/demo_worker.py``) and is killed at its deadline.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from ..compat import release_of
from ..describe.words import counted

STOCK, PLAIN_SET_PROXY, OURS = "stock", "plain set proxy", "lowering-hooks"
VARIANTS: Final = (STOCK, PLAIN_SET_PROXY, OURS)
# The text replaced by nothing: what the benchmarks measure against.
IDEAL: Final = "ideal"

FAILING: Final = "failing op"
FAILING_ATEN: Final = "failing aten op"
EQUAL: Final = "equal to eager"
# Stock keeps the strides of untagged ops on 2.6 and from 2.8 on.
AS_STOCK: Final = "NOT equal, nor is stock"
# What has a lowering that fails, behind the decoder's layers: nothing, one of its own ops, one of PyTorch's.
NOTHING, CUSTOM_OP, ATEN_OP = "", "custom op", "aten op"
# label, INFO logging on, what fails
CASES: Final = (
    ("INFO off", False, NOTHING),
    ("INFO on", True, NOTHING),
    (FAILING, False, CUSTOM_OP),
    (FAILING_ATEN, False, ATEN_OP),
)
_FAILING_CASES: Final = (FAILING, FAILING_ATEN)

# Deep enough that stock does not end.  From about 32 layers on it ends again, on 2.12.1: its text overflows
# Python's stack, and the compile fails with a RecursionError.
DEFAULT_LAYERS: Final = 24
DEFAULT_DEADLINE: Final = 60.0
# The depth at which stock ends at once on every series, so that its code can be compared.
SHALLOW_LAYERS: Final = 3
# Seconds a process may take until its first compile is done: PyTorch's import, a cold C++ compiler.
START_UP: Final = 300.0

_RUN_WORKER: Final = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


class WorkerError(RuntimeError):
    """A compile's process ended without saying what came of it."""


@dataclass(frozen=True)
class Row:
    """What came of one variant in one case.

    Attributes:
        case: ``"INFO off"``, ``"INFO on"``, ``"failing op"`` or ``"failing aten op"``.
        variant: ``"stock"``, ``"plain set proxy"`` or ``"lowering-hooks"``.
        seconds: How long the compile of the deep model took; None where the deadline ended it.
        characters: The size of the logged text, or of the error message; None where it never came.
        result: ``"equal to eager"``, ``"NOT equal"`` or ``"FAILED"``, and ``"NOT equal, nor is stock"`` where
            stock's own shallow compile is not equal either; of a failing op ``"same error"`` (as stock's),
            ``"OTHER ERROR"`` or ``"NO ERROR"``; ``"-"`` where the deadline came first.
        code_identical: Whether the shallow model's generated code is stock's, to the byte; None where an
            op fails, since no code is generated then.
        strides_identical: Whether its kernels were handed the strides that stock hands them.
        error: What else went wrong.
    """

    case: str
    variant: str
    seconds: float | None
    characters: int | None
    result: str
    code_identical: bool | None
    strides_identical: bool | None
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether the compile ended, and came out as stock's."""
        if self.seconds is None:
            return False
        if self.case in _FAILING_CASES:
            return self.result == "same error"
        compared = (self.code_identical, self.strides_identical)
        return self.result in (EQUAL, AS_STOCK) and compared == (True, True)


@dataclass(frozen=True)
class Outcome:
    """Everything the demo found."""

    torch_version: str
    layers: int
    shallow_layers: int
    deadline: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether lowering-hooks ended everywhere, equal and identical."""
        return all(row.good for row in self.rows if row.variant == OURS)

    def as_json(self) -> str:
        return json.dumps({"ok": self.ok, **asdict(self)}, indent=2)

    def __str__(self) -> str:
        header = (
            "case",
            "variant",
            f"compile of {counted(self.layers, 'layer')}",
            "characters of text",
            "result",
            "generated code",
            "kernel strides",
        )
        cells = [header, *(self._cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
        lines = [f"| {' | '.join(map(str.ljust, line, widths))} |" for line in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([*lines, "", *self.notes])

    def _cells(self, row: Row) -> tuple[str, ...]:
        ended = f"no end in {self.deadline:g} s" if row.seconds is None else f"{row.seconds:.1f} s"
        return (
            row.case,
            row.variant,
            ended,
            "-" if row.characters is None else f"{row.characters:,}",
            row.result,
            *(
                "-" if same is None else "identical" if same else "DIFFERENT"
                for same in (row.code_identical, row.strides_identical)
            ),
        )


def run(layers: int, deadline: float, progress: IO[str], device: str = "cpu") -> Outcome:
    """Run the demo.

    Args:
        layers: The depth of the model.
        deadline: Seconds that the compile of the deep model may take.
        progress: Where to write what is running, and for how long.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        WorkerError: A process ended without a result, as where PyTorch or g++ is missing.
    """
    shallow = min(SHALLOW_LAYERS, layers)
    rows: list[Row] = []
    torch_version, hooked = "", ""
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-demo-") as folder:
        for case, info, failing in CASES:
            stock: Mapping[str, Any] = {}
            for variant in VARIANTS:
                spec = {
                    "variant": variant,
                    "info": info,
                    "failing": failing,
                    "shallow": shallow,
                    "layers": layers,
                    "device": device,
                }
                events = run_worker(spec, deadline, folder, f"{case}, {variant}", progress)
                if variant == STOCK:
                    stock = events["shallow"]
                torch_version = events["start"]["torch"]
                hooked = events["start"]["status"] or hooked
                rows.append(row_of(case, variant, events, stock))
    notes = (
        f"PyTorch {torch_version}, Python {sys.version.split()[0]}, {device.upper()}.",
        f"Code and strides are compared at {counted(shallow, 'layer')}, which stock survives.",
        *_notes(rows, torch_version, layers),
        "",
        hooked,
    )
    return Outcome(torch_version, layers, shallow, deadline, tuple(rows), notes)


def row_of(case: str, variant: str, events: Mapping[str, Mapping[str, Any]], stock: Mapping[str, Any]) -> Row:
    shallow, deep = events["shallow"], events.get("deep")
    failing = case in _FAILING_CASES
    if deep is None:
        result = "-"
    elif failing:
        same = deep["error"] == stock["error"] and deep["cause"] and stock["cause"]
        result = "same error" if same else "OTHER ERROR" if deep["error"] else "NO ERROR"
    elif deep["error"]:
        result = "FAILED"
    else:
        result = EQUAL if deep["equal"] and shallow["equal"] else "NOT equal" if stock["equal"] else AS_STOCK
    return Row(
        case,
        variant,
        seconds=deep["seconds"] if deep else None,
        characters=deep["characters"] if deep else None,
        result=result,
        # Where stock generated no code, nothing was compiled.
        code_identical=None if failing else bool(stock["code"]) and shallow["code"] == stock["code"],
        strides_identical=None if failing else shallow["strides"] == stock["strides"],
        error=deep["message"] if deep else "",
    )


def _notes(rows: list[Row], torch_version: str, layers: int) -> Iterator[str]:
    release = release_of(torch_version)
    for row in rows:
        if row.error:
            yield f"{row.case}, {row.variant}, {row.seconds:.1f} s: {row.error.strip().splitlines()[0]}"
        if row.variant != STOCK or row.seconds is None or row.error:
            continue
        if row.case == "INFO off" and release is not None and release.log_text == "lazy":
            yield (
                f"Stock is fine with INFO off: PyTorch {release.series} builds the text only where a log "
                "handler wants it."
            )
        else:
            deeper = f"more than {counted(layers, 'layer')}"
            yield f"{row.case}: stock ended; it takes {deeper} to keep it from that."
    if any(row.result == AS_STOCK for row in rows):
        yield (
            f"Stock itself, PyTorch {torch_version}, hands the experts' kernel, which reads rows as they lie "
            "in eager, a transposed tensor."
        )
    if any(row.variant == PLAIN_SET_PROXY and row.strides_identical is False for row in rows):
        yield (
            "A plain set proxy drops the layout constraint: the experts' kernel, which reads rows as they "
            "lie in eager, was handed a transposed tensor."
        )


def run_worker(
    spec: Mapping[str, Any], deadline: float, folder: str, label: str, progress: IO[str]
) -> dict[str, Mapping[str, Any]]:
    """Run one process and return its events: "start", "shallow", and "deep" unless its deadline came."""
    events: dict[str, Mapping[str, Any]] = {}
    clock = _Clock(label, progress)
    with _worker(spec, folder) as (process, messages, errors):
        limit = time.monotonic() + START_UP
        while "deep" not in events:
            try:
                message = messages.get(timeout=0.2)
            except queue.Empty:
                clock.tick()
                if time.monotonic() < limit:
                    continue
                if "shallow" not in events:
                    raise WorkerError(f"{label}: no compile ended in {START_UP:g} s") from None
                break
            if message is None:
                process.wait()
                errors.seek(0)
                tail = errors.read()[-2000:].strip()
                raise WorkerError(f"{label}: exit status {process.returncode}\n{tail}")
            if message["event"] == "begin" and message["case"] == "deep":
                clock.restart()
                limit = time.monotonic() + deadline
            elif message["event"] == "end":
                events[message["case"]] = message
            elif message["event"] == "start":
                events["start"] = message
    seconds = events["deep"]["seconds"] if "deep" in events else None
    clock.end(f"no end in {deadline:g} s" if seconds is None else f"{seconds:.1f} s")
    return events


@contextmanager
def _worker(
    spec: Mapping[str, Any], folder: str
) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[Any], IO[str]]]:
    """Start the process; yield it with a queue of its messages (None at their end) and its standard error."""
    script = Path(__file__).parent / "worker" / "demo_worker.py"
    command = [sys.executable, "-c", _RUN_WORKER, str(script), json.dumps(spec)]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=_environment(spec, folder),
            start_new_session=True,
        ) as process,
    ):
        messages: queue.Queue[Any] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, messages), daemon=True)
        reader.start()
        try:
            yield process, messages, errors
        finally:
            _kill(process)
            process.wait()
            reader.join()


def _read(lines: Any, messages: queue.Queue[Any]) -> None:
    for line in lines:
        if line.startswith("{"):
            messages.put(json.loads(line))
    messages.put(None)


def _environment(spec: Mapping[str, Any], folder: str) -> dict[str, str]:
    # A strategy may be asked for, to see it; whatever else is set would change what is shown.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "LOWERING_HOOKS_STRATEGY"
        or not name.startswith(
            ("LOWERING_HOOKS", "TORCH_LOGS", "TORCH_COMPILE", "TORCHDYNAMO", "TORCHINDUCTOR")
        )
    }
    if spec["variant"] != OURS:
        environment["LOWERING_HOOKS"] = "0"
    environment.update(
        # A cached graph is not lowered.  Disabling every cache would, on 2.5 to 2.7, also put the path of a
        # folder made for the process into the generated code.
        TORCHINDUCTOR_FX_GRAPH_CACHE="0",
        TORCHINDUCTOR_AUTOGRAD_CACHE="0",
        TORCHINDUCTOR_CACHE_DIR=os.path.join(folder, "cache"),
        # No pool of compile processes that would outlive the deadline.
        TORCHINDUCTOR_COMPILE_THREADS="1",
        # Scalar C++: spares every process the 20 s of finding out what vector instructions there are.
        TORCHINDUCTOR_VEC_ISA_OK="0",
    )
    return environment


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process with its children: a compiler may be running."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass


@dataclass
class _Clock:
    """Shows what is running, and for how long: in place on a terminal, else a line every so often."""

    label: str
    stream: IO[str]
    phase: str = "starting"
    since: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.monotonic)

    def restart(self) -> None:
        self.phase, self.since = "compiling", time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        terminal = self.stream.isatty()
        if now - self.shown < (0.2 if terminal else 10.0):
            return
        self.shown = now
        line = f"{self.label}: {self.phase}, {now - self.since:.0f} s"
        self.stream.write(f"\r\033[K{line}" if terminal else f"{line}\n")
        self.stream.flush()

    def end(self, what: str) -> None:
        start = "\r\033[K" if self.stream.isatty() else ""
        self.stream.write(f"{start}{self.label}: {what}\n")
        self.stream.flush()
