"""The page ``docs/performance.md``, made of what the benchmarks measured."""

from __future__ import annotations

from sections import SECTIONS, gpu, scaling, vllm
from targets import Results, targets

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

NO_GPU = """\
## A GPU

Not measured: no GPU was at hand. `nox -s gpu` measures on one.
"""


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
    parts.append(gpu(gpu_run) if gpu_run else NO_GPU)
    machines = dict.fromkeys(
        f"- PyTorch {run['torch']}, Python {run['python']}: {run['date']}, {run['cores']} cores of {run['cpu']}"
        + (f", commit {run['commit']}" if run.get("commit") else "")
        + (", quick: few and small" if run["quick"] else "")
        for runs in measured.values()
        for run in runs.values()
    )
    parts.append("## Measured on\n\n" + "\n".join(machines) + "\n")
    return "\n".join(filter(None, parts))
