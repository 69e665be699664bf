"""Runs test files on a copy of the checkout, each time in a fork of a process that has imported what takes long."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from forked import last_of_process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

ROOT = Path(__file__).resolve().parent.parent
# Bytes that a process of the tests may allocate: a mutant whose loop never ends may fill a list meanwhile.
_MEMORY = 12 * 2**30
# Imported before any fork, without PyTorch.
_LIGHT = ("pytest", "hypothesis", "xdist.plugin", "wrapt", "unittest.mock", "asyncio", "packaging.version")
# Imported before any fork of the tests that use PyTorch.
_TORCH = (*_LIGHT, "torch", "torch._inductor.graph", "torch._inductor.compile_fx")
# These would take most of the time, each of a survivor's run.  What they alone notice gets a test of its own.
_LEFT_OUT = (
    "tests/test_manager.py::TestAnything",
    "tests/hooks/test_set_proxy.py::test_the_namespaces_of_pytorch",
    "tests/hooks/test_set_proxy.py::test_the_overload_in_turn",
    "tests/hooks/test_set_proxy.py::test_a_series_that_refuses_tagged_ops",
    "tests/test_manager.py::test_nothing_else_under_the_lock",
)

Outcome = Literal["passed", "failed", "timeout", "broken"]


class Result(NamedTuple):
    """What came of a run of test files.

    Attributes:
        outcome: Whether all tests passed, one failed or did not end, or none was found.
        seconds: How long the run took.
        failed: The test that failed; empty where that is not known.
        durations: The seconds of each test that was run.
    """

    outcome: Outcome
    seconds: float
    failed: str
    durations: dict[str, float]


class Copy:
    """A copy of the checkout, whose modules can be replaced, and the processes that run its tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        listed = subprocess.run(
            [shutil.which("git") or "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self._servers: dict[bool, _Server] = {}
        # A bytecode file is taken for that of a source with the same time, in seconds, and size.
        self._times = itertools.count(int(time.time()) - 10_000_000, 2)

    def write(self, module: str, source: str) -> None:
        """Replace a module of the copy."""
        path = self.folder / module
        path.write_text(source)
        now = next(self._times)
        os.utime(path, (now, now))

    def run(self, files: Sequence[str], deadline: float, first: Sequence[str] = (), *, torch: bool) -> Result:
        """Run the tests of ``files``, those that ``first`` names before the others, until one fails."""
        if torch not in self._servers:
            self._servers[torch] = _Server(self.folder, _TORCH if torch else _LIGHT)
        return self._servers[torch].run(files, deadline, first)

    def output(self) -> str:
        """Return what the last run printed."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def close(self) -> None:
        """End the processes."""
        # The newer one has inherited the ends of the older one's pipe.
        for server in reversed(self._servers.values()):
            server.close()


class _Server:
    """A process that forks itself for each run."""

    def __init__(self, folder: Path, imports: Sequence[str]) -> None:
        assert "lowering_hooks" not in sys.modules, "the tests would import it from elsewhere than the copy"  # noqa: S101
        self._connection, theirs = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            with last_of_process():
                self._connection.close()
                _serve(folder, imports, theirs)
        theirs.close()

    def run(self, files: Sequence[str], deadline: float, first: Sequence[str]) -> Result:
        self._connection.send((list(files), deadline, list(first)))
        return Result(*self._connection.recv())

    def close(self) -> None:
        self._connection.close()
        os.waitpid(self._pid, 0)


def _serve(folder: Path, imports: Sequence[str], connection: Connection) -> None:
    os.environ.update(
        {
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "",
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
            "TMPDIR": str(folder / "tmp"),
        }
    )
    sys.dont_write_bytecode = False
    os.chdir(folder / "tests")
    checkout = (str(ROOT), str(ROOT / "tools"))
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in checkout)]
    for name in imports:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # What is there already is not looked at again and again, nor copied for it, by the processes below.
    gc.collect()
    gc.freeze()
    while True:
        try:
            files, deadline, first = connection.recv()
        except EOFError:
            os._exit(0)
        (folder / "tmp").mkdir(exist_ok=True)
        (folder / "tests.jsonl").write_text("")
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            _test(folder, files, first, connection)
        status = _wait(child, deadline)
        seconds = time.monotonic() - start
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        lines = (folder / "tests.jsonl").read_text().splitlines()
        tests = [json.loads(line) for line in lines]
        durations = {test: duration for test, duration, _ in tests}
        # A mutant that ends the process with 0 before a test was run has not passed.
        outcome: Outcome = "passed" if status == 0 and tests else "timeout" if status is None else "failed"
        if status == 5:  # pytest found no test
            outcome = "broken"
        connection.send((outcome, seconds, next((test for test, _, bad in tests if bad), ""), durations))


def _wait(child: int, deadline: float) -> int | None:
    """Wait for a process and return its exit status; end it, and return None, after ``deadline`` seconds."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


class _Plugin:
    """Runs some tests first, and writes down how each came out."""

    def __init__(self, folder: Path, first: Sequence[str]) -> None:
        self._path = folder / "tests.jsonl"
        self._rank = {test: rank for rank, test in enumerate(first)}
        self._seconds = 0.0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self._rank.get(item.nodeid, len(self._rank)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._seconds += report.duration
        if report.when == "teardown" or report.failed:
            with self._path.open("a") as file:
                print(json.dumps([report.nodeid, self._seconds, report.failed]), file=file)
            self._seconds = 0.0


def _test(folder: Path, files: Sequence[str], first: Sequence[str], connection: Any) -> None:
    with last_of_process():
        connection.close()
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        import hypothesis
        import pytest

        # Whether a test notices a mutant must not be a matter of luck.
        hypothesis.settings.register_profile("mutation", derandomize=True, database=None)
        hypothesis.settings.load_profile("mutation")
        left_out = [argument for test in _LEFT_OUT for argument in ("--deselect", test)]
        options = [
            *left_out,
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            str(folder / "pyproject.toml"),
            "--rootdir",
            str(folder),
        ]
        sys.exit(pytest.main([*options, *files], [_Plugin(folder, first)]))
