"""Writes the page and the pictures of what the benchmarks measured.

``python benchmarks/draw.py RESULTS FOLDER`` reads ``RESULTS/*.json`` and writes ``FOLDER/performance.md`` and
its pictures.  A series, or a benchmark, that was not run is left out.  With ``--check`` it writes nothing,
and fails where the page is not the one that the JSON makes.  With ``--page`` it leaves the pictures as they
are.  Neither of the two needs matplotlib.  With ``--claims SERIES NAME ...`` it fails, once all is written, where one
of these benchmarks of that series missed a target.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from page import page
from picture import draw_scaling
from targets import missed

from lowering_hooks.compat import RELEASES

if TYPE_CHECKING:
    from targets import Results

# A session of its own writes these, beside the results.
VLLM = Path(__file__).with_name("vllm_engine.json")


def read(file: Path) -> Results | None:
    return json.loads(file.read_text()) if file.exists() else None


def measured_in(results: Path) -> dict[str, dict[str, Results]]:
    """Return what a folder holds, by series, the newest first, and benchmark."""
    measured = {}
    for row in RELEASES:
        files = sorted(results.glob(f"*-{row.series}.json"))
        runs = {file.name.removesuffix(f"-{row.series}.json"): json.loads(file.read_text()) for file in files}
        if runs:
            measured[row.series] = runs
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, metavar="RESULTS")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail where the page is another"
    )
    parser.add_argument("--page", action="store_true", help="write the page only, for want of matplotlib")
    parser.add_argument(
        "--claims",
        nargs="+",
        default=(),
        metavar=("SERIES", "NAME"),
        help="fail where one of these benchmarks of a series missed a target",
    )
    options = parser.parse_args()

    measured = measured_in(options.results)
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
    if options.claims:
        series, *names = options.claims
        runs = {name: run for name, run in measured[series].items() if name in names}
        told = [
            f"missed: {what}: {shown}, at most {limit}" for what, _, limit, shown, _ in missed({series: runs})
        ]
        if told:
            sys.exit("\n".join(told))


if __name__ == "__main__":
    main()
