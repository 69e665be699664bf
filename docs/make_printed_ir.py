"""Writes ``printed-ir.md``: where Inductor prints IR, and what becomes of it with lowering-hooks.

``python docs/make_printed_ir.py measure SERIES.json [MODEL ...]`` runs the models of printed_ir_models.py on the
PyTorch that runs it, each in a process that has compiled nothing before, and writes down how they came out;
with names, it takes only those anew.  ``python docs/make_printed_ir.py draw`` makes the page of all the JSON
files.  ``--check`` changes nothing and fails where the page is not the one that the JSON files make; drawing and
checking need nothing but the standard library.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# Seconds for one compile, and bytes of memory.
DEADLINE = 60
MEMORY = 8 * 2**30
LAYERS = 60
STOCK_LAYERS = (6, 8)
# Depth at which the generated code is compared, always bounded against stock.
CODE_LAYERS = 6

# What is set for a run beside its depth.
VARIANTS: dict[str, dict[str, str]] = {
    "hooked": {"LOWERING_HOOKS_BOUNDED_IR": "1"} if os.environ.get("STAND_IN") else {},
    "stock": {"LOWERING_HOOKS": "0"},
    "bounded": {"LOWERING_HOOKS_BOUNDED_IR": "1"},
}


def environment() -> dict[str, str]:
    """Return the environment of the processes that compile: nothing cached, nothing of ours set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # With CI set, Inductor refuses a fallback for an op that has a decomposition.
        if not name.startswith(("LOWERING_HOOKS", "TORCH_LOGS", "TORCHINDUCTOR", "TORCH_COMPILE")) and name != "CI"
    }
    return kept | {
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_VEC_ISA_OK": "0",
        # A process imports PyTorch for all models and lowering-hooks for those that are to have it.
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    }


def serve() -> None:
    """Import PyTorch once, and run each task that is read in a child of this process."""
    sys.path.insert(0, str(HERE))
    import printed_ir_models
    import torch._inductor.codegen.cpp
    import torch._inductor.compile_fx
    import torch._inductor.scheduler

    print(json.dumps(str(printed_ir_models.torch.__version__)), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            run_task(task)
        print(json.dumps(os.waitpid(child, 0)[1]), flush=True)


def run_task(task: dict[str, Any]) -> None:
    """Run one model and write down what was measured; the end of this process."""
    try:
        signal.alarm(task["deadline"])
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        output = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(task["variables"])
        if os.environ.get("LOWERING_HOOKS") != "0":
            import lowering_hooks

            assert lowering_hooks.status().state == "active", lowering_hooks.status()
        import printed_ir_models

        measured = printed_ir_models.run_model(task["model"], task["layers"], task["askers"])
        Path(task["output"]).write_text(json.dumps(measured))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class Runner:
    """Runs models in forks of a process that has imported PyTorch and compiled nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.torch = str(self._read())

    def _read(self) -> Any:
        assert self.server.stdout is not None
        for line in self.server.stdout:
            if line.startswith(('"', "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")):
                return json.loads(line)
        raise RuntimeError("the process that runs the models has ended")

    def run(self, model: str, layers: int, variant: str, askers: bool = False) -> dict[str, Any]:
        assert self.server.stdin is not None
        cache, output, log = (self.folder / name for name in ("cache", "output.json", "log"))
        for path in (output, log):
            path.unlink(missing_ok=True)
        cache.mkdir(parents=True)
        variables = VARIANTS[variant] | {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
        task = {
            "model": model,
            "layers": layers,
            "variables": variables,
            "askers": askers,
            "deadline": DEADLINE,
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
    sys.path.insert(0, str(HERE))
    data: dict[str, Any] = json.loads(output.read_text()) if output.exists() and only else {"models": {}}
    names = subprocess.run(
        [sys.executable, str(HERE / "printed_ir_models.py")], stdout=subprocess.PIPE, text=True, env=environment()
    ).stdout.split()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runner = Runner(Path(folder))
        data |= {
            "torch": runner.torch,
            "python": platform.python_version(),
            "date": datetime.date.today().isoformat(),
        }
        for name in only or names:
            measured: dict[str, Any] = {"hooked": runner.run(name, LAYERS, "hooked")}
            if "unavailable" not in measured["hooked"]:
                for layers in STOCK_LAYERS:
                    measured[f"stock-{layers}"] = runner.run(name, layers, "stock", askers=True)
                measured["bounded"] = runner.run(name, CODE_LAYERS, "bounded")
            data["models"][name] = measured
            print(summary(name, measured), flush=True)
            output.write_text(json.dumps(data, indent=1) + "\n")
        assert runner.server.stdin is not None
        runner.server.stdin.close()
        runner.server.wait()


def summary(name: str, measured: dict[str, Any]) -> str:
    def one(result: dict[str, Any]) -> str:
        if "seconds" not in result:
            return str(result)[:700]
        parts = [f"{result['seconds']:.1f}s {result['error']} msg {result['message']:,}"]
        parts.append(f"log {result['log']:,} max {result['largest_log'][0]:,} {result['largest_log'][1]}")
        parts.append(f"files {result['files']:,} max {result['largest_file']:,} {result['file']}")
        if not result["cause"] and result["error"]:
            parts.append("NO CAUSE " + result["head"])
        return "; ".join(parts)

    lines = [f"{name}:"] + [f"    {variant}: {one(result)}" for variant, result in measured.items()]
    shallow, bounded = (measured.get(key, {}).get("code") for key in ("stock-6", "bounded"))
    lines.append(f"    code {'same' if shallow == bounded else 'DIFFERS'} {len(shallow or ())}; asked {measured.get('stock-6', {}).get('asked_by')}")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["measure"]:
        measure(Path(sys.argv[2]), sys.argv[3:])
