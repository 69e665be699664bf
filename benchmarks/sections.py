"""The sections of ``docs/performance.md``: a table for each benchmark, with what it means.

Long, since it is a list: a function for each table, and below it the words that stand over it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from verdicts import Verdict, claims

from lowering_hooks.cli.tables import table

if TYPE_CHECKING:
    from targets import Results


def spread(found: Results, scale: float, digits: int) -> str:
    """Write a median and the quartiles around it."""
    median, lower, upper = (
        f"{found[name] * scale:.{digits}f}" for name in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median} ({lower} to {upper})"


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
        f"Seconds of a compile, the fastest of {run['rounds']} processes; empty where it was not tried. All are taken "
        "at one depth of the stack, which changes them by more than the variants differ: the next section compares "
        "closely.\n\n"
        f"{table(header, seconds)}\n\n"
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
            "" if row.get("texts_cut") is None else f"{row['texts_cut']:,}",
        )
        for row in run["rows"]
    ]
    header = ("variant", "dense layers", "late op", "engine start, s", "lowering, s", "texts cut")
    machine = f"{run['date']}, {run['cores']} cores of {run['cpu']}"
    words = (
        "Dense layers of functional kernels and one of routed experts, one engine each; the late op is what falls back "
        "last, and a proxy for `vllm` does not cover the one of `_C`. Seconds of lowering add up over the engine's "
        "graphs, and so do the texts that lowering-hooks cut, which would have passed its limit. Where nothing is "
        "allowed, not even the namespaces of vLLM, a text below the limit is Inductor's own."
    )
    told = claims(Verdict(**verdict) for verdict in run["verdicts"])
    return (
        f"## A vLLM engine\n\nvLLM {run['vllm']}, PyTorch {run['torch']}: {machine}. {words}\n\n"
        f"{table(header, rows)}\n\n{told}\n"
    )


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


SECTIONS = (
    (
        "floor",
        "Distance to the floor",
        ("Seconds of whole compiles in one process, ops new each time, each pair from another depth of the stack (which "
        "alone may change a compile's time; ideal, too, has a frame as large as ours there, which only passes on), the "
        "order turned around from pair to pair. "
        "Medians, with quartiles; the table of targets has the interval that a sign test gives for the median ratio, "
        "19 times in 20."),
        floors,
    ),
    (
        "share",
        "Share of a compile",
        ("Time in the wrapper of `call_function` less that in Inductor's own function, and in texts. What the timers "
        "of these two find where nothing is between them, in a compile of its own, has been taken off the wrapper's. "
        "Medians of compiles, with quartiles."),
        shares,
    ),
    (
        "overhead",
        "Per node",
        ("Nanoseconds of a call, the fastest round, Inductor's own function replaced by one that returns at once. "
        "The set proxy of the strategy `set_proxy` is asked once a node that has no lowering."),
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
        ("`str()` of the last node of a chain of two-output ops, with `LOWERING_HOOKS_BOUNDED_IR=auto`, the default, and "
        "with `LOWERING_HOOKS=0`. Most of such a text is SymPy's printing, whose time depends on where its classes "
        "come to lie in CPython's cache of attributes: the same text may take three times as long in another process. "
        "So this is measured in many fresh processes of each variant, by turns, each of which begins with a random "
        "number of unused classes, up to 4096, the size of that cache. Of each process the fastest of many texts is taken: medians "
        "of these, with quartiles, the ratio of the fastest of all, and that of the medians. Within a process: hooked "
        "and put back by turns, the fastest of each. What counts is the last."),
        ir_texts,
    ),
    (
        "import_cost",
        "Import",
        ("Timed inside fresh processes with everything in the page cache. Medians, with quartiles. Each process was "
        "seen not to have imported Inductor, but for the set proxy's; the first without PyTorch, too."),
        imports,
    ),
)  # fmt: skip
