"""Hands every graph to a process for each way of compiling, and compares what comes back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS.parent / "downstream"))

import compiling

from .plan import MADE_TO_DIFFER, WAYS

# Seconds that one graph may take in one way.
DEADLINE: Final = 240
# A process is replaced after so many graphs: it holds all that they defined.
GRAPHS_A_PROCESS: Final = 200


@dataclass(frozen=True)
class Outcome:
    """What came of one graph.

    Attributes:
        seen: What was seen in each way.
        differing: What differs from stock in each way, where something does.
        unstable: What differs between two compiles of stock.
        findings: What differs in each way that must not, in both compiles, and is not unstable.
        once: What differs in each way that must not, in one of two compiles only, and is not unstable.
    """

    seen: dict[str, dict[str, Any]]
    differing: dict[str, list[str]]
    unstable: list[str]
    findings: dict[str, list[str]]
    once: dict[str, list[str]]

    def raise_findings(self, graph: dict[str, Any]) -> None:
        """Raise an AssertionError that tells each finding, and of what graph, where there is one."""
        if self.findings:
            stock = self.seen["stock"]
            told = [
                f"{way}: {name} is {self.seen[way].get(name)!r:.400}, in stock {stock.get(name)!r:.400}"
                for way, names in self.findings.items()
                for name in names
            ]
            raise AssertionError(
                "\n".join([f"differs from stock: {self.findings}", *told, json.dumps(graph)])
            )


@dataclass
class _Process:
    pid: int
    lines: Any
    graphs: int = 0


class Ways:
    """Compiles graphs in several ways.

    Args:
        folder: Where files go, such as what was compiled.

    Attributes:
        torch: The version of PyTorch.
        subgraphs: The kinds of subgraphs that it has.
    """

    def __init__(self, folder: Path) -> None:
        self._number = 0
        self._processes: dict[str, _Process] = {}
        address = folder / "socket"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(address))
        self._socket.listen()
        self._socket.settimeout(DEADLINE)
        self._log = folder / "log"
        environment = compiling.environment("stock", folder / "cache")
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py")), str(address)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        assert self._server.stdout is not None
        for line in self._server.stdout:
            # What PyTorch prints begins otherwise.
            if line.startswith("{"):
                hello = json.loads(line)
                break
        else:
            raise RuntimeError(f"the process that compiles has ended: {self.errors()}")
        self.torch: str = hello["torch"]
        self.subgraphs: list[str] = hello["subgraphs"]

    def errors(self) -> str:
        """Return the end of what the processes wrote to their standard errors."""
        return self._log.read_text(errors="replace")[-3000:]

    def compile(self, graph: dict[str, Any], *ways: str) -> dict[str, dict[str, Any]]:
        """Return what was seen of ``graph`` in each of these ways; the processes work side by side."""
        self._number += 1
        task = json.dumps({"graph": graph, "number": self._number}) + "\n"
        for way in ways:
            process = self._process(way)
            process.lines.write(task)
            process.lines.flush()
        return {way: self._answer(way) for way in ways}

    def outcome(self, graph: dict[str, Any], *ways: str) -> Outcome:
        """Compile ``graph`` in each of these ways; where something differs that must not, once more."""
        seen = self.compile(graph, *ways)
        differing = differences(seen)
        names = [way for way in seen if way not in MADE_TO_DIFFER]
        if not any(way in differing for way in names):
            return Outcome(seen, differing, [], {}, {})
        again = differences(self.compile(graph, *dict.fromkeys([*names, "stock again"])))
        unstable = [*dict.fromkeys([*differing.get("stock again", ()), *again.get("stock again", ())])]
        findings, once = {}, {}
        for way in names:
            first, second = (set(found.get(way, ())) - set(unstable) for found in (differing, again))
            findings[way] = sorted(first & second)
            once[way] = sorted(first ^ second)
        return Outcome(seen, differing, unstable, _nonempty(findings), _nonempty(once))

    def end(self) -> None:
        """End all processes."""
        for way in list(self._processes):
            self._end(way)
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        self._socket.close()

    def _process(self, way: str) -> _Process:
        process = self._processes.get(way)
        if process is not None and process.graphs >= GRAPHS_A_PROCESS:
            self._end(way)
            process = None
        if process is None:
            process = self._processes[way] = self._started(way)
        process.graphs += 1
        return process

    def _started(self, way: str) -> _Process:
        mode = "stock" if way == "stock" else WAYS[way].mode
        task = {"way": way, "mode": mode, "log": str(self._log)}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()
        connection, _ = self._socket.accept()
        connection.settimeout(DEADLINE)
        lines = connection.makefile("rw")
        if not (hello := lines.readline()):
            raise RuntimeError(f"{way}: its process ended: {self.errors()}")
        return _Process(json.loads(hello)["pid"], lines)

    def _answer(self, way: str) -> dict[str, Any]:
        """Return the next answer of a way; what ends or takes too long is seen as "undefined"."""
        try:
            line = self._processes[way].lines.readline()
        except TimeoutError:
            line, why = "", f"no answer after {DEADLINE} seconds"
        else:
            why = "its process ended"
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._end(way)
        return {"undefined": why}

    def _end(self, way: str) -> None:
        process = self._processes.pop(way)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.lines.close()


def differing(stock: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what differs from stock."""
    if "undefined" in stock or "undefined" in other:
        return [] if stock.get("undefined") == other.get("undefined") else ["undefined"]
    found: list[str] = compiling.differences(stock, other)
    return found


def differences(seen: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return what differs from stock in each way, of those in which something does.

    "fallbacks" differ where lowering-hooks counted others than in the first of its ways.
    """
    found = {way: differing(seen["stock"], other) for way, other in seen.items() if way != "stock"}
    counted = {way: other["fallbacks"] for way, other in seen.items() if "fallbacks" in other}
    for way, fallbacks in counted.items():
        found[way] += ["fallbacks"] if fallbacks != next(iter(counted.values())) else []
    return _nonempty(found)


def _nonempty(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {way: names for way, names in found.items() if names}


@contextlib.contextmanager
def processes() -> Iterator[Ways]:
    """Have processes to compile in, which end with the block."""
    with tempfile.TemporaryDirectory(prefix="lh", ignore_cleanup_errors=True) as folder:
        found = Ways(Path(folder))
        try:
            yield found
        finally:
            found.end()
