"""Compiles as stock and with lowering-hooks, each in processes of their own, and compares what came out.

A process that compiles as stock must be stock.  So this module imports nothing of lowering-hooks but in
:func:`start`, for the modes that are about it, and in :func:`environment`, which is for a process that starts others;
a worker has ``downstream`` on its path and imports it by its plain name.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lowering_hooks" / "cli" / "worker"))

from demo_compiling import capture_code, log_to, write_scalar_code

if TYPE_CHECKING:
    import threading

# Maps each way of compiling to what is set for it: a strategy that is asked for and the environment variables.
# Every namespace is allowed in all of them but `nothing_allowed`, which is an install with nothing set.
MODES: Final[Mapping[str, tuple[str | None, Mapping[str, str]]]] = {
    "stock": (None, {"LOWERING_HOOKS": "0"}),
    "nothing_allowed": ("call_function", {}),
    "call_function": ("call_function", {"LOWERING_HOOKS_NAMESPACES": "*"}),
    "graph": ("call_function", {"LOWERING_HOOKS_NAMESPACES": "*", "LOWERING_HOOKS_DETAIL": "graph"}),
    "set_proxy": ("set_proxy", {"LOWERING_HOOKS_NAMESPACES": "*"}),
}
# Names the modes in which Inductor logs at DEBUG, and every log message is formatted.
LOGGED: Final = ("nothing_allowed", "graph")
# Names what must be the same as in stock.
COMPARED: Final = ("code", "guards", "strides", "constraints", "warnings", "error", "message", "equal")

Seen = dict[str, Any]


def environment(mode: str, cache: Path) -> dict[str, str]:
    """Return the environment of a process that compiles in ``mode`` and keeps what it compiled in ``cache``."""
    from lowering_hooks.cli.environment import uncached

    return uncached(cache, clear=("TORCH_TRACE",), autoload=False, quick=False) | {
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONHASHSEED": "0",
        **MODES[mode][1],
    }


class Formatting(logging.Handler):
    """Formats what is logged, as a real handler would, and counts the characters."""

    characters = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Format one message."""
        self.characters += len(record.getMessage())


class Recorder:
    """Records what Inductor makes of each compile of this process.

    Attributes:
        strides: The strides of what kernels were handed; kernels of custom ops append to it.
        log: Counts the characters that Inductor logged.
    """

    def __init__(self) -> None:
        from torch._inductor import lowering
        from torch.fx.experimental import symbolic_shapes

        self.strides: list[Any] = []
        self.log = Formatting()
        self._code: list[str] = []
        self._envs: list[Any] = []
        # PyTorch 2.0-2.4: layout_constraints; 2.5-2.15: _maybe_layout_constraints; if missing: an error.
        constraints = getattr(lowering, "_maybe_layout_constraints", None)
        self._constraints = lowering.layout_constraints if constraints is None else constraints
        capture_code(self._code)
        original, envs = symbolic_shapes.ShapeEnv.__init__, self._envs

        def init(env: Any, *args: Any, **kwargs: Any) -> None:
            original(env, *args, **kwargs)
            envs.append(env)

        symbolic_shapes.ShapeEnv.__init__ = init

    def record(self, run: Callable[[], bool | None]) -> Seen:
        """Compile by calling ``run``, and return what was seen meanwhile.

        Args:
            run: Compiles, and returns whether the result is equal to eager's; None where it was not compared.
        """
        import torch

        for seen in (self.strides, self._code, self._envs):
            seen.clear()
        before = {op: _name(kept) for op, kept in self._constraints.items()}
        torch._dynamo.reset()
        torch.manual_seed(0)
        equal, error, message, places = None, None, "", []
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                equal = run()
            except Exception as raised:  # whatever it is, stock must raise the same
                error = [type(e).__name__ for e in (raised, raised.__cause__) if e is not None]
                message = comparable(str(raised))
                error.append(_place(traceback.extract_tb(raised.__traceback__)[-1]))
                places = _places(raised)
        return {
            "code": [comparable(source) for source in self._code],
            "guards": [str(guard.expr) for env in self._envs for guard in env.guards],
            "strides": list(self.strides),
            "constraints": {
                str(op): _name(kept)
                for op, kept in self._constraints.items()
                if before.get(op) != _name(kept)
            },
            "warnings": sorted({f"{w.category.__name__}: {w.message}" for w in warned}),
            "error": error,
            "message": message,
            "places": places,
            "equal": equal,
        }


@dataclass(frozen=True)
class Ended:
    """How a worker ended.

    Attributes:
        lines: The JSON objects that it printed, in order.
        status: Its exit status; None where the deadline ended it.
        seconds: How long it ran.
        peak_mib: The most memory that it, or a compiler that it started, held.
        errors: The end of what it wrote to its standard error.
        is_late: Whether it ended itself by :func:`faulthandler.dump_traceback_later`, at a deadline of its own.
    """

    lines: list[Seen]
    status: int | None
    seconds: float
    peak_mib: float
    errors: str
    is_late: bool = False


def run_worker(
    script: Path,
    mode: str,
    cache: Path,
    deadline: float,
    *arguments: str,
    stop: threading.Event | None = None,
) -> Ended:
    """Run ``script`` with ``mode`` and ``arguments`` in a process of its own, and end it at its deadline.

    Whatever ends this call ends the process too, and all that it has started.

    Args:
        script: A worker, which prints each of its results as one line of JSON.
        mode: A name of :data:`MODES`.
        cache: Where the process keeps what it compiled.
        deadline: Seconds that it may take.
        arguments: What else it is called with.
        stop: Another thread sets it to end this call; only the main thread hears of Ctrl-C.

    Raises:
        RuntimeError: ``stop`` was set.
    """
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), mode, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment(mode, cache),
            start_new_session=True,
        )
        is_over = False
        try:
            # `wait4` tells what this process alone held, and waits without a deadline: so it is polled.
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                if stop is not None and stop.is_set():
                    raise RuntimeError(f"{script.name} was stopped")
                if time.monotonic() - begun > deadline and not is_over:
                    is_over = True
                    _kill(process)
                time.sleep(0.05)
            _, code, usage = ended
            process.returncode = os.waitstatus_to_exitcode(code)
        finally:
            # The process has a session of its own: what interrupts this one does not reach it.
            _kill(process)
            process.wait()
        output.seek(0)
        errors.seek(0)
        written = errors.read()
        return Ended(
            lines=results_in(output),
            status=None if is_over else process.returncode,
            seconds=time.monotonic() - begun,
            peak_mib=usage.ru_maxrss / 2**10,
            errors=written[-4000:],
            # The line stands before the stacks of all threads, which may be longer than what is kept.
            is_late=re.search(r"^Timeout \(\d+:\d\d:\d\d", written, re.MULTILINE) is not None,
        )


def end_on_sigterm() -> None:
    """Make SIGTERM end this process as Ctrl-C does.

    The workers have sessions of their own: only this process can end them, and a signal that just killed it would leave
    them to compile for hours.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _kill(process: subprocess.Popen[Any]) -> None:
    """End what is left of the process and of those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def results_in(lines: Iterable[str]) -> list[Seen]:
    """Return the results among the lines that a worker printed; it may have been ended inside of one."""
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]


def start(mode: str) -> Recorder:
    """Make this process compile in ``mode``; it was started with the :func:`environment` of that mode.

    Raises:
        RuntimeError: lowering-hooks does not stand as the mode wants it.
    """
    strategy = MODES[mode][0]
    # PyTorch 2.0 loads Dynamo no other way.
    import_module("torch._dynamo")
    import_module("torch._inductor.compile_fx")
    if strategy is not None:
        import lowering_hooks

        status = lowering_hooks.apply(strategy)
        if (status.state, status.strategy) != ("active", strategy):
            raise RuntimeError(f"{mode}: expected {strategy} to be active, got {status}")
    elif "lowering_hooks" in sys.modules:
        raise RuntimeError("stock: lowering_hooks is imported")
    write_scalar_code()
    recorder = Recorder()
    log_to(recorder.log, logging.DEBUG if mode in LOGGED else logging.WARNING)
    return recorder


@contextlib.contextmanager
def compiling_nothing() -> Iterator[None]:
    """Generate code in this block without building it: what Inductor generates is compared, and not run.

    Kernels do nothing, and what the generated wrappers allocate holds zeros, so that a wrapper can be called.
    """
    import torch

    try:
        # PyTorch 2.5-2.15; before, it stood in codecache; if both are missing: an error.
        from torch._inductor.async_compile import AsyncCompile
    except ImportError:
        from torch._inductor.codecache import AsyncCompile

    def nothing(*args: Any, **kwargs: Any) -> Any:
        return lambda *args, **kwargs: None

    def zeros(size: Any, stride: Any, *args: Any, **kwargs: Any) -> Any:
        return torch.empty_strided(size, stride, *args, **kwargs).zero_()

    with contextlib.ExitStack() as stack:
        for name in ("cpp", "cpp_pybinding", "triton"):
            if hasattr(AsyncCompile, name):
                stack.enter_context(_replaced(AsyncCompile, name, nothing))
        # PyTorch 2.2-2.15: wrappers allocate with it; if missing: with torch.empty_strided, and hold anything.
        guards = torch._C._dynamo.guards
        if hasattr(guards, "_empty_strided_cpu"):
            allocate = lambda size, stride, dtype: zeros(size, stride, dtype=dtype)  # noqa: E731
            stack.enter_context(_replaced(guards, "_empty_strided_cpu", allocate))
        yield


def differences(stock: Seen, other: Seen) -> list[str]:
    """Return the names of what differs from stock; an error's message may be bounded where stock's is long."""
    found = [name for name in COMPARED if name != "message" and stock[name] != other[name]]
    # The text of the op is the library's own; what comes before it, and the op's name, are stock's.
    if stock["message"].split("\n")[:2] != other["message"].split("\n")[:2]:
        found.append("message")
    return found


def comparable(source: str) -> str:
    """Return generated code, or a message, without what differs from one run of stock to the next."""

    def in_order(comment: re.Match[str]) -> str:
        return re.sub(r"\[(.*?)\]", lambda m: str(sorted(m[1].split(", "))), comment[0])

    # PyTorch 2.5-2.6: the names of a kernel that spans subgraphs stand in no order; if missing: nothing to sort.
    source = re.sub(r"# Unsorted Source Nodes: .*", in_order, source)
    # PyTorch 2.4-2.15: how many graphs the process had compiled before; if missing: nothing to leave out.
    source = re.sub(r"# AOT ID: \['\d+_", "# AOT ID: ['", source)
    # PyTorch 2.0-2.15: how many modules of FX the process had made before; if missing: nothing to leave out.
    source = re.sub(r"<eval_with_key>\.\d+", "<eval_with_key>", source)
    # PyTorch 2.0-2.4, as far as seen: kernels of C++ include a header by its path in the cache of their process;
    # if missing: nothing to leave out.
    return re.sub(r'#include "/[^"]*/', '#include "', source)


def _place(frame: traceback.FrameSummary) -> str:
    """Return the file and the function of a frame; generated files are named after a hash, with paths in it."""
    file, cache = Path(frame.filename), os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    is_generated = cache is not None and file.is_relative_to(cache)
    return f"{'generated code' if is_generated else comparable(file.name)}:{frame.name}"


def _places(raised: BaseException) -> list[str]:
    """Return each place once that an error, and those that it was raised from, went through: the outermost first."""
    found: dict[str, None] = {}
    error: BaseException | None = raised
    while error is not None:
        # The frames alone: reading the line of each of a thousand would take longer than the compile.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            code = frame.f_code
            found[_place(traceback.FrameSummary(code.co_filename, None, code.co_name, lookup_line=False))] = (
                None
            )
        error = error.__cause__ or error.__context__
    return list(found)


def _name(constraint: Any) -> str:
    # PyTorch 2.4 records a functools.partial.
    return getattr(getattr(constraint, "func", constraint), "__name__", str(constraint))


@contextlib.contextmanager
def _replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
    original = vars(holder)[name]
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, original)
