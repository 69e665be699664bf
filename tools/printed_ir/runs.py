"""Runs all models, each in a process that has compiled nothing before, and keeps what came of them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from machine import facts

from lowering_hooks.cli.environment import uncached

TOOLS = Path(__file__).resolve().parent.parent

# One compile may take so many seconds, and so many bytes of memory.
DEADLINE = 120
MEMORY = 8 * 2**30
# Depths with lowering-hooks, and with stock, which must end.
LAYERS = 60
STOCK_LAYERS = (6, 8)
# At this depth the generated code is compared: that of stock, and that with every text bounded.
CODE_LAYERS = 6

# The variables that make a variant.
VARIANTS: dict[str, dict[str, str]] = {
    "hooked": {},
    "stock": {"LOWERING_HOOKS": "0"},
    "bounded": {"LOWERING_HOOKS_BOUNDED_IR": "1"},
}


def environment(cache: Path) -> dict[str, str]:
    """Return the environment of the processes that compile."""
    # A process imports PyTorch for all models, and lowering-hooks only for those that are to have it.
    found = uncached(cache, autoload=False)
    others = found.get("PYTHONPATH")
    return found | {"PYTHONPATH": os.pathsep.join([str(TOOLS), *([others] if others else [])])}


class Runner:
    """Runs models in forks of a process that has imported PyTorch and compiled nothing.

    Args:
        folder: Where its files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = subprocess.Popen(
            [sys.executable, "-m", "printed_ir.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # PyTorch 2.0 reads where the cache is when it is imported.
            env=environment(folder / "cache"),
        )
        started = self._read()
        self.torch: str = started["torch"]
        # How each model makes Inductor print, by the models' names.
        self.reached: dict[str, str] = started["reached"]

    def _read(self) -> Any:
        assert self.server.stdout is not None
        for line in self.server.stdout:
            # What PyTorch prints begins otherwise.
            if line[0] in "{0123456789":
                return json.loads(line)
        raise RuntimeError("the process that runs the models has ended")

    def end(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def run(self, model: str, layers: int, variant: str, askers: bool = False) -> dict[str, Any]:
        """Run a model, and return what ``measuring`` found, or why it did not end.

        Args:
            model: Its name.
            layers: Its depth.
            variant: One of :data:`VARIANTS`.
            askers: Whether to find out who asks for texts.
        """
        assert self.server.stdin is not None
        cache, output, log = (self.folder / name for name in ("cache", "output.json", "log"))
        for path in (output, log):
            path.unlink(missing_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
        variables = VARIANTS[variant] | {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
        task = {
            "model": model,
            "layers": layers,
            "variables": variables,
            "askers": askers,
            "deadline": DEADLINE,
            "memory": MEMORY,
            "output": str(output),
            "log": str(log),
        }
        self.server.stdin.write(json.dumps(task) + "\n")
        self.server.stdin.flush()
        status = self._read()
        shutil.rmtree(cache, ignore_errors=True)
        if output.exists():
            measured: dict[str, Any] = json.loads(output.read_text())
            return measured
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            return {"no_end": DEADLINE}
        tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
        if "MemoryError" in tail:
            return {"no_memory": MEMORY}
        return {"failed": tail}


def measure(output: Path, only: list[str]) -> list[str]:
    """Run the models, all of them or some, and write down what came out after each.

    Args:
        output: The JSON file of the series; of the models that are not run it keeps what it had.
        only: The names of the models that are run; all where there are none.

    Returns:
        What does not hold of the models in the file, one sentence each.

    Raises:
        UnknownModelError: ``only`` has a name that no model has.
    """
    earlier: dict[str, Any] = json.loads(output.read_text())["models"] if output.exists() and only else {}
    with running() as runner:
        if unknown := set(only) - set(runner.reached):
            raise UnknownModelError(unknown, runner.reached)
        output.parent.mkdir(parents=True, exist_ok=True)
        # A run that is interrupted keeps what it has, and what earlier ones had.
        results = {name: earlier[name] for name in runner.reached if name in earlier}
        data = {
            "torch": runner.torch,
            "python": platform.python_version(),
            **facts(),
            "models": results,
        }
        for name, words in runner.reached.items():
            if only and name not in only:
                continue
            result = results[name] = {"reached": words, **measured(runner, name)}
            print(f"{name}: {result.get('unavailable') or ending(result['hooked'])}", flush=True)
            output.write_text(json.dumps(data, indent=1) + "\n")
    return broken_claims(results)


@contextlib.contextmanager
def running() -> Iterator[Runner]:
    """Have a process that runs models, which ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runner = Runner(Path(folder))
        try:
            yield runner
        finally:
            runner.end()


class UnknownModelError(ValueError):
    """Someone asked for models that there are not.

    Args:
        unknown: What was asked for.
        known: The names that there are.
    """

    def __init__(self, unknown: Iterable[str], known: Iterable[str]) -> None:
        names = ", ".join(map(repr, sorted(unknown)))
        super().__init__(f"no such model: {names}; accepted: {', '.join(known)}")


def measured(runner: Runner, name: str) -> dict[str, Any]:
    """Return how a model came out deep with lowering-hooks, shallow without, and with every text bounded."""
    hooked = runner.run(name, LAYERS, "hooked")
    if "unavailable" in hooked:
        return {"unavailable": hooked["unavailable"]}
    stock = {str(layers): runner.run(name, layers, "stock", askers=True) for layers in STOCK_LAYERS}
    bounded = runner.run(name, CODE_LAYERS, "bounded")
    of_stock = stock[str(CODE_LAYERS)]
    # The code of the models with files holds the names of temporary folders; that of autotuning depends on timings.
    is_fixed = of_stock.get("way") != "files" and not name.startswith("autotuning")
    # Where stock generates code, a bounded run that fails, or does not end, has not generated the same.
    same_code = of_stock["code"] == bounded.get("code") if is_fixed and of_stock.get("code") else None
    for result in (hooked, *stock.values(), bounded):
        result.pop("code", None)
    return {"hooked": hooked, "stock": stock, "bounded": bounded, "same_code": same_code}


def broken_claims(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what does not hold of these models, one sentence each.

    Args:
        models: What :func:`measured` returned of each, by name.
    """
    broken = []
    for name, model in models.items():
        if "unavailable" in model:
            continue
        if not has_ended(model["hooked"]):
            broken.append(f"{name}: with lowering-hooks, {LAYERS} layers: {ending(model['hooked'])}")
        if model["same_code"] is False:
            ended = ending(model["bounded"]) if "bounded" in model else "not written down"
            broken.append(f"{name}: with every text bounded, the code is another; that compile: {ended}")
    return broken


def has_ended(result: Mapping[str, Any]) -> bool:
    """Tell whether a compile ended by itself, with a result or an error, neither killed nor crashed."""
    return "seconds" in result


def ending(result: Mapping[str, Any]) -> str:
    """Say in a few words how a compile ended."""
    if "no_end" in result:
        return f"**no end in {result['no_end']} s**"
    if "no_memory" in result:
        return f"**needs more than {result['no_memory'] // 2**30} GiB**"
    if not has_ended(result):
        return "**crashed**"
    return f"{result['seconds']:.1f} s" + (f", {result['error']}" if result["error"] else "")
