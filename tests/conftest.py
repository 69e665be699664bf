"""What the tests share: fresh processes, and an allow list that is put back after each test."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import cpu

import lowering_hooks
from lowering_hooks.cli.environment import uncached
from lowering_hooks.compat import choose

# Seconds.  Generous: it ends what would never end, and a slow machine must not fail a test.
DEADLINE = 600

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(cache: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a fresh process: nothing cached but compiled C++, nothing of ours set."""
    # Stock must be stock: where lowering_hooks is wanted, it is imported.
    return uncached(cache, autoload=False) | variables


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture(scope="session")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run Python code, or a script with arguments, in a fresh process outside the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def run_python(
        code: str | Path, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        head = [str(code)] if isinstance(code, Path) else ["-c", textwrap.dedent(code)]
        done = subprocess.run(
            [sys.executable, *head, *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            cwd=folder,
            env=environment(cache, **variables),
        )
        if check:
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    return run_python


# Importing Inductor takes most of the seconds of a fresh process.  This one has done so, and nothing else: each
# line it reads is code to be run in a fork of it.
_FORK_SERVER = """
import json, os, signal, sys, traceback
import torch._inductor.compile_fx
for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(task["deadline"])
            for descriptor in (1, 2):
                os.dup2(os.open(task["outputs"][descriptor - 1], os.O_WRONLY | os.O_CREAT), descriptor)
            os.environ.update(task["variables"])
            exec(compile(task["code"], "<string>", "exec"), {"__name__": "__main__"})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture(scope="session")
def run_beside_inductor(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run Python code in a process that has imported Inductor, compiled nothing and never heard of us."""
    folder = tmp_path_factory.mktemp("forked")
    server = subprocess.Popen(
        [sys.executable, "-c", _FORK_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(cache),
    )
    assert server.stdin is not None
    assert server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def run_forked(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        outputs = [folder / name for name in ("stdout", "stderr")]
        for output in outputs:
            output.write_text("")
        code = textwrap.dedent(code)
        task = {"code": code, "variables": variables, "deadline": DEADLINE, "outputs": [*map(str, outputs)]}
        stdin.write(json.dumps(task) + "\n")
        stdin.flush()
        status = int(stdout.readline())
        out, err = (output.read_text() for output in outputs)
        assert status == 0, out[-4000:] + err[-4000:]
        return subprocess.CompletedProcess(code, status, out, err)

    yield run_forked
    stdin.close()
    assert server.wait(DEADLINE) == 0


def write_down(topic: str, measured: dict[str, Any]) -> None:
    """Write ``TOPIC.json`` into the folder that MEASURED names, if it names one (tools/make_compatibility.py)."""
    if folder := os.environ.get("MEASURED"):
        Path(folder, f"{topic}.json").write_text(json.dumps(measured))


@pytest.fixture(scope="session")
def record() -> Callable[[str, dict[str, Any]], None]:
    return write_down


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write down how the suite as a whole came out; called in the one process that has all results."""
    if not os.environ.get("MEASURED"):
        return
    # Here, since the tests of nox's session ``imports`` run without PyTorch.
    import torch

    stats = terminalreporter.stats
    write_down(
        "suite",
        {
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "strategy": choose(str(torch.__version__)).strategy,
            "date": datetime.date.today().isoformat(),
            "cpu": cpu(),
            "cores": os.cpu_count(),
            "passed": len(stats.get("passed", [])),
            "failed": len(stats.get("failed", [])) + len(stats.get("error", [])),
            "skipped": len(stats.get("skipped", [])),
        },
    )


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave what lowering-hooks did in this process as it was."""
    before = lowering_hooks.allowed_namespaces()
    yield
    now = lowering_hooks.allowed_namespaces()
    lowering_hooks.disallow(*(now - before))
    lowering_hooks.allow(*(before - now))
    lowering_hooks.apply()
    lowering_hooks.reset_report()
