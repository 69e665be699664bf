"""The pictures of ``docs/performance.md``: seconds of a compile against the depth of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lowering_hooks.cli.compile_process import IDEAL, OURS, PLAIN_SET_PROXY, STOCK

if TYPE_CHECKING:
    from pathlib import Path

    from targets import Results

# Okabe and Ito's palette, whose colours can be told apart by those who do not see all colours.
STYLES = {
    STOCK: {"color": "#D55E00", "marker": "s"},
    PLAIN_SET_PROXY: {"color": "#009E73", "marker": "^"},
    IDEAL: {"color": "#000000", "marker": "", "linestyle": "--", "zorder": 3},
    OURS: {"color": "#0072B2", "marker": "o"},
}
LABELS = {IDEAL: "no text at all (the floor)"}


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
