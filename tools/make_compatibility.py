"""Writes ``docs/compatibility.json`` and ``docs/compatibility.md`` from what runs of the test matrix measured.

``python tools/make_compatibility.py MEASURED`` takes in ``MEASURED/SERIES/*.json``, as ``nox -s tests`` leaves
them; a series that was not run keeps what its last run measured.  ``--check`` changes nothing, and fails where
the page is not the one that the JSON makes.  Both fail where a series was not measured, a test failed, or code or
strides are not stock's.  It needs nothing but the standard library and ``packaging``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pages

from compat import RELEASES, Release
from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "compatibility.json", ROOT / "docs" / "compatibility.md"
TOPICS = ("suite", "depth", "fidelity")

HEAD = """\
# PyTorch releases

<!-- Written by `nox -s compatibility` from compatibility.json. -->

What a run of the tests measured on each series of the table in `compat/releases.py`. `nox -s tests` runs them;
`nox -s compatibility` writes this page.

| column | what it is |
| --- | --- |
| strategy | how lowering-hooks hooks the series |
| text | whether Inductor builds the text of "Creating implicit fallback" always (eager) or for a log handler that wants INFO (lazy) |
| 10 layers: stock, hooked; 60: hooked | seconds of `torch.compile` of a chain of two-output ops with one late op, INFO on, the second compile of its process |
| text at 10 layers | characters logged by stock and by lowering-hooks |
| code identical | test cases whose generated code is stock's under lowering-hooks, of those that stock compiles |
| strides changed | tensors handed to custom kernels with other strides than in stock, of all in these cases: by a plain set proxy (an allow list that says yes and keeps nothing), by the strategy `set_proxy` of lowering-hooks, and by `call_function` |
| tests | passed, failed, skipped for a reason that the run prints |

"""

SET_PROXY_NOTES = {
    "none": "nothing to keep: Inductor decides no layout constraint in that branch",
    "on arguments": (
        "no way to keep the constraint of ops tagged `needs_fixed_stride_order`; they are left to Inductor's own, "
        "possibly slow, way, and `status()` and one WARNING say so"
    ),
    "tag": "the constraint by tag is recorded first",
    "tag or contiguous": "the constraint by tag, else `require_contiguous`, is recorded first",
    "tag or default": "the constraint by tag, else by Inductor's default, is recorded first",
}


def take_in(measured: Path) -> dict[str, Any]:
    """Return the known data, with the series replaced that ``measured`` has in full."""
    data: dict[str, Any] = json.loads(DATA.read_text()) if DATA.exists() else {}
    for row in RELEASES:
        files = {topic: measured / row.series / f"{topic}.json" for topic in TOPICS}
        if all(file.exists() for file in files.values()):
            data[row.series] = {topic: json.loads(file.read_text()) for topic, file in files.items()}
            print(f"{row.series}: taken in")
    return {row.series: data[row.series] for row in RELEASES if row.series in data}


def page(data: dict[str, Any]) -> str:
    header = (
        "series", "release", "Python", "strategy", "text", "10 layers: stock", "hooked", "60: hooked",
        "text at 10 layers: stock", "hooked", "code identical",
        "strides changed: plain set proxy", "set_proxy", "call_function", "tests",
    )  # fmt: skip
    measurements = table(header, [line(row, data) for row in RELEASES])
    notes = [(row.series, SET_PROXY_NOTES[row.layout_constraint]) for row in RELEASES]
    machines: dict[str, list[str]] = {}
    for series, measured in data.items():
        suite = measured["suite"]
        # There is none where git could not tell it.
        commit = f", commit {suite['commit']}" if suite["commit"] else ""
        run = f"{suite['date']}, {suite['cpu']}, {suite['cores']} cores{commit}"
        machines.setdefault(run, []).append(series)
    where = "\n".join(f"- {machine}: {', '.join(series)}" for machine, series in machines.items())
    return (
        f"{HEAD}{measurements}\n\nMeasured on\n\n{where}\n\n"
        "Seconds are of one compile each on a machine that ran two at a time: orders of magnitude, no benchmark.\n\n"
        "## The strategy `set_proxy`, where it is asked for\n\n"
        f"{table(('series', 'layout constraints'), notes)}\n"
    )


def line(row: Release, data: dict[str, Any]) -> tuple[str, ...]:
    if row.series not in data:
        return (row.series, row.verified_with, "", row.strategy, row.log_text, *["not measured"] * 10)
    suite, depth, fidelity = (data[row.series][topic] for topic in TOPICS)
    tensors = fidelity["tensors"]
    return (
        row.series,
        suite["torch"],
        suite["python"],
        suite["strategy"],
        row.log_text,
        f"{depth['stock_10_seconds']:.2f} s",
        f"{depth['hooked_10_seconds']:.2f} s",
        f"{depth['hooked_60_seconds']:.2f} s",
        f"{depth['stock_10_characters']:,}",
        f"{depth['hooked_10_characters']:,}",
        f"{fidelity['cases_identical']} of {fidelity['cases']}",
        f"{fidelity['changed_by_plain_set_proxy']} of {tensors}",
        f"{fidelity['changed_by_set_proxy']} of {tensors}",
        f"{fidelity['changed_by_call_function']} of {tensors}",
        f"{suite['passed']} / {suite['failed']} / {suite['skipped']}",
    )


def broken_claims(data: dict[str, Any]) -> list[str]:
    """Return what must hold of every series of the table and does not, one sentence each."""
    broken = [f"PyTorch {row.series} was not measured" for row in RELEASES if row.series not in data]
    for series, measured in data.items():
        suite, fidelity = measured["suite"], measured["fidelity"]
        counts = {
            "tests failed": suite["failed"],
            "cases have other generated code than stock": fidelity["cases"] - fidelity["cases_identical"],
            "tensors have other strides than in stock, by call_function": fidelity[
                "changed_by_call_function"
            ],
            "tensors have other strides than in stock, by set_proxy": fidelity["changed_by_set_proxy"],
        }
        broken += [f"PyTorch {series}: {count} {what}" for what, count in counts.items() if count]
    return broken


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    if arguments == ["--check"]:
        data = json.loads(DATA.read_text())
        differs = pages.check(PAGE, page(data), "nox -s compatibility")
    else:
        data, differs = take_in(Path(arguments[0])), 0
        DATA.write_text(json.dumps(data, indent=1) + "\n")
        PAGE.write_text(page(data))
    broken = broken_claims(data)
    for claim in broken:
        print(claim, file=sys.stderr)
    return differs or int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
