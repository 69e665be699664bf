"""Tests and functions that run in a process of their own: the plugin of pytest, and the script of such a process.

The body of a test that is marked ``fresh_process`` is ordinary code::

    @pytest.mark.fresh_process(LOWERING_HOOKS="{value}")
    @pytest.mark.parametrize("value", ["0", "off"])
    def test_off(value) -> None:
        import lowering_hooks

        assert lowering_hooks.status().state == "inactive"

It runs in a process that has imported nothing but pytest and the module of the test.  So that module imports
neither PyTorch nor lowering-hooks at its top: the bodies do.  With ``beside_inductor=True`` the process is a fork
of one that has imported Inductor too, compiled nothing, and never heard of lowering-hooks; that spares a test the
seconds of the import.  The other keywords are environment variables, in which a name in braces stands for an
argument of the test.  The arguments are pickled.

A test that has to look at what a process printed, also at its end, asks for ``run`` or ``run_beside_inductor`` and
calls it with a function of its module.
"""

from __future__ import annotations

import ast
import faulthandler
import functools
import itertools
import json
import marshal
import os
import pickle
import signal
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Seconds.  Generous: it ends what would never end, and a slow machine must not fail a test.
DEADLINE = 600

Run = Callable[..., subprocess.CompletedProcess[str]]
# Starts a process for a task, with the variables and the deadline, and returns its exit status.
Start = Callable[[Path, dict[str, str], float], int]


def environment(cache: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a fresh process: nothing cached but compiled C++, nothing of ours set."""
    # Not at the top: a process of a test's own runs this file, and must not import lowering-hooks.
    from lowering_hooks.cli.environment import uncached

    # Stock must be stock: where lowering_hooks is wanted, it is imported.
    return uncached(cache, autoload=False) | variables


# --- in the process of pytest ------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fresh_process(*, beside_inductor=False, deadline=..., **variables): run the test in a process of its own",
    )


@pytest.fixture(autouse=True)
def _process_of_its_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test that is marked ``fresh_process`` call its function there."""
    marks = list(request.node.iter_markers("fresh_process"))
    if not marks:
        return
    options: dict[str, Any] = {}
    for mark in marks:  # that of a parameter comes last, and goes above that of the function
        options |= mark.kwargs
    run = request.getfixturevalue("run_beside_inductor" if options.pop("beside_inductor", False) else "run")
    function = request.node.obj

    def call(**arguments: Any) -> None:
        filled = {
            name: value.format(**arguments) if isinstance(value, str) else value
            for name, value in options.items()
        }
        run(function, *arguments.values(), **filled)

    monkeypatch.setattr(request.node, "obj", call)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture(scope="session")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Call a function, or run code or a script, in a fresh process outside the checkout."""
    elsewhere, tasks = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("tasks")

    def start(task: Path, variables: dict[str, str], deadline: float) -> int:
        with task.with_suffix(".out").open("w") as out, task.with_suffix(".err").open("w") as err:
            done = subprocess.run(
                [sys.executable, __file__, str(task)],
                stdout=out,
                check=False,
                stderr=err,
                timeout=deadline + 60,  # the process ends itself before, with the stack of each thread
                cwd=elsewhere,
                env=environment(cache, **variables),
            )
        return done.returncode

    def run_python(
        what: Callable[..., object] | Path | str,
        *arguments: Any,
        check: bool = True,
        deadline: float = DEADLINE,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        if callable(what):
            return _call(start, tasks, what, arguments, variables, deadline)
        done = subprocess.run(
            [sys.executable, *([str(what)] if isinstance(what, Path) else ["-c", what]), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=deadline,
            cwd=elsewhere,
            env=environment(cache, **variables),
        )
        if check:
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    return run_python


@pytest.fixture(scope="session")
def run_beside_inductor(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Call a function in a process that has imported Inductor, compiled nothing and never heard of us.

    The server is such a process, and forks itself for each function.  Importing Inductor takes most of the
    seconds of a fresh process.
    """
    tasks = tmp_path_factory.mktemp("forked")
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tasks,
        env=environment(cache),
    )
    assert server.stdin is not None
    assert server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def start(task: Path, variables: dict[str, str], deadline: float) -> int:
        stdin.write(f"{task}\n")
        stdin.flush()
        return os.waitstatus_to_exitcode(int(stdout.readline()))

    def run_forked(
        function: Callable[..., object], *arguments: Any, deadline: float = DEADLINE, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return _call(start, tasks, function, arguments, variables, deadline)

    yield run_forked
    stdin.close()
    assert server.wait(DEADLINE) == 0


_numbers = itertools.count()


def _call(
    start: Start,
    tasks: Path,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    variables: dict[str, str],
    deadline: float,
) -> subprocess.CompletedProcess[str]:
    """Call ``function`` in another process, and return what that printed.

    What it raises fails this test with its message, and a skip skips this test.
    """
    path = function.__code__.co_filename
    task = tasks / f"{next(_numbers)}-{function.__name__}"
    content = {
        "module": function.__module__,
        "file": path,
        "code": _rewritten(path),
        "function": function.__name__,
        "arguments": pickle.dumps(arguments),
        "variables": variables,
        "deadline": deadline,
    }
    task.write_bytes(pickle.dumps(content))
    status = start(task, variables, deadline)
    out, err = (task.with_suffix(suffix).read_text() for suffix in (".out", ".err"))
    printed = "".join(
        f"\n--- {name} of the process ---\n{text[-8000:]}"
        for name, text in (("stdout", out), ("stderr", err))
        if text
    )
    try:
        kind, text = json.loads(task.with_suffix(".outcome").read_text())
    except FileNotFoundError:
        kind, text = "failed", f"{function.__name__} did not return"
    if kind == "skipped":
        pytest.skip(text)
    if status != 0:
        text += f"\nthe process ended with exit status {status}"
    if kind == "failed" or status != 0:
        pytest.fail(text.strip() + printed, pytrace=False)
    return subprocess.CompletedProcess(function.__name__, status, out, err)


@functools.cache
def _rewritten(path: str) -> bytes:
    """Compile a module as pytest does, which has its assertions say what was compared."""
    from _pytest.assertion.rewrite import rewrite_asserts

    source = Path(path).read_bytes()
    tree = ast.parse(source, path)
    rewrite_asserts(tree, source, path)
    return marshal.dumps(compile(tree, path, "exec", dont_inherit=True))


# --- in the other process ----------------------------------------------------------------------------------------


def _do(path: str) -> None:
    """Call the function that the task at ``path`` names, and write down what came of it."""
    task = pickle.loads(Path(path).read_bytes())
    process, outcome = os.getpid(), ("passed", "")
    # Not dump_traceback_later(): a forked process would wait at its end for the thread that it makes.
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    signal.setitimer(signal.ITIMER_REAL, task["deadline"])
    try:
        module = _new_module(task["module"])
        module.__file__ = task["file"]
        exec(marshal.loads(task["code"]), vars(module))
        getattr(module, task["function"])(*pickle.loads(task["arguments"]))
    except BaseException as error:
        if os.getpid() != process:
            raise  # in a process that the function has forked
        is_skip = isinstance(error, pytest.skip.Exception)
        outcome = ("skipped", str(error)) if is_skip else ("failed", _described(error, task["file"]))
    if os.getpid() == process:
        Path(path).with_suffix(".outcome").write_text(json.dumps(outcome))


def _new_module(name: str) -> types.ModuleType:
    """Return a module that is found by its name, which pytest makes of its path, such as tests.test_faults."""
    parent = name.rpartition(".")[0]
    if parent and parent not in sys.modules:
        _new_module(parent).__path__ = []  # what is unpickled is looked for in its packages first
    module = sys.modules[name] = types.ModuleType(name)
    return module


def _described(error: BaseException, path: str) -> str:
    """Return the traceback of ``error`` from the function on, under a line that says where in ``path`` it was."""
    first = error.__traceback__.tb_next if error.__traceback__ else None
    lines = [frame.lineno for frame in traceback.extract_tb(first) if frame.filename == path]
    head = "".join(traceback.format_exception_only(type(error), error)).splitlines()[0]
    whole = "".join(traceback.format_exception(type(error), error, first))
    return f"{Path(path).name}:{lines[-1] if lines else '?'}: {head}\n\n{whole}"


def _serve() -> None:
    """Do each task whose path is a line of stdin in a fork of this process, and print how that ended."""
    import torch._inductor.compile_fx  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                _do_forked(line.rstrip("\n"))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(1)
        print(os.waitpid(child, 0)[1], flush=True)


def _do_forked(path: str) -> None:
    for descriptor, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(Path(path).with_suffix(suffix), os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(pickle.loads(Path(path).read_bytes())["variables"])
    _do(path)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        _serve()
    else:
        _do(sys.argv[1])
