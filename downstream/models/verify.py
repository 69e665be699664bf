"""Compiles whole models with and without lowering-hooks; writes ``docs/downstream-models.json`` and its page.

``python downstream/models/verify.py [ARCHITECTURE ...]``, in the session's environment, takes more than an hour for
all, of which the depths of published models are the larger part.  ``--part``, ``--mode``, ``--run`` and
``--unbuilt`` choose a part of it, and ``--jobs`` how many processes compile at a time; of what is not chosen the
files keep what its last run found.  It fails where a claim about the chosen architectures and part does not hold.
``--check`` changes nothing, and fails where the page is not the one that the JSON makes; it needs nothing but
``packaging``.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "downstream"), str(ROOT / "tools")]

import pages
from architectures import ALL, CLOSE, LIBRARIES, Architecture
from compiling import end_on_sigterm
from measurement import FOR_TEXTS, OTHERS, PARTS, PROXY, RUNS, TEXT, Found, Plan, measure_all, merged
from promises import is_same, tells, verdicts
from verdicts import claims

from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "downstream-models.json", ROOT / "docs" / "downstream-models.md"

HEAD: Final = f"""\
# Whole models

<!-- Written by `nox -s downstream-models` from downstream-models.json. -->

Models of transformers, torchvision, timm and diffusers, built from their configurations with random weights, and
small in every way but their depth. Norms, attention, rotary embeddings, activations, experts and state space mixers
are custom ops as serving engines have them. They are functional, and take the sum of the residual stream in: such a
norm has two outputs, and the next layer reads both. Each op has another one for its gradient. Behind the model stands
one more op, which gathers the output, or is the loss; a process has not met it before, as deep as it stands.
`downstream/models/` has the code.

"Forward" is the model without gradients. "Training" is the loss, its backward graph and all gradients; dropout is off.
"The same as stock" are the generated code, the guards on shapes (those of `ShapeEnv`), the strides that kernels are
handed, the recorded layout constraints, the warnings and the errors. "Eager's results" are those of the same model
without `torch.compile`, up to {CLOSE["rtol"]:g} of the value plus {CLOSE["atol"]:.4f}; ResNet is compared in double precision. Seconds are of processor time, without what the C++ compiler takes.

A claim is about every architecture of the table in `architectures.py`. It fails where one was not measured.
"""
HEAD_OF_SHALLOW: Final = """\
## At a depth that stock survives

Where it says so, what is generated is built, run and compared with eager. Two numbers are of forward and of training.
The plain set proxy is only generated, and compared with a stock that is only generated, too.
"""
COLUMNS_OF_SHALLOW: Final = (
    "architecture",
    "library",
    "layers",
    "graphs",
    "stock, s",
    "the same as stock",
    "built",
    "a plain set proxy differs in",
)
HEAD_OF_REAL: Final = f"""\
## At the depth of a published model

What is generated is not built. Nothing is allowed: it is the limit of 100,000 characters that ends the hang. Two
numbers are of forward and of training. "Without texts" is a stock that writes no text of any op: it says what the rest
takes, and stock has {FOR_TEXTS:g} s more than that. "Hangs" is a stock that did not end in the seconds in brackets and was in
the text of an op then. "Late" is one that was elsewhere then: it may have ended, had it been given longer.
"RecursionError" is a text that nests too deep for Python: the compile fails. Where stock's forward graph does not end,
its training, which begins with the same graph, is not tried.
"""
COLUMNS_OF_REAL: Final = (
    "architecture",
    "as deep as",
    "layers",
    "stock, s",
    "lowering-hooks, s",
    "without texts, s",
    "texts cut",
    "MiB",
)


def page(found: Mapping[str, Found]) -> str:
    """Return the page of what is known."""
    parts = [one[part] for one in found.values() for part in PARTS if part in one]
    shallow = [
        _shallow_row(name, one["library"], one["shallow"]) for name, one in found.items() if "shallow" in one
    ]
    real = [_real_row(name, one["model"], one["real"]) for name, one in found.items() if "real" in one]
    return (
        f"{HEAD}\n{_circumstances([one for part in parts for one in part['measured']])}\n\n"
        f"{claims(verdicts(found))}\n\n"
        f"{HEAD_OF_SHALLOW}\n{table(COLUMNS_OF_SHALLOW, shallow)}\n"
        f"\n{HEAD_OF_REAL}\n{table(COLUMNS_OF_REAL, real)}\n"
    )


def _circumstances(measured: list[Found]) -> str:
    """Return with what, when and where all was measured, and how long it took."""
    days = sorted({one["date"] for one in measured})
    versions = {
        ", ".join(f"{name} {version}" for name, version in one["versions"].items()) for one in measured
    }
    machines = {f"{one['cpu']}, {one['cores']} cores" for one in measured}
    minutes = sum(one["took"] for one in measured) / 60
    return (
        f"{'; '.join(sorted(versions))}; {' to '.join(days[:1] + days[1:][-1:])}, {'; '.join(sorted(machines))}; "
        f"{minutes:.0f} minutes as the sum over the architectures, some of which were measured at the same time."
    )


def _shallow_row(name: str, library: str, found: Found) -> tuple[str, ...]:
    built, generated = (found.get(how, {}) for how in ("built", "generated"))
    stock = (built or generated)["stock"]
    measured = [mode for mode in OTHERS if mode in built or mode in generated]
    seen = {mode: [*built.get(mode, {}).values(), *generated.get(mode, {}).values()] for mode in measured}
    return (
        name,
        library,
        str(found["layers"]),
        _pair(str(one.get("graphs", "none")) for one in stock.values()),
        _pair(_time(one) for one in stock.values()),
        ", ".join(f"`{mode}`" for mode in measured if all(map(is_same, seen[mode]))) or "none",
        ("yes" if all(mode in built for mode in measured) else "in part") if built else "no",
        ", ".join(sorted(tells(found))) or "nothing" if PROXY in generated else "not measured",
    )


def _real_row(name: str, model: str, found: Found) -> tuple[str, ...]:
    ways = [[found[way][run] for run in RUNS if run in found[way]] for way in ("stock", "ours", "textless")]
    return (
        name,
        model,
        str(found["layers"]),
        *(_pair(_time(seen) for seen in way) for way in ways),
        str(sum(seen.get("cut", 0) for seen in ways[1])),
        f"{max(seen['peak_mib'] for seen in ways[1]):.0f}",
    )


def _pair(values: Iterable[str]) -> str:
    return ", ".join(values)


def _time(seen: Found) -> str:
    if seen["seconds"] is not None:
        return f"{seen['seconds']:.1f}"
    if seen["why"] == TEXT:
        return f"hangs ({seen['deadline']:.0f} s)" if "deadline" in seen else "hangs"
    return seen["why"].replace("|", "/").replace("\n", " ")[:100]


def run_all(chosen: list[Architecture], jobs: int, plan: Plan) -> bool:
    """Measure architectures, write the files after each, and return whether all could be measured.

    What was known of an architecture that could not be measured stays as it is.
    """
    known = read()
    failed = []
    parts = [part for part, is_chosen in zip(PARTS, (plan.modes, plan.runs), strict=True) if is_chosen]
    # What took longest the last time begins first: else one process works alone at the end.
    chosen = sorted(chosen, key=lambda one: took(known.get(one.name, {}), parts), reverse=True)
    with closing(measure_all(chosen, jobs, plan)) as measured:
        for name, found in measured:
            if isinstance(found, Exception):
                failed.append(name)
                print(f"{name}: failed\n{''.join(traceback.format_exception(found))}", flush=True)
                continue
            known[name] = merged(known.get(name, {}), found)
            write(known)
            print(f"{name}: {took(found, parts):.0f} s", flush=True)
            for verdict in verdicts(known, [name], parts):
                if not verdict.holds:
                    print(f"  {verdict}", flush=True)
    if failed:
        print(f"not measured, as they failed: {', '.join(failed)}", flush=True)
    return not failed


def took(found: Found, parts: Iterable[str]) -> float:
    """Return how many seconds these parts of an architecture took; 0 for one that was not measured."""
    return sum(one["took"] for part in parts if part in found for one in found[part]["measured"])


def read() -> dict[str, Found]:
    """Return what is known of each architecture."""
    found: dict[str, Found] = json.loads(DATA.read_text())["architectures"] if DATA.exists() else {}
    return found


def write(found: Mapping[str, Found]) -> None:
    """Write the JSON, in the order of the table, and the page; neither is ever half of one."""
    ordered = {one.name: found[one.name] for one in ALL if one.name in found}
    data = json.dumps({"architectures": ordered}, indent=1) + "\n"
    for file, text in ((DATA, data), (PAGE, page(ordered))):
        whole = file.with_name(f"{file.name}.new")
        whole.write_text(text)
        whole.replace(file)


def main(arguments: list[str]) -> int:
    """Check the page, or measure architectures; return 1 where a claim does not hold.

    Claims are about the architectures that are named. Where none is, they are about the whole table, and so about those
    of the libraries that were left out, too.
    """
    if arguments == ["--check"]:
        return pages.check(PAGE, page(read()), "nox -s downstream-models")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--mode", dest="modes", action="append", choices=(*OTHERS, PROXY))
    parser.add_argument("--unbuilt", dest="how", action="store_const", const="generated", default="built")
    parser.add_argument("--run", dest="runs", action="append", choices=RUNS)
    parser.add_argument("--library", dest="libraries", action="append", choices=LIBRARIES)
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE")
    given = parser.parse_args(arguments)
    by_name = {architecture.name: architecture for architecture in ALL}
    unknown = set(given.architectures) - set(by_name)
    if unknown:
        parser.error(f"no such architecture: {', '.join(sorted(unknown))}")
    plan = Plan(
        modes=() if given.part == "real" else tuple(given.modes or (*OTHERS, PROXY)),
        how=given.how,
        runs=() if given.part == "shallow" else tuple(given.runs or RUNS),
    )
    end_on_sigterm()
    names = list(dict.fromkeys(given.architectures))
    chosen = [by_name[name] for name in names or by_name]
    chosen = [one for one in chosen if one.library in (given.libraries or LIBRARIES)]
    are_all_measured = run_all(chosen, given.jobs, plan)
    told = verdicts(read(), names or None, [given.part] if given.part else PARTS)
    for verdict in told:
        print(verdict)
    return 0 if are_all_measured and all(verdict.holds for verdict in told) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
