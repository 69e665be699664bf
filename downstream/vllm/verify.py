"""Runs vLLM engines with and without lowering-hooks, and writes ``docs/vllm.json`` and ``docs/vllm.md``.

``python downstream/vllm/verify.py current`` or ``hang``, in the engine's environment, takes minutes; of the
other engine the files keep what its last run found.  ``--check`` changes nothing, and fails where the page is
not the one that the JSON makes; it needs nothing but ``packaging``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "downstream"), str(ROOT / "tools")]

import pages
from compiling import end_on_sigterm
from engine import Case, Outcome, run
from machine import facts
from models import deepseek_v2, llama, qwen2_moe
from verdicts import Verdict, claims

from lowering_hooks.cli.compile_process import OURS, STOCK

DATA, PAGE = ROOT / "docs" / "vllm.json", ROOT / "docs" / "vllm.md"

# The processes of an engine, named as the plugin's `Observed.process` has them.
ONE_WORKER = {"engine_worker.py", "EngineCore", "VllmWorker-0"}
TWO_WORKERS = {*ONE_WORKER, "VllmWorker-1"}
# The smallest engine, with the processes that vLLM starts by default.
SMALL = Case(STOCK, llama(), multiprocessing=True)
TENSOR_PARALLEL = "Llama, tensor parallel 2"
VLLM_PROXY = "vllm.env_override._VllmFallbackAllowList"
# Stock ends at the first two depths of dense layers, and does not at the third within these seconds.
SURVIVED, NOT_SURVIVED, DEADLINE = (8, 10), 24, 120.0

HEAD = """\
# vLLM engines

<!-- Written by `nox -s downstream-vllm` from vllm.json. -->

Real vLLM engines on a CPU, started and asked to generate with and without lowering-hooks
(`LOWERING_HOOKS=0`): small models with random weights, temperature 0. "The same answers" are the same token
ids and the same log-probabilities of the five likeliest tokens at each place, to the last bit. What is said
of processes is what `LOWERING_HOOKS_REPORT` wrote in each of them; they are given time to end, since vLLM
kills those that take more than seconds, and a killed process writes no report. `downstream/vllm/` has the
code.
"""

TITLES = {
    "current": "A vLLM that has a proxy of its own",
    "hang": "A vLLM from before it had one, where stock hangs",
}


# What came of a case on stock, and with lowering-hooks.
Pair = tuple[Outcome, Outcome]


class Runs:
    """Runs cases, and keeps what came of them under their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.outcomes: dict[str, tuple[Case, Outcome]] = {}

    def __call__(self, name: str, case: Case) -> Outcome:
        print(f"{name}, {case.variant} ...", end=" ", flush=True)
        outcome = run(case, self._folder)
        print(f"{outcome.seconds:.0f} s", flush=True)
        self.outcomes[f"{name}, {case.variant}"] = (case, outcome)
        return outcome

    def pair(self, name: str, case: Case) -> Pair:
        """Run a case on stock and with lowering-hooks."""
        return self(name, case), self(name, replace(case, variant=OURS))

    def versions(self) -> dict[str, str]:
        """Return the versions of vLLM, PyTorch and Python, which are the same in all that answered."""
        names = ("vllm", "torch", "python")
        answers = [outcome.answer for _, outcome in self.outcomes.values() if outcome.answer]
        (found,) = {tuple(answer[name] for name in names) for answer in answers}
        return dict(zip(names, found, strict=True))

    def as_json(self) -> dict[str, Any]:
        return {name: _summary(case, outcome) for name, (case, outcome) in self.outcomes.items()}


def _summary(case: Case, outcome: Outcome) -> dict[str, Any]:
    """Return the part of an outcome that is kept in the JSON."""
    answer = outcome.answer or {}
    return {
        "model": case.config["model_type"],
        "layers": case.config["num_hidden_layers"],
        "functional_kernels": case.functional,
        "engine_seconds": answer.get("engine_seconds"),
        "ended": outcome.answer is not None,
        "tokens": answer.get("tokens"),
        "processes": [
            {
                "process": seen["process"],
                "lowerings": seen["lowerings"],
                "lowering_seconds": seen["lowering_seconds"],
                "text_seconds": seen["text_seconds"],
                "text_characters": None if seen["report"] else seen["text_characters"],
                "allow_lists": seen["allow_lists"],
                "status": seen["report"] and seen["report"]["status"],
                "ops": seen["report"] and seen["report"]["ops"],
            }
            for seen in outcome.processes
        ],
    }


def every_process(runs: Runs) -> Generator[Verdict, None, tuple[Pair, Pair]]:
    """Check a model in one worker and in two, and return what came of each."""
    both = runs.pair("Llama", SMALL)
    yield same_answers("Llama", both)
    yield tells_apart(both[0], runs("Llama, other weights", replace(SMALL, seed=1)))
    yield active("main, engine core and worker", both[1], ONE_WORKER)
    parallel = runs.pair(TENSOR_PARALLEL, replace(SMALL, tensor_parallel=2))
    yield same_answers(TENSOR_PARALLEL, parallel)
    yield active("both workers of tensor parallel 2", parallel[1], TWO_WORKERS)
    return both, parallel


def current(runs: Runs) -> Iterable[Verdict]:
    """Check the vLLM that has a proxy of its own."""
    both, parallel = yield from every_process(runs)
    experts = Case(STOCK, qwen2_moe())
    moe = runs.pair("Qwen2-MoE", experts)
    yield same_answers("Qwen2-MoE", moe)
    nothing = runs("Qwen2-MoE, nothing allowed", experts.allowing_nothing())
    yield same_answers("Qwen2-MoE, nothing allowed", (moe[0], nothing), is_allowed=False)
    yield same_answers("DeepSeek-V2", runs.pair("DeepSeek-V2", Case(STOCK, deepseek_v2())))
    yield carries("vLLM's compiled kernels", "_C.", both[1], moe[1], parallel[1])
    yield Verdict(
        "vLLM's proxy, installed after lowering-hooks, is reported as a conflict and left as it was",
        both[1].answer["applied_by_torch"] and proxy_reported(both[1]) and proxy_stands(both[1]),
    )

    by_vllm = replace(SMALL, variant=OURS, autoload=False, plugins=("lowering_hooks",))
    later = runs("Llama, applied by vLLM", by_vllm)
    yield active("`VLLM_PLUGINS=lowering_hooks`, and PyTorch may not load it", later, ONE_WORKER)
    yield same_answers("Llama, applied by vLLM", (both[0], later))
    yield carries("vLLM's compiled kernels, applied by vLLM", "_C.", later)
    yield Verdict(
        "vLLM's proxy, installed before lowering-hooks, is reported as a conflict and left as it was",
        not later.answer["applied_by_torch"] and proxy_reported(later) and proxy_stands(later),
    )

    undone = runs("Qwen2-MoE, vLLM's proxy undone", Case(OURS, qwen2_moe(), undo_proxy=True))
    yield carries("vLLM's own ops, its proxy undone", "vllm.", undone)
    yield Verdict(
        "with the proxy, none of these falls back implicitly",
        not any(op.startswith("vllm.") for op in moe[1].ops),
    )
    yield same_answers("Qwen2-MoE, vLLM's proxy undone", (moe[0], undone))
    yield from excluded(runs)


def hang(runs: Runs) -> Iterable[Verdict]:
    """Check the vLLM from before it had a proxy, where stock hangs on functional kernels."""
    both, parallel = yield from every_process(runs)
    yield carries("vLLM's compiled kernels", "_C.", both[1], parallel[1])

    deep = Case(STOCK, qwen2_moe(NOT_SURVIVED), functional=True, compiled_experts=True, deadline=DEADLINE)
    for layers in SURVIVED:
        case = replace(deep, config=qwen2_moe(layers))
        stock, ours = runs.pair(f"functional kernels, {layers} dense layers", case)
        yield same_answers(f"functional kernels, {layers} dense layers", (stock, ours))
        half = stock.total("lowering_seconds") / 2
        yield Verdict(
            f"{layers} dense layers: stock spends more than half of its lowering on texts that nobody reads, "
            "lowering-hooks lowers in less than half the time",
            stock.answer is not None
            and stock.total("text_seconds") > half
            and ours.total("lowering_seconds") < half,
            f"stock {spent(stock)}; lowering-hooks {ours.total('lowering_seconds'):.1f} s",
        )
        yield carries(f"vLLM's own ops, {layers} dense layers", "vllm.", ours)
        name = f"functional kernels, {layers} dense layers, nothing allowed"
        nothing = runs(name, case.allowing_nothing())
        yield same_answers(name, (stock, nothing), is_allowed=False)
        yield Verdict(
            f"{layers} dense layers, nothing allowed: texts of more than 100,000 characters are cut, and lowering "
            "takes less than half of stock's time",
            nothing.cut > 0 and nothing.total("lowering_seconds") < half,
            f"texts cut: {nothing.cut}; {nothing.total('lowering_seconds'):.1f} s of lowering",
        )
    stock, ours = runs.pair(f"functional kernels, {NOT_SURVIVED} dense layers", deep)
    yield Verdict(
        f"{NOT_SURVIVED} dense layers: stock's lowering does not end in {DEADLINE:g} s", stock.answer is None
    )
    yield Verdict(
        f"{NOT_SURVIVED} dense layers: with lowering-hooks the engine starts and generates",
        ours.answer is not None and is_active(ours),
        f"{ours.total('lowering_seconds'):.1f} s of lowering",
    )
    nothing = runs(
        f"functional kernels, {NOT_SURVIVED} dense layers, nothing allowed", deep.allowing_nothing()
    )
    yield Verdict(
        f"{NOT_SURVIVED} dense layers, nothing allowed: texts are cut, the engine starts and gives the same answers "
        "as with the namespaces allowed",
        ours.answer is not None
        and nothing.answer is not None
        and is_active(nothing, is_allowed=False)
        and nothing.cut > 0
        and have_same_answers(ours, nothing),
        f"texts cut: {nothing.cut}; {nothing.total('lowering_seconds'):.1f} s of lowering",
    )


def excluded(runs: Runs) -> Iterable[Verdict]:
    """Check the ways to keep lowering-hooks out of an engine."""
    # Nothing need be compiled to see what is loaded and allowed.
    case = replace(SMALL, variant=OURS, eager=True, plugins=())
    unnamed = runs("Llama, VLLM_PLUGINS names others", case)
    yield Verdict(
        "where `VLLM_PLUGINS` names others, vLLM does not apply it: its kernels' namespaces are not allowed",
        bool(unnamed.reports)
        and all("_C" not in report["status"]["namespaces"] for report in unnamed.reports),
        unnamed.names,
    )
    unloaded = runs("Llama, PyTorch may not load it either", replace(case, autoload=False))
    yield Verdict(
        "with `TORCH_DEVICE_BACKEND_AUTOLOAD=0` as well, it is loaded in no process",
        not unloaded.reports and not any(seen["lowering_hooks"] for seen in unloaded.processes),
        unloaded.names,
    )


def same_answers(name: str, outcomes: Pair, *, is_allowed: bool = True) -> Verdict:
    stock, ours = outcomes
    claim = f"{name}: the same answers with lowering-hooks as without"
    if stock.answer is None or ours.answer is None:
        return Verdict(claim, False, "the deadline came first")
    untouched = not stock.reports and not any(seen["lowering_hooks"] for seen in stock.processes)
    compiled = all(outcome.total("lowerings") for outcome in outcomes)
    return Verdict(
        claim,
        untouched and compiled and is_active(ours, is_allowed=is_allowed) and have_same_answers(stock, ours),
        f"{sum(map(len, stock.answer['tokens']))} tokens",
    )


def have_same_answers(one: Outcome, other: Outcome) -> bool:
    """Whether two engines that answered gave the same tokens and log-probabilities."""
    assert one.answer is not None
    assert other.answer is not None
    return all(one.answer[what] == other.answer[what] for what in ("tokens", "logprobs"))


def tells_apart(one: Outcome, other: Outcome) -> Verdict:
    """Check that two models with other weights answer differently: else equal answers would say nothing."""
    assert one.answer is not None
    assert other.answer is not None
    return Verdict(
        "that comparison can tell: the same model with other weights gives other tokens",
        one.answer["tokens"] != other.answer["tokens"],
    )


def active(where: str, outcome: Outcome, expected: set[str]) -> Verdict:
    return Verdict(
        f"active in every process: {where}",
        expected <= {seen["process"] for seen in outcome.processes} and is_active(outcome),
        outcome.names,
    )


def is_active(outcome: Outcome, *, is_allowed: bool = True) -> bool:
    """Whether every process wrote a report that says so, with the namespaces of vLLM's kernels allowed, or none."""
    statuses = [seen["report"] and seen["report"]["status"] for seen in outcome.processes]
    return all(
        status is not None
        and (status["state"], status["strategy"]) == ("active", "call_function")
        and ({"vllm", "_C"} <= set(status["namespaces"]) if is_allowed else not status["namespaces"])
        for status in statuses
    )


def proxy_reported(outcome: Outcome) -> bool:
    conflicts = [report["status"]["conflicts"] for report in outcome.reports]
    return bool(conflicts) and all(any("vLLM" in text for text in found) for found in conflicts)


def proxy_stands(outcome: Outcome) -> bool:
    lowered = [seen["allow_lists"] for seen in outcome.processes if seen["lowerings"]]
    return bool(lowered) and all(found == [VLLM_PROXY, VLLM_PROXY] for found in lowered)


def carries(what: str, namespace: str, *outcomes: Outcome) -> Verdict:
    found = sorted(
        op for op in set().union(*(outcome.ops for outcome in outcomes)) if op.startswith(namespace)
    )
    seen = ", ".join(f"`{op}`" for op in found)
    return Verdict(f"{what} fall back through lowering-hooks", bool(found), seen)


def spent(outcome: Outcome) -> str:
    return (
        f"{outcome.total('lowering_seconds'):.1f} s, {outcome.total('text_seconds'):.1f} s of them in "
        f"{outcome.total('text_characters'):,} characters"
    )


ENGINES: Mapping[str, Callable[[Runs], Iterable[Verdict]]] = {"current": current, "hang": hang}


def measure(engine: str) -> dict[str, Any]:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vllm-downstream-") as folder:
        runs = Runs(Path(folder))
        verdicts = []
        for verdict in ENGINES[engine](runs):
            verdicts.append(verdict)
            print(f"  {verdict}", flush=True)
        return {
            **facts(),
            "seconds": time.monotonic() - start,
            "versions": runs.versions(),
            "verdicts": [verdict._asdict() for verdict in verdicts],
            "cases": runs.as_json(),
        }


def page(data: Mapping[str, Any]) -> str:
    return HEAD + "".join(_section(engine, data[engine]) for engine in ENGINES if engine in data)


def _section(engine: str, found: Mapping[str, Any]) -> str:
    versions = found["versions"]
    return (
        f"\n## {TITLES[engine]}\n\nvLLM {versions['vllm']}, PyTorch {versions['torch']}, "
        f"Python {versions['python']}; {found['date']}, {found['cpu']}, {found['cores']} cores; "
        f"{len(found['cases'])} engines in {found['seconds'] / 60:.0f} minutes.\n\n"
        f"{claims(Verdict(**verdict) for verdict in found['verdicts'])}\n"
    )


def main(arguments: list[str]) -> int:
    data = json.loads(DATA.read_text()) if DATA.exists() else {}
    if arguments == ["--check"]:
        return pages.check(PAGE, page(data), "nox -s downstream-vllm")
    if len(arguments) != 1 or arguments[0] not in ENGINES:
        print(__doc__, file=sys.stderr)
        return 2
    end_on_sigterm()
    (engine,) = arguments
    data[engine] = measure(engine)
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(data))
    return 0 if all(verdict["holds"] for verdict in data[engine]["verdicts"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
