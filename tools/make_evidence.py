"""Writes ``docs/evidence.md``: what was compared with stock PyTorch, how often, on what, and when.

``python tools/make_evidence.py`` makes the page of the files that the sessions left in ``docs/`` and
``benchmarks/``.  What no session has measured is a row as well, and says so.  ``--check`` changes nothing, and fails
where the page is not the one that the files make.  Both fail where the README does not quote the figures of the files.
Without ``--check`` it also fails, once the page is written, where that names a commit whose package is not the
checkout's: what was measured with it is to be measured again.  It needs git, and nothing else but ``packaging``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [
    str(ROOT),
    str(ROOT / "benchmarks"),
    str(ROOT / "downstream"),
    str(ROOT / "downstream" / "models"),
]

import pages
from draw import measured_in
from machine import has_package_of
from printed_ir.runs import has_ended
from promises import differing, verdicts
from targets import outcomes
from verdicts import Verdict, held

from lowering_hooks.cli.tables import table

DOCS, PAGE, README = ROOT / "docs", ROOT / "docs" / "evidence.md", ROOT / "README.md"

HEAD = """\
# Evidence

<!-- Written by `nox -s evidence` from the files of the other sessions. -->

This page sums up what the promises of lowering-hooks stand on: what was compared with stock PyTorch, how much of it, how
it came out, and where. Each row is a session of `noxfile.py`, which anybody can run again from a clone; its page has
the details. Figures are those of the last run that was written down.

"""

TAIL = """
"Differ" counts what came out otherwise than in stock, after what also differs between runs of stock was left out.
Each page says what that was. The random graphs are the same ones on each series, as far as the series has what they are
made of.

`nox -s contract` and `nox -s new-release` pass or fail, and write nothing down: the first installs patch releases that
are not in the table and checks that what is hooked is as expected, the second says whether PyTorch has a release that
is newer than the table.
"""


class Row(NamedTuple):
    """A row of the page.

    Attributes:
        what: What was compared.
        scale: On which releases, and how much of it.
        outcome: How it came out.
        where: When, and on what machine.
        page: The page that tells more.
    """

    what: str
    scale: str
    outcome: str
    where: str
    page: str


def read(name: str) -> Any:
    """Return what a file of ``docs/``, or of the folder that a path names, holds; None where there is none."""
    file = DOCS / name
    return json.loads(file.read_text()) if file.exists() else None


def measured(found: Iterable[Mapping[str, Any]]) -> str:
    """Return on which days, on which machines, and of which commits."""
    found = list(found)
    days = sorted({each["date"] for each in found if "date" in each})
    machines = sorted({f"{each['cpu']}, {each['cores']} cores" for each in found if "cpu" in each})
    commits = sorted({f"commit {each['commit']}" for each in found if each.get("commit")})
    if commits and not all(each.get("commit") for each in found):
        commits.append("and commits that were not written down")
    return "; ".join(
        [" to ".join(dict.fromkeys((days[0], days[-1]))) if days else "", *machines, *commits]
    ).strip("; ")


def suite() -> Iterator[Row]:
    """The tests on every series: their own cases of fidelity, and all tests."""
    data = read("compatibility.json")
    suites = [found["suite"] for found in data.values()]
    cases = [found["fidelity"] for found in data.values()]
    identical, total = (sum(case[name] for case in cases) for name in ("cases_identical", "cases"))
    changed, tensors = (sum(case[name] for case in cases) for name in ("changed_by_call_function", "tensors"))
    plain = sum(case["changed_by_plain_set_proxy"] for case in cases)
    yield Row(
        "the suite of tests, and in it cases written for each kind of op and compile",
        f"{len(data)} series from {[*data][-1]} to {next(iter(data))}; "
        f"{sum(each['passed'] for each in suites):,} tests passed, {sum(each['failed'] for each in suites)} failed, {sum(each['skipped'] for each in suites)} skipped",
        f"generated code identical in {identical} of {total} cases; strides of {changed} of {tensors:,} tensors differ "
        f"(with a plain set proxy {plain})",
        measured(suites),
        "[PyTorch releases](compatibility.md)",
    )


def samples() -> Iterator[Row]:
    """PyTorch's own databases."""
    for file in sorted((DOCS / "downstream-pytorch").glob("*.json"), key=_newest_first):
        found = json.loads(file.read_text())
        stock = found["ways"]["stock"]
        ways = _hooked(found)
        differ = _differing(found)
        graphless = sum(kind["without_graph"] for kind in found["kinds"].values())
        yield Row(
            "PyTorch's own samples of its operators, forward, backward and dynamic",
            f"PyTorch {found['torch']}: {stock['compiles']:,} compiles of {found['operators']} operators, "
            f"{stock['graphs']:,} graphs (compiles without one: {graphless:,}), {found['fallbacks']:,} implicit fallbacks; in {len(ways)} ways each",
            f"differ: {differ}; differ between runs of stock: {len(found['left_out'])}; "
            + _built(found["built"]),
            measured([found]),
            "[PyTorch's own samples](downstream-pytorch.md)",
        )


def _hooked(part: Mapping[str, Any]) -> list[Any]:
    """Return what was found in each way that is not stock, of PyTorch's samples or of those that were built."""
    return [seen for way, seen in part["ways"].items() if way not in ("stock", "stock again")]


def _differing(found: Mapping[str, Any]) -> int:
    """Return how many compiles of PyTorch's samples differ from stock, built or not, in all ways together."""
    return sum(len(seen["differing"]) for part in (found, found["built"]) for seen in _hooked(part))


def _built(built: Mapping[str, Any]) -> str:
    """Return what came of the samples that were built, run and compared with eager."""
    uncompared = sum(map(len, built["uncompared"].values()))
    return (
        f"built: {built['compiles']}, of them equal to eager in stock: {built['equal']}, unequal: {len(built['unequal'])}, "
        f"with nothing to compare: {uncompared}"
    )


def random_graphs() -> Iterator[Row]:
    """Graphs that nobody thought of."""
    for found in (read("random-graphs.json") or {}).values():
        yield Row(
            "random graphs with custom ops",
            f"PyTorch {found['torch']}: {found['graphs']:,} graphs, {found['totals']['compiled']:,} of which stock "
            "compiles; in 4 ways each",
            f"differ in both compiles of a way: {found['findings']}, in one of the two: {len(found['once'])}; "
            f"differ between two runs of stock: {len(found['unstable'])}",
            measured([found]),
            "[Random graphs](random-graphs.md)",
        )


def models() -> Iterator[Row]:
    """Whole models."""
    found = read("downstream-models.json")
    if found:
        architectures = found["architectures"].values()
        libraries = {each["library"] for each in architectures}
        parts = [each[depth] for each in architectures for depth in ("shallow", "real") if depth in each]
        runs = [run for part in parts for run in part["measured"]]
        releases = sorted({run["versions"]["torch"] for run in runs})
        yield Row(
            "whole models with custom ops in them, forward and training (loss and gradients)",
            f"PyTorch {', '.join(releases)}: {sum('shallow' in each for each in architectures)} architectures "
            f"of {len(libraries)} libraries, {sum('real' in each for each in architectures)} of them at full depth",
            held(verdicts(found["architectures"])),
            measured(runs),
            "[Whole models](downstream-models.md)",
        )


def packages() -> Iterator[Row]:
    """Packages with custom ops."""
    found = read("downstream-packages.json")
    if found:
        names = {f"{each['package']} {each['version']}": None for each in found["models"]}
        yield Row(
            "ops of published packages, with nothing allowed and with everything",
            f"PyTorch {found['torch']}: {len(found['models'])} models of {', '.join(names)}",
            held(Verdict(**verdict) for verdict in found["verdicts"]),
            measured([found]),
            "[Ops of published packages](downstream-packages.md)",
        )


def engines() -> Iterator[Row]:
    """Engines of vLLM."""
    for found in read("vllm.json").values():
        versions = found["versions"]
        yield Row(
            "vLLM's engines on a CPU: tokens and log-probabilities",
            f"vLLM {versions['vllm']} on PyTorch {versions['torch']}",
            held(Verdict(**verdict) for verdict in found["verdicts"]),
            measured([found]),
            "[vLLM engines](vllm.md)",
        )


def printed() -> Iterator[Row]:
    """Places that print IR."""
    for file in sorted((DOCS / "printed-ir").glob("*.json"), key=_newest_first):
        found = json.loads(file.read_text())
        # A release may lack what a model is made of.
        outcomes = [each for each in found["models"].values() if "hooked" in each]
        compared = [each["same_code"] for each in outcomes if each.get("same_code") is not None]
        ended = sum(has_ended(each["hooked"]) for each in outcomes)
        yield Row(
            "models that make Inductor print IR, 60 layers deep",
            f"PyTorch {found['torch']}: {len(outcomes)} models",
            f"{ended} end; generated code the same in {sum(compared)} of {len(compared)} with every text bounded",
            measured([found]),
            "[Where Inductor prints IR](printed-ir.md)",
        )


def graphics() -> Iterator[Row]:
    """A GPU."""
    found = read("../benchmarks/results/gpu.json")
    page = "[Performance](performance.md)"
    if found is None:
        yield Row("a GPU", "none was at hand", "not measured; `nox -s gpu` measures on one", "", page)
    else:
        yield Row("a GPU", str(found.get("device", "")), "see the page", measured([found]), page)


def cost() -> Iterator[Row]:
    """What it costs."""
    found = measured_in(ROOT / "benchmarks" / "results")
    told = list(outcomes(found))
    missed = [f"{each.what}, {each.series}: {each.shown}" for each in told if each.verdict != "met"]
    yield Row(
        "what a node, a text, a compile and an import cost",
        ", ".join(f"PyTorch {runs['scaling']['torch']}" for runs in found.values()),
        f"{len(told) - len(missed)} of {len(told)} targets met"
        + (f"; not: {'; '.join(missed)}" if missed else ""),
        measured(run for runs in found.values() for run in runs.values()),
        "[Performance](performance.md)",
    )
    engine = read("../benchmarks/vllm_engine.json")
    if engine:
        yield Row(
            "how long an engine of vLLM takes to start, by depth",
            f"vLLM {engine['vllm']} on PyTorch {engine['torch']}: {len(engine['rows'])} engines",
            held(Verdict(**verdict) for verdict in engine["verdicts"]),
            measured([engine]),
            "[Performance](performance.md)",
        )


SECTIONS: Final[tuple[Callable[[], Iterator[Row]], ...]] = (
    suite, samples, random_graphs, models, packages, engines, printed, cost, graphics,
)  # fmt: skip


def _newest_first(file: Path) -> tuple[int, ...]:
    return tuple(-int(part) for part in file.stem.rpartition("-")[2].split("."))


def page() -> str:
    head = ("what was compared", "on what, and how much", "how it came out", "when and where", "page")
    return f"{HEAD}{table(head, [tuple(row) for section in SECTIONS for row in section()])}\n{TAIL}"


def quoted() -> str:
    """Return what the README says of this, with the figures that the files have."""
    known = [json.loads(file.read_text()) for file in (DOCS / "downstream-pytorch").glob("*.json")]
    graphs = sum(found["ways"]["stock"]["graphs"] for found in known)
    differ = sum(map(_differing, known))
    drawn = read("random-graphs.json").values()
    compiled = sum(found["totals"]["compiled"] for found in drawn)
    differ += sum(found["findings"] + len(found["once"]) for found in drawn)
    whole = read("downstream-models.json")["architectures"]
    differ += len(differing(whole))
    return (
        f"{graphs:,} graphs of PyTorch's own samples, {compiled:,} compiles of random graphs and {len(whole)} whole "
        f"models: {differ} differ"
    )


def is_quoted() -> bool:
    """Whether the README says it; where not, that is printed."""
    if quoted() in " ".join(README.read_text().split()):
        return True
    print(f"README.md does not say: {quoted()}", file=sys.stderr)
    return False


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        return pages.check(PAGE, page(), "nox -s evidence") or int(not is_quoted())
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    text = page()
    PAGE.write_text(text)
    others = of_other_code(text)
    for commit in others:
        print(
            f"measured with other code of the package than this checkout has: commit {commit}",
            file=sys.stderr,
        )
    return int(not is_quoted() or bool(others))


def of_other_code(text: str) -> list[str]:
    """Return the commits that a page names and whose package differs from the checkout's, or that git lacks."""
    named = sorted(set(re.findall(r"commit (\w+(?:-dirty)?)", text)))
    return [commit for commit in named if not has_package_of(commit)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
