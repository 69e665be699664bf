"""Runs one vLLM engine in processes of its own, and returns what came of it.

``verify.py`` and ``benchmarks/vllm_engine.py`` import this in the engine's environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lowering_hooks.cli.compile_process import OURS, PLAIN_SET_PROXY
from lowering_hooks.cli.environment import uncached

# An engine may take so many seconds, whatever deadline its lowerings have.
LIMIT: Final = 420.0
WORKER: Final = Path(__file__).with_name("engine_worker.py")


class EngineError(RuntimeError):
    """An engine ended without an answer; the message holds the end of its log."""


@dataclass(frozen=True)
class Case:
    """One engine to run.

    Attributes:
        variant: As ``compile_process.VARIANTS`` has them.
        config: The model's ``config.json``.
        functional: Whether the functional kernels replace vLLM's.
        compiled_experts: Whether its routed experts are ``_C::cpu_fused_moe``, and not
            ``vllm::moe_forward_shared`` around it; of functional kernels only.
        seed: The seed of its weights.
        tensor_parallel: How many workers share the model.
        eager: Whether nothing is compiled.
        multiprocessing: Whether the engine core has a process of its own, as by default.  Without, 0.32.0 is
            one process, and 0.22.1 has one beside it for its worker.
        undo_proxy: Whether vLLM's proxy is undone.
        autoload: Whether PyTorch may load lowering-hooks.
        plugins: What ``VLLM_PLUGINS`` names beside the plugin of these checks; None where it is not set.
        disallowed: The namespaces that lowering-hooks no longer allows, in every process.
        deadline: Seconds that the lowering of one graph may take.
    """

    variant: str
    config: Mapping[str, Any]
    functional: bool = False
    compiled_experts: bool = False
    seed: int = 0
    tensor_parallel: int = 1
    eager: bool = False
    multiprocessing: bool = False
    undo_proxy: bool = False
    autoload: bool = True
    plugins: tuple[str, ...] | None = None
    disallowed: tuple[str, ...] = ()
    deadline: float = 120.0

    def allowing_nothing(self) -> Case:
        """Return the case with lowering-hooks and no namespace allowed.

        vLLM does not load the plugin that would add the namespaces of its kernels, and the default ones are taken back.
        """
        return replace(self, variant=OURS, plugins=(), disallowed=("vllm", "vllm_aiter"))


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        answer: What the engine answered (``engine_worker.py``); None where the deadline ended it.
        processes: What the plugin saw of each process (its ``Observed``), with the ``report`` that
            lowering-hooks wrote there, or None.  Where there is one, it has the seconds of the texts.
        seconds: How long the engine took, from its start to its end.
    """

    answer: dict[str, Any] | None
    processes: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [process["report"] for process in self.processes if process["report"] is not None]

    @property
    def names(self) -> str:
        return ", ".join(sorted(process["process"] for process in self.processes))

    @property
    def ops(self) -> set[str]:
        """The ops that lowering-hooks saw fall back, in any process."""
        return {op["op"] for report in self.reports for op in report["ops"] if op["fallbacks"]}

    @property
    def cut(self) -> int:
        """How many texts of ops lowering-hooks cut, in all processes."""
        return sum(op["cut"] for report in self.reports for op in report["ops"])

    def total(self, what: str) -> float:
        """Return the sum over the processes of a number that the plugin saw."""
        return sum(process[what] for process in self.processes)


def run(case: Case, folder: Path) -> Outcome:
    """Run a case.

    Args:
        case: The engine to run.
        folder: Where its files go; what is compiled to machine code there is used again by the next case.

    Raises:
        EngineError: It ended without an answer, before its deadline.
    """
    own = folder / f"case-{len(list(folder.glob('case-*')))}"
    for name in ("observed", "reports"):
        (own / name).mkdir(parents=True)
    spec = {
        "folder": str(own),
        "config": dict(case.config),
        "tensor_parallel": case.tensor_parallel,
        "eager": case.eager,
    }
    start = time.monotonic()
    log = own / "log.txt"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=own,
            env=environment(case, own, folder / "cache"),
            start_new_session=True,
        ) as process,
    ):
        try:
            ended = _wait(process, case, own, start + LIMIT)
        finally:
            _kill(process)
    if ended and (process.returncode != 0 or not (own / "answer.json").exists()):
        raise EngineError(f"{case}: exit status {process.returncode}\n{log.read_text()[-4000:]}")
    return Outcome(
        answer=json.loads((own / "answer.json").read_text()) if ended else None,
        processes=_processes(own),
        seconds=time.monotonic() - start,
    )


def environment(case: Case, own: Path, cache: Path) -> dict[str, str]:
    """Return the environment of a case's engine.

    Args:
        case: The engine to run.
        own: The folder of this case's files.
        cache: The folder for what later cases may use again.
    """
    # An engine compiles as it does for its users: in a pool of processes, with vector instructions.
    found = uncached(cache / "inductor", clear=("TORCH_", "VLLM_"), autoload=case.autoload, quick=False)
    found |= {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(case.multiprocessing)),
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        # vLLM's own cache: a graph that it has is not lowered.
        "VLLM_DISABLE_COMPILE_CACHE": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        # A worker writes its report when it ends, which takes seconds (vLLM 0.32.0; 0.22.1 ignores this).
        "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "60",
        "VLLM_DOWNSTREAM": json.dumps(
            {
                "observed": str(own / "observed"),
                "seed": case.seed,
                "functional": case.functional,
                "compiled_experts": case.compiled_experts,
                "allow_list": _allow_list(case),
                "disallowed": case.disallowed,
                "texts": case.variant != OURS,
            }
        ),
    }
    if case.variant == OURS:
        found["LOWERING_HOOKS_REPORT"] = str(own / "reports" / "%p.json")
    else:
        found["LOWERING_HOOKS"] = "0"
    if case.plugins is not None:
        found["VLLM_PLUGINS"] = ",".join((*case.plugins, "downstream"))
    if case.tensor_parallel > 1:
        found["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(map(str, range(case.tensor_parallel)))
    return found


def _allow_list(case: Case) -> str:
    if case.undo_proxy:
        return "original"
    return PLAIN_SET_PROXY if case.variant == PLAIN_SET_PROXY else "as found"


def _wait(process: subprocess.Popen[bytes], case: Case, own: Path, limit: float) -> bool:
    """Wait for the process, and return whether it ended before a lowering's deadline."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
            return True
        if any(
            seen["lowering_since"] is not None and time.time() - seen["lowering_since"] > case.deadline
            for seen in _observed(own).values()
        ):
            return False
        if time.monotonic() > limit:
            raise EngineError(f"{case}: no end in {LIMIT:g} s\n{(own / 'log.txt').read_text()[-4000:]}")


def _observed(own: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in (own / "observed").glob("*.json")}


def _processes(own: Path) -> list[dict[str, Any]]:
    reports = {file.stem: json.loads(file.read_text()) for file in (own / "reports").glob("*.json")}
    found = []
    for pid, seen in sorted(_observed(own).items()):
        report = reports.get(pid)
        timed = {} if report is None else {"text_seconds": report["seconds"]}
        found.append(seen | timed | {"report": report})
    return found


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
