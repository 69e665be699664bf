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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA, PAGE = HERE / "printed-ir", HERE / "printed-ir.md"

# Seconds for one compile, and bytes of memory.
DEADLINE = 120
MEMORY = 8 * 2**30
LAYERS = 60
STOCK_LAYERS = (6, 8)
# Depth at which the generated code is compared, always bounded against stock.
CODE_LAYERS = 6
# Models that the page names beside a place.
SHOWN_MODELS = 4

# What is set for a run beside its depth.
VARIANTS: dict[str, dict[str, str]] = {
    "hooked": {},
    "stock": {"LOWERING_HOOKS": "0"},
    "bounded": {"LOWERING_HOOKS_BOUNDED_IR": "1"},
}


def environment() -> dict[str, str]:
    """Return the environment of the processes that compile: nothing cached, nothing of ours set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # With CI set, Inductor refuses a fallback for an op that has a decomposition.
        if not name.startswith(("LOWERING_HOOKS", "TORCH_LOGS", "TORCHINDUCTOR", "TORCH_COMPILE"))
        and name != "CI"
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
    import torch._inductor.compile_fx  # noqa: F401

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
            # 2.0 reads where the cache is when it is imported.
            env=environment() | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")},
        )
        self.torch = str(self._read())

    def _read(self) -> Any:
        assert self.server.stdout is not None
        for line in self.server.stdout:
            if line.startswith(('"', "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")):
                return json.loads(line)
        raise RuntimeError("the process that runs the models has ended")

    def end(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def run(self, model: str, layers: int, variant: str, askers: bool = False) -> dict[str, Any]:
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
    models = [sys.executable, str(HERE / "printed_ir_models.py"), "--list"]
    listed = subprocess.run(models, stdout=subprocess.PIPE, text=True, env=environment(), check=True).stdout
    reached: dict[str, str] = json.loads(listed.splitlines()[-1])
    earlier: dict[str, Any] = json.loads(output.read_text())["models"] if output.exists() and only else {}
    # A run that is ended keeps what it has, and what earlier ones had.
    results = {name: earlier[name] for name in reached if name in earlier}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runner = Runner(Path(folder))
        data = {
            "torch": runner.torch,
            "python": platform.python_version(),
            "date": datetime.date.today().isoformat(),
            "models": results,
        }
        for name, words in reached.items():
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
    # With files, the code holds the names of temporary folders; with autotuning, timings decide what it is.
    is_fixed = stock[str(CODE_LAYERS)].get("way") != "files" and not name.startswith("autotuning")
    compared = codes[1] and codes[3] and is_fixed
    return {
        "hooked": hooked,
        "stock": stock,
        "same_code": codes[1] == codes[3] if compared else None,
    }


# The page.

HEAD = """\
# Where Inductor prints IR

<!-- Written by `nox -s printed-ir` from printed-ir/*.json. -->

The text of an IR node holds the texts of its operands, and theirs: it can double from layer to layer, and whoever asks for
it waits for all of it. This page lists who asks, what was tried to make each of them ask, and how that came out.

Every model of `docs/printed_ir_models.py` is made of custom ops with two outputs that the next one reads, in a namespace that
nobody has allowed. Each was compiled

* {layers} layers deep with lowering-hooks as it is installed, nothing set, with {deadline} seconds to end in;
* {stock} layers deep with stock PyTorch, to see that the place really prints IR, and how fast its text grows;
* {code} layers deep with every text bounded, to see that the generated code stays what it is in stock: no text of IR
  may reach code, the name of a kernel or a decision.

Each compile had a process that had compiled nothing before. In the models whose name ends in `-error` the lowering of the last op
fails; in those that end in `-log` Inductor's loggers write everything they have, and in those that end in `-files` it writes
its files, too. All ran on CPU. Seconds are of one compile each: orders of magnitude, no benchmark.

"""

# The places that no model reaches, and why.  Each was read in the releases that are named.
READ = (
    ("place", "releases", "what it prints", "why it was not reached"),
    (
        "`codegen/triton_utils.py`: `signature_of`, `is_aligned` (2.0: `codegen/triton.py`)",
        "2.0, 2.8, 2.15",
        "`unhandled {type(arg)}: {arg}`",
        "arguments of Triton kernels are names and sizes, no IR; needs Triton for the device",
    ),
    (
        "`ir.py`: `UserDefinedTritonKernel.codegen`",
        "2.8, 2.15",
        "`Unsupported arg type: {type(arg)}: {arg}`",
        "behind the code for a user's Triton kernel, which CPU ends before",
    ),
    (
        "`codegen/cuda/cuda_kernel.py` (2.15: `codegen/cutlass/kernel.py`), `codegen/rocm/rocm_kernel.py`",
        "2.8, 2.15",
        "`{inputs=}, {outputs=}`: lists of IR",
        "CUTLASS and CK templates need a GPU",
    ),
    (
        "`codegen/cpp_template_kernel.py`: `slice_nd`, `select`, `store_pointwise_nodes`, `store_output`",
        "2.8, 2.15",
        "`{ranges=}, {node=}`, `{dst=}, {src=}`, a node as an assertion's message",
        "only a mistake in a C++ template of Inductor's own gets there",
    ),
    (
        "`codegen/wrapper_fxir.py`: `_get_buffer`, `_generate_buffer`, `generate`",
        "2.8, 2.15",
        "`Unable to extract buffer from node: {node}`, `Unrecognized buffer/view node: {node}`, a line of the wrapper",
        "the FX wrapper has to be handed IR that it does not know",
    ),
    (
        "`codegen/wrapper.py`: `CommBufferLine.size`; `comm_lowering.py`: `_get_data`; `comm_analysis.py`: `get_collective_type`",
        "2.8, 2.15",
        "`The size of a comm buffer can't be symbolic: {node}`, `(got {x.data})`, `node is not a collective kernel: {node}`",
        "needs symmetric memory or several ranks; each is one node's text",
    ),
    (
        "`comm_lowering.py`: `realize_as_comm_buffer`; `ir.py`: `CommBufferLayout`; `select_algorithm.py`; `scheduler.py`",
        "2.8, 2.15",
        "layouts",
        "a layout prints sizes, strides and a device, no IR: `NonOwningLayout` and `MutationLayout` leave out the node they hold",
    ),
    (
        "`lowering.py`: `as_strided`",
        "2.0, 2.8, 2.15",
        "`unrealized as_strided({x}, ...)`",
        "everything that reaches it has been realized just before; `ir_in_the_message` is a message of this kind",
    ),
    (
        "`ir.py`: `Buffer.get_name`, `MultiOutput.get_free_symbol_uses`, `ExternKernel.unwrap_storage`, `MutationLayout.realize_into`",
        "2.0, 2.8, 2.15",
        "a node as an assertion's message",
        "only IR of a wrong kind gets there; `ir_as_the_message` is a message of this kind",
    ),
    (
        "`ir.py`: `Conditional.create`, `WhileLoop.create`",
        "2.8, 2.15",
        "`... are aliased: {outputs}`",
        "what is aliased in the graph is refused before, and Inductor copies outputs with other strides than the graph's; "
        "`other_offset_in_cond` reaches the assertion beside it",
    ),
    (
        "`graph.py`: `GraphLowering.output`",
        "2.0, 2.8, 2.15",
        "all outputs of the graph, where one is of no known kind",
        "what a lowering may return, a graph may return, too, or it fails before",
    ),
    (
        "`lowering.py`: `max_pool2d_with_indices` and the like",
        "2.15",
        "a result that is no `TensorBox`",
        "would be a mistake in Inductor itself",
    ),
    (
        "`select_algorithm.py`: `AlgorithmSelectorCache.__call__`, where nothing was timed",
        "2.8, 2.15",
        "`Autotuning returned empty timings, falling back to ...: {node}`",
        "`autotuning-log` reaches the line beside it, `Autotuning selected choice: {node}`",
    ),
    (
        "`memory.py`: `validate_unique_buffer_names`; `comms_debug.py`",
        "2.15",
        "`debug_str()` of scheduler nodes",
        "these hold names and layouts, no IR, as `ir_pre_fusion` shows",
    ),
    (
        "`ir.py`: `StorageBox.has_exceeded_max_reads`, `mark_reuse`",
        "2.0",
        "nothing: the length of `inner_fn_str()` decides whether a buffer is realized",
        "that text is made of op names and indices, holds no other node and is not wrapped",
    ),
)


def results() -> dict[str, Any]:
    """Return what was measured, by series, the oldest first."""
    files = sorted(DATA.glob("*.json"), key=lambda file: [int(part) for part in file.stem.split(".")])
    return {file.stem: json.loads(file.read_text()) for file in files}


def page(data: dict[str, Any]) -> str:
    head = HEAD.format(
        layers=LAYERS, deadline=DEADLINE, stock=" and ".join(map(str, STOCK_LAYERS)), code=CODE_LAYERS
    )
    sections = [
        head + outcome(data),
        places(data),
        *(series_section(*item) for item in data.items()),
        read_section(),
    ]
    return "\n\n".join(sections) + "\n"


def table(rows: Iterable[Sequence[str]]) -> str:
    header, *others = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *others))


def ran(data: dict[str, Any]) -> dict[str, Any]:
    """Return the models of a series that its PyTorch has the means for."""
    return {name: model for name, model in data["models"].items() if "unavailable" not in model}


def outcome(data: dict[str, Any]) -> str:
    """Say in a few lines how all of it came out."""
    rows = [
        ("PyTorch", "Python", "models", "ended", "slowest", "largest message", "code compared", "the same")
    ]
    for measured in data.values():
        models = ran(measured)
        ended = [model["hooked"] for model in models.values() if "seconds" in model["hooked"]]
        compared = [model["same_code"] for model in models.values() if model["same_code"] is not None]
        rows.append(
            (
                measured["torch"],
                measured["python"],
                str(len(models)),
                str(len(ended)),
                f"{max(result['seconds'] for result in ended):.0f} s",
                f"{max(result['message'] for result in ended):,} characters",
                str(len(compared)),
                str(sum(compared)),
            )
        )
    return table(rows)


LEFT = """\
Texts of more than 100,000 characters that are left with lowering-hooks do not double from layer to layer:

* `ir_pre_fusion`, `ir_post_fusion`, `output_code` and the C++ that autotuning logs hold names instead of IR. They grow by the layer.
* `debug.log` is a whole log, of many texts.
* A message may hold one text several times. All arguments of an op are one text of at most 100,000 characters (`many_arguments`).
* In `locals_of_a_traceback` each local is a text of its own; the long ones are tables of all lowerings and decompositions.
* PyTorch's loggers put their prefix before each line, which doubles the size of a text of short lines."""


def places(data: dict[str, Any]) -> str:
    """List the functions of PyTorch that asked for a text of IR, or raised an error that holds one."""
    found: dict[str, dict[str, list[str]]] = {}
    for series, measured in data.items():
        for name, model in ran(measured).items():
            shallow = model["stock"][str(STOCK_LAYERS[0])]
            for place in shallow.get("asked_by", ()):
                found.setdefault(place, {}).setdefault(series, []).append(name)
    rows = [("asked by", "seen in", "models")]
    for place, by_series in sorted(found.items()):
        names = list(dict.fromkeys(name for names in by_series.values() for name in names))
        shown = ", ".join(f"`{name}`" for name in names[:SHOWN_MODELS])
        more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
        rows.append((f"`{place}`", ", ".join(by_series), shown + more))
    words = (
        "The functions that asked for the text of an IR node, as seen in stock. Where an error holds a node, that is whoever makes "
        "a message of it: `LoweringException` in `exc.py`, Dynamo, or who prints the traceback."
    )
    return f"## Who asks\n\n{words}\n\n{table(rows)}"


def series_section(series: str, measured: dict[str, Any]) -> str:
    shallow, deeper = map(str, STOCK_LAYERS)
    rows = [
        (
            "model",
            "how it is reached",
            f"stock, {shallow} layers: largest text",
            f"{deeper} layers",
            f"lowering-hooks, {LAYERS} layers",
            "largest text",
            "cause kept",
        )
    ]
    for name, model in ran(measured).items():
        hooked = model["hooked"]
        rows.append(
            (
                f"`{name}`",
                model["reached"],
                largest(model["stock"][shallow]),
                largest(model["stock"][deeper]),
                ending(hooked),
                largest(hooked),
                kept(hooked),
            )
        )
    missing = [
        f"`{name}` ({model['unavailable']})"
        for name, model in measured["models"].items()
        if "unavailable" in model
    ]
    without = f"\n\nNot in this release: {', '.join(missing)}." if missing else ""
    title = f"## PyTorch {measured['torch']}, Python {measured['python']}, {measured['date']}"
    return f"{title}\n\n{table(rows)}{without}"


def kept(result: dict[str, Any]) -> str:
    """Say whether the cause of an error is still in what was written; empty where none was wanted."""
    if result.get("way") not in ("error", "raises"):
        return ""
    if result["cause"]:
        return "yes"
    return "**no**" if result["error"] else "no error"


def ending(result: dict[str, Any]) -> str:
    """Say in a few words how a compile ended."""
    if "no_end" in result:
        return f"**no end in {result['no_end']} s**"
    if "seconds" not in result:
        return "**failed**"
    return f"{result['seconds']:.1f} s" + (f", {result['error']}" if result["error"] else "")


def largest(result: dict[str, Any]) -> str:
    """Return the size of the largest text, and where it stands."""
    if "seconds" not in result:
        return ending(result)
    characters, logger, _ = result["largest_log"]
    texts = [
        (result["message"], "message"),
        (characters, f"log of {logger.removeprefix('torch.')}"),
        (result["largest_file"], result["file"]),
    ]
    size, where = max(texts)
    return f"{size:,}, {where}" if size else "none"


def read_section() -> str:
    words = "Places that no model reaches on a machine without a GPU, or at all, found by reading."
    return f"## Found by reading\n\n{words}\n\n{table(READ)}"


def main(arguments: list[str]) -> int:
    if arguments == ["serve"]:
        serve()
    elif arguments[:1] == ["measure"] and len(arguments) > 1:
        measure(Path(arguments[1]), arguments[2:])
    elif arguments == ["draw"]:
        PAGE.write_text(page(results()))
    elif arguments == ["--check"]:
        if page(results()) != PAGE.read_text():
            print(
                f"{PAGE.name} is not what the files in {DATA.name} make: run nox -s printed-ir",
                file=sys.stderr,
            )
            return 1
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
