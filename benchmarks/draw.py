"""Writes the tables and pictures of what the benchmarks measured.

``python benchmarks/draw.py RESULTS FOLDER`` reads ``RESULTS/*.json`` and writes ``FOLDER/performance.md`` and
its pictures.  A series, or a benchmark, that was not run is left out.  With ``--check``, nothing is written, and
it fails where the page is not the one that the JSON makes; that needs no matplotlib, nor does ``--page``, which
leaves the pictures as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lowering_hooks.cli import demo
from lowering_hooks.compat import RELEASES

# Written beside the others by a session of its own.
VLLM = Path(__file__).with_name("vllm_engine.json")

Results = dict[str, Any]

# Told apart by those who do not see all colours: Okabe and Ito's palette.
STYLES = {
    demo.STOCK: {"color": "#D55E00", "marker": "s"},
    demo.PLAIN_SET_PROXY: {"color": "#009E73", "marker": "^"},
    demo.IDEAL: {"color": "#000000", "marker": "", "linestyle": "--", "zorder": 3},
    demo.OURS: {"color": "#0072B2", "marker": "o"},
}
LABELS = {demo.IDEAL: "no text at all (the floor)"}

HEAD = """\
# Performance

<!-- Written by `nox -s bench` from the JSON files in benchmarks/results. -->

`nox -s bench` measures this on two PyTorch series, the newest and the newest that builds the text whatever is
logged, and writes this page; `nox -s bench-vllm` the vLLM engine, `nox -s gpu` what needs a GPU. `benchmarks/` has the
programs. Machines differ, so what counts are the ratios, each of two things measured in one run.

| variant | what it is |
| --- | --- |
| stock | PyTorch as it is |
| plain set proxy | an allow list that says yes for the ops' namespace: the hang's usual cure, which also drops layout constraints |
| ideal | `OperatorIssue.operator_str` replaced by a function that returns `""`: the floor |
| lowering-hooks | |

"""


# --- what is read off the results -----------------------------------------------------------------------------


def row_of(found: Results, **wanted: Any) -> Results:
    """Return the row that has all this; empty where that was not measured."""
    return next((row for row in found["rows"] if wanted.items() <= row.items()), {})


def overhead(target: str) -> Callable[[Results], float]:
    return lambda run: row_of(run, target=target)["added_ns"] / 1e3


def floor(against: str, layers: int) -> Callable[[Results], Results | None]:
    return lambda run: row_of(run, against=against, layers=layers).get("ratio")


def share(layers: int) -> Callable[[Results], float]:
    return lambda run: 100 * row_of(run, layers=layers)["share"]["median"]


def slowest_args(run: Results) -> float:
    return 1e6 * max(row["args_seconds"] for row in run["rows"])


def dearest_text(least: int, most: int) -> Callable[[Results], Results | None]:
    """Return what finds the highest ratio, hooked to stock, of texts of so many characters."""

    def ratio(run: Results) -> Results | None:
        ratios = [row["in_turns_ratio"] for row in run["small"] if least <= row["characters"] <= most]
        return max(ratios, key=lambda found: found["median"], default=None)

    return ratio


def import_limit(run: Results) -> float:
    """Return the milliseconds that the entry point may add: 15, or 1 % of PyTorch's import if that is more."""
    return max(15.0, 0.01 * 1e3 * run["torch_seconds"]["median"])


# What is promised: the benchmark, what is measured, the unit, the most it may be, the value; or, where compiles
# vary by more than what is looked for, a spread with its interval.
Limit = float | Callable[[Results], float]
TARGETS: tuple[tuple[str, str, str, Limit, Callable[[Results], Any]], ...] = (
    ("floor", "whole compile of 60 layers, to ideal's", "times", 1.01, floor("ideal", 60)),
    ("floor", "whole compile of 200 layers, to ideal's", "times", 1.01, floor("ideal", 200)),
    ("floor", "whole compile of 2 layers, to stock's", "times", 1.01, floor("stock", 2)),
    ("share", "share of a compile of 60 layers in our code", "%", 0.1, share(60)),
    ("share", "share of a compile of 200 layers in our code", "%", 0.1, share(200)),
    ("overhead", "added to lowering an aten node", "µs", 0.3, overhead("aten op")),
    ("overhead", "added to a known op of an allowed namespace", "µs", 1.0, overhead("known allowed op")),
    ("overhead", "added to an op of another namespace", "µs", 0.3, overhead("op of another namespace")),
    ("graph_text", "text `args`, the slowest depth", "µs", 200.0, slowest_args),
    ("ir_text", "text of an IR node, up to 1,000 characters, to stock's", "times", 1.05, dearest_text(0, 1_000)),
    ("ir_text", "text of an IR node, up to the limit, to stock's", "times", 1.05, dearest_text(1_001, 100_000)),
    ("ir_text", "hooking the texts of IR nodes", "ms", 2.0, lambda run: milliseconds(run, "install")),
    ("import_cost", "`import lowering_hooks` alone", "ms", 15.0, lambda run: milliseconds(run, "alone")),
    (
        "import_cost", "what the entry point adds to `import torch`", "ms", import_limit,
        lambda run: milliseconds(run, "entry_point"),
    ),
)  # fmt: skip


def milliseconds(run: Results, kind: str) -> float:
    return 1e3 * run[f"{kind}_seconds"]["median"]


# --- tables ---------------------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spread(found: Results, scale: float, digits: int) -> str:
    """Write a median and the quartiles around it."""
    median, lower, upper = (
        f"{found[name] * scale:.{digits}f}" for name in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median} ({lower} to {upper})"


def targets(measured: dict[str, dict[str, Results]]) -> str:
    rows = []
    for name, what, unit, limit, value in TARGETS:
        for series, runs in measured.items():
            run = runs.get(name)
            if run is None or run["quick"]:
                continue
            most = limit(run) if callable(limit) else limit
            got = value(run)
            if got is None:
                continue
            if isinstance(got, dict):
                lowest, highest = got["interval"]
                got = got["median"]
                shown = f"{got:.3f} {unit}, between {lowest:.3f} and {highest:.3f}"
            else:
                lowest, shown = got, f"{got:.3g} {unit}"
            verdict = "met" if got <= most else "too close to tell" if lowest <= most else "**missed**"
            rows.append((what, series, f"{most:g} {unit}", shown, verdict))
    if not rows:
        return ""
    return f"## Targets\n\n{table(('what', 'PyTorch', 'at most', 'measured', ''), rows)}\n"


def scaling(series: str, run: Results) -> str:
    depths = sorted({row["layers"] for row in run["rows"]})
    header = ("case", "variant", *(f"{layers} layers" for layers in depths))
    seconds, memory = [], []
    for case, variant in dict.fromkeys((row["case"], row["variant"]) for row in run["rows"]):
        found = {r["layers"]: r for r in run["rows"] if (r["case"], r["variant"]) == (case, variant)}
        cells = [found.get(layers) for layers in depths]
        seconds.append((case, variant, *(seconds_cell(cell) for cell in cells)))
        memory.append(
            (case, variant, *("" if not c or not c["peak_mib"] else f"{c['peak_mib']:,.0f}" for c in cells))
        )
    return (
        f"### PyTorch {series}\n\n![seconds of compile against layers](scaling-{series}.svg)\n\n"
        f"Seconds of one compile each, two processes at a time; empty where it was not tried:\n\n{table(header, seconds)}\n\n"
        f"Most memory that the process ever held, in MiB; empty where there was no end:\n\n{table(header, memory)}\n"
    )


def seconds_cell(row: Results | None) -> str:
    if row is None:
        return ""
    if row["seconds"] is None:
        return f"no end in {row['deadline_seconds']:g} s"
    return f"{row['seconds']:.2f}"


def floors(measured: dict[str, Results]) -> str:
    rows = [
        (
            series,
            str(row["layers"]),
            row["against"],
            str(row["pairs"]),
            spread(row["ours_seconds"], 1, 2),
            spread(row["other_seconds"], 1, 2),
            spread(row["ratio"], 1, 3),
        )
        for series, run in measured.items()
        for row in run["rows"]
    ]
    header = (
        "PyTorch",
        "layers",
        "against",
        "pairs",
        "lowering-hooks, s",
        "the other, s",
        "ratio within a pair",
    )
    return table(header, rows)


def shares(measured: dict[str, Results]) -> str:
    rows = [
        (
            series,
            str(row["layers"]),
            f"{row['nodes']:,}",
            spread(row["wrapper_seconds"], 1e3, 2),
            spread(row["text_seconds"], 1e3, 2),
            spread(row["timer_seconds"], 1e3, 2),
            spread(row["compile_seconds"], 1, 2),
            spread(row["share"], 100, 3),
        )
        for series, run in measured.items()
        for row in run["rows"]
    ]
    header = (
        "PyTorch",
        "layers",
        "nodes",
        "wrapper, ms",
        "texts, ms",
        "timers, ms",
        "compile, s",
        "share, %",
    )
    return table(header, rows)


def overheads(measured: dict[str, Results]) -> str:
    kinds = ("unwrapped_call", "wrapped_call", "plain_set_membership", "proxy_membership")
    rows = [
        (series, row["target"], *(f"{row[kind]['min_ns']:,.0f}" for kind in kinds), f"{row['added_ns']:,.0f}")
        for series, run in measured.items()
        for row in run["rows"]
    ]
    header = (
        "PyTorch", "op", "call unwrapped", "wrapped", "`in` of a plain set", "of the set proxy", "added by the wrapper",
    )  # fmt: skip
    return table(header, rows)


def texts(measured: dict[str, Results]) -> str:
    rows = [
        (
            series,
            f"{row['layers']:,}",
            f"{row['nodes']:,}",
            f"{row['args_seconds'] * 1e6:.0f}",
            f"{row['graph_seconds'] * 1e3:.1f}",
            f"{row['graph_characters']:,}",
            f"{row['stock_characters_seconds'] * 1e3:.2f}",
        )
        for series, run in measured.items()
        for row in run["rows"]
    ]
    header = (
        "PyTorch", "layers", "nodes", "`args`, µs", "`graph`, ms", "its characters", "counting stock's characters, ms",
    )  # fmt: skip
    slopes = "\n".join(
        f"- {series}: {run['graph_seconds_a_node'] * 1e6:.1f} µs a node, growing with nodes to the power of "
        f"{run['graph_exponent']:.2f}"
        for series, run in measured.items()
    )
    return f"{table(header, rows)}\n\nFitted to `graph`:\n\n{slopes}"


def ir_texts(measured: dict[str, Results]) -> str:
    small = [
        (
            series,
            str(row["layers"]),
            f"{row['characters']:,}",
            *(spread(row[f"{variant}_seconds"], 1e6, 0) for variant in ("stock", "auto")),
            *(f"{row[name]:.3f}" for name in ("fastest_ratio", "median_ratio")),
            spread(row["in_turns_ratio"], 1, 3),
        )
        for series, run in measured.items()
        for row in run["small"]
    ]
    small_header = (
        "PyTorch", "layers", "characters", "stock, µs", "lowering-hooks, µs", "ratio of the fastest", "of the medians",
        "within a process",
    )  # fmt: skip
    bounded = [
        (
            series,
            str(row["layers"]),
            f"{row['characters']:,}",
            f"{row['fastest_seconds'] * 1e3:.0f}",
            spread(row["seconds"], 1e3, 0),
            f"{row['to_longest_stock_text']:.1f}",
        )
        for series, run in measured.items()
        for row in run["bounded"]
    ]
    bounded_header = (
        "PyTorch", "layers", "characters", "fastest, ms", "all processes, ms", "to stock's longest text above",
    )  # fmt: skip
    others = [
        (
            series,
            f"{run['added_ns']['outermost']:,.0f}",
            f"{run['added_ns']['nested']:,.0f}",
            spread(run["install_seconds"], 1e3, 2),
            *(f"{run['node_seconds'][variant] * 1e6:.2f}" for variant in ("stock", "auto")),
            spread(run["node_ratio"], 1, 3),
        )
        for series, run in measured.items()
    ]
    others_header = (
        "PyTorch", "added to a text, ns", "to each nested node's, ns", "hooking, ms", "a new node as stock, µs",
        "hooked, µs", "ratio within a process",
    )  # fmt: skip
    return (
        f"{table(small_header, small)}\n\nTexts that pass the limit, which stock does not end at these depths:\n\n"
        f"{table(bounded_header, bounded)}\n\nWhat our function adds to texts that take no time themselves; the first "
        "hooking in a process; and nodes of Inductor's (`Pointwise`) that nobody prints:\n\n"
        f"{table(others_header, others)}"
    )


def imports(measured: dict[str, Results]) -> str:
    kinds = {
        "alone_seconds": "`import lowering_hooks`, without PyTorch",
        "torch_seconds": "`import torch`, looking for no entry points",
        "torch_switched_off_seconds": "`import torch` with `LOWERING_HOOKS=0`",
        "torch_applied_seconds": "`import torch` with lowering-hooks",
        "added_to_torch_seconds": "the difference of these two, within pairs",
        "entry_point_seconds": "the entry point, right behind `import torch`",
        "set_proxy_seconds": "what a plain set proxy imports to be put in, right behind `import torch`",
    }
    rows = [(what, *(spread(run[kind], 1e3, 1) for run in measured.values())) for kind, what in kinds.items()]
    return table(("milliseconds", *measured), rows)


def vllm(run: Results) -> str:
    rows = [
        (
            row["variant"],
            str(row["dense_layers"]),
            f"`{row['late_op']}`",
            *(
                f"{row[name]:.1f}" if row["ended"] else f"no end in {run['deadline_seconds']:g} s"
                for name in ("engine_seconds", "lowering_seconds")
            ),
        )
        for row in run["rows"]
    ]
    header = ("variant", "dense layers", "late op", "engine start, s", "lowering, s")
    machine = f"{run['date']}, {run['cores']} cores of {run['cpu']}"
    words = (
        "Dense layers of functional kernels and one of routed experts, one engine each; the late op is what falls back "
        "last, and a proxy for `vllm` does not cover the one of `_C`. Seconds of lowering add up over the engine's "
        "graphs."
    )
    return f"## A vLLM engine\n\nvLLM {run['vllm']}, PyTorch {run['torch']}: {machine}. {words}\n\n{table(header, rows)}\n"


def gpu(run: Results) -> str:
    rows = [
        (
            row["variant"],
            seconds_cell(row),
            *("identical" if row[name] else "DIFFERENT" for name in ("code_identical", "strides_identical")),
        )
        for row in run["rows"]
    ]
    shallow = f"at {run['shallow_layers']} layers"
    header = ("variant", "compile, s", f"generated code {shallow}, to stock's", f"kernel strides {shallow}")
    return (
        f"## On a GPU\n\n{run['layers']} layers in bfloat16, {run['device']}, PyTorch {run['torch']}.\n\n"
        f"{table(header, rows)}\n"
    )


# --- pictures -------------------------------------------------------------------------------------------------


def draw_scaling(run: Results, series: str, output: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lowering-hooks"
    from matplotlib import pyplot as plt

    cases = list(dict.fromkeys(row["case"] for row in run["rows"]))
    figure, axes = plt.subplots(
        1, len(cases), figsize=(11, 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    panels = axes[0]
    for panel, case in zip(panels, cases, strict=True):
        for variant, style in STYLES.items():
            rows = [r for r in run["rows"] if (r["case"], r["variant"]) == (case, variant)]
            ended = [r for r in rows if r["seconds"] is not None]
            label = LABELS.get(variant, variant)
            depths, seconds = [r["layers"] for r in ended], [r["seconds"] for r in ended]
            panel.plot(depths, seconds, label=label, markersize=5, **style)
            if len(ended) < len(rows):  # the last one: no deeper model was tried
                draw_no_end(panel, ended, rows[-1], style["color"])
        panel.set(xscale="log", yscale="log", title=case, xlabel="layers")
        ticks = sorted({row["layers"] for row in run["rows"]} & {2, 8, 24, 100, 400})
        panel.set_xticks(ticks, [str(layers) for layers in ticks], minor=False)
        panel.minorticks_off()
        panel.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    panels[0].set_ylabel("seconds of torch.compile")
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        f"Compile of a decoder of custom ops, PyTorch {run['torch']}, {run['cores']} cores of {run['cpu']}"
    )
    # Nothing in the file that changes from run to run but what was measured.
    figure.savefig(output, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def draw_no_end(panel: Any, ended: list[Results], row: Results, color: str) -> None:
    layers, deadline = row["layers"], row["deadline_seconds"]
    if ended:
        panel.plot(
            [ended[-1]["layers"], layers], [ended[-1]["seconds"], deadline], color=color, linestyle=":"
        )
    panel.plot(layers, deadline, color=color, marker="x", markersize=9, markeredgewidth=2)
    below = -14 * len(panel.texts)  # points: two variants may come to the same deadline
    words = f"no end in {deadline:g} s"
    panel.annotate(
        words, (layers, deadline), xytext=(8, below), textcoords="offset points", va="center", color=color
    )


# --- the page -------------------------------------------------------------------------------------------------

SECTIONS = (
    (
        "floor",
        "Distance to the floor",
        "Seconds of whole compiles in one process, ops new each time, each pair from another depth of the stack (which "
        "alone may change a compile's time; ideal, too, has a frame as large as ours there, which only passes on), the "
        "order turned around from pair to pair. "
        "Medians, with quartiles; the table of targets has the interval that a sign test gives for the median ratio, "
        "19 times in 20.",
        floors,
    ),
    (
        "share",
        "Share of a compile",
        "Time in the wrapper of `call_function` less that in Inductor's own function, and in texts. What the timers "
        "of these two find where nothing is between them, in a compile of its own, has been taken off the wrapper's. "
        "Medians of compiles, with quartiles.",
        shares,
    ),
    (
        "overhead",
        "Per node",
        "Nanoseconds of a call, the fastest round, Inductor's own function replaced by one that returns at once. "
        "The set proxy of the strategy `set_proxy` is asked once a node that has no lowering.",
        overheads,
    ),
    (
        "graph_text",
        "Texts",
        "Of the last op of a chain of two-output ops, the fastest of several.",
        texts,
    ),
    (
        "ir_text",
        "Texts of IR nodes",
        "`str()` of the last node of a chain of two-output ops, with `LOWERING_HOOKS_BOUNDED_IR=auto`, the default, and "
        "with `LOWERING_HOOKS=0`. Most of such a text is SymPy's printing, whose time depends on where its classes "
        "come to lie in CPython's cache of attributes: the same text may take three times as long in another process. "
        "So this is measured in many fresh processes of each variant, by turns, each of which begins with a random "
        "number of unused classes, up to 4096, the size of that cache. Of each process the fastest of many texts is taken: medians "
        "of these, with quartiles, the ratio of the fastest of all, and that of the medians. Within a process: hooked "
        "and put back by turns, the fastest of each. What counts is the last. The machine did other "
        "work at the same time, which texts of milliseconds show, stock's as well.",
        ir_texts,
    ),
    (
        "import_cost",
        "Import",
        "Timed inside fresh processes with everything in the page cache. Medians, with quartiles. Each process was "
        "seen not to have imported Inductor, but for the set proxy's; the first without PyTorch, too.",
        imports,
    ),
)  # fmt: skip


def page(measured: dict[str, dict[str, Results]], vllm_run: Results | None, gpu_run: Results | None) -> str:
    parts = [HEAD, targets(measured)]
    scalings = [scaling(series, runs["scaling"]) for series, runs in measured.items() if "scaling" in runs]
    if scalings:
        parts.append("## Against depth\n")
        parts += scalings
    for name, title, words, write in SECTIONS:
        found = {series: runs[name] for series, runs in measured.items() if name in runs}
        if found:
            parts.append(f"## {title}\n\n{words}\n\n{write(found)}\n")
    parts += [vllm(vllm_run)] if vllm_run else []
    parts += [gpu(gpu_run)] if gpu_run else []
    machines = dict.fromkeys(
        f"- PyTorch {run['torch']}, Python {run['python']}: {run['date']}, {run['cores']} cores of {run['cpu']}"
        + (", quick: few and small" if run["quick"] else "")
        for runs in measured.values()
        for run in runs.values()
    )
    parts.append("## Measured on\n\n" + "\n".join(machines) + "\n")
    return "\n".join(filter(None, parts))


def read(file: Path) -> Results | None:
    return json.loads(file.read_text()) if file.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, metavar="RESULTS")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail where the page is another"
    )
    parser.add_argument("--page", action="store_true", help="write the page only, for want of matplotlib")
    options = parser.parse_args()

    measured: dict[str, dict[str, Results]] = {}
    for row in RELEASES:
        files = sorted(options.results.glob(f"*-{row.series}.json"))
        runs = {file.name.removesuffix(f"-{row.series}.json"): json.loads(file.read_text()) for file in files}
        if runs:
            measured[row.series] = runs
    text = page(measured, read(VLLM), read(options.results / "gpu.json"))
    output = options.folder / "performance.md"
    if options.check:
        if output.read_text() != text:
            sys.exit(f"{output} is not what the JSON in {options.results} makes; run benchmarks/draw.py")
        return
    for series, runs in measured.items():
        if "scaling" in runs and not options.page:
            draw_scaling(runs["scaling"], series, options.folder / f"scaling-{series}.svg")
    output.write_text(text)


if __name__ == "__main__":
    main()
