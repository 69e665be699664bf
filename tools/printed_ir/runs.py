"""Runs all models, each in a process that has compiled nothing before, and keeps what came of them."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
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


def measure(output: Path, only: list[str]) -> None:
    """Run the models, all of them or some, and write down what came out after each."""
    earlier: dict[str, Any] = json.loads(output.read_text())["models"] if output.exists() and only else {}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runner = Runner(Path(folder))
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
        runner.end()


def measured(runner: Runner, name: str) -> dict[str, Any]:
    """Return how a model came out deep with lowering-hooks, and shallow without."""
    hooked = runner.run(name, LAYERS, "hooked")
    if "unavailable" in hooked:
        return {"unavailable": hooked["unavailable"]}
    stock = {str(layers): runner.run(name, layers, "stock", askers=True) for layers in STOCK_LAYERS}
    bounded = runner.run(name, CODE_LAYERS, "bounded")
    codes = [result.pop("code", None) for result in (hooked, *stock.values(), bounded)]
    # The code of the models with files holds the names of temporary folders; that of autotuning depends on timings.
    is_fixed = stock[str(CODE_LAYERS)].get("way") != "files" and not name.startswith("autotuning")
    compared = codes[1] and codes[3] and is_fixed
    return {
        "hooked": hooked,
        "stock": stock,
        "same_code": codes[1] == codes[3] if compared else None,
    }


def ending(result: dict[str, Any]) -> str:
    """Say in a few words how a compile ended."""
    if "no_end" in result:
        return f"**no end in {result['no_end']} s**"
    if "seconds" not in result:
        return "**failed**"
    return f"{result['seconds']:.1f} s" + (f", {result['error']}" if result["error"] else "")
