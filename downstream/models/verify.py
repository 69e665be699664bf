"""Compiles whole models with and without lowering-hooks; writes ``docs/downstream-models.json`` and its page.

``python downstream/models/verify.py [ARCHITECTURE ...]``, in the session's environment, takes more than an hour for
all, of which the depths of published models are the larger part.  ``--part``, ``--mode``, ``--run`` and
``--unbuilt`` choose a part of it, and ``--jobs`` how many processes compile at a time; of what is not chosen the
files keep what its last run found.  ``--check`` changes nothing, and fails where the page is not the one that the
JSON makes; it needs nothing but ``packaging``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "downstream"), str(ROOT / "tools")]

import pages
from compiling import MODES, differences
from machine import facts
from server import Ran, Server

from lowering_hooks.cli.tables import table

if TYPE_CHECKING:
    from architectures import Architecture

DATA, PAGE = ROOT / "docs" / "downstream-models.json", ROOT / "docs" / "downstream-models.md"
RUNS: Final = ("forward", "training")
# Names what is no mode of lowering-hooks, but what others do against the hang.
PROXY: Final = "plain_proxy"
OTHERS: Final = tuple(mode for mode in MODES if mode != "stock")
# Seconds after which stock, at the depth of a published model, counts as hanging; and what the others may take.
STOCK_DEADLINE, DEADLINE = 30.0, 600.0
# A compile may take this many times as long as one of stock that writes no text, and these seconds more.
TIMES, SECONDS = 1.5, 5.0
# Says why stock did not end.
TEXT: Final = "in the text of an op"
# The text of a chain that is long, before it doubles often enough to hang, nests deeper than Python lets it.
NESTED: Final = "RecursionError"
# As many architectures are compared, and as many of them stock must not survive.
ENOUGH, ENOUGH_HANGS = 25, 15

HEAD: Final = """\
# Whole models

<!-- Written by `nox -s downstream-models` from downstream-models.json. -->

Models of transformers, torchvision, timm and diffusers, built from their configurations with random weights, and
small in every way but their depth. Norms, attention, rotary embeddings, activations, experts and state space mixers
are custom ops as serving engines have them. They are functional, and take the sum of the residual stream in: such a
norm has two outputs, and the next layer reads both. Each op has another one for its gradient. Behind the model stands
one more op, which gathers the output, or is the loss; a process has not met it before, as deep as it stands.
`downstream/models/` has the code.

"Forward" is the model without gradients. "Training" is the loss, its backward graph and all gradients; dropout is off.
"The same as stock" are the generated code, the guards, the strides that kernels are handed, the recorded layout
constraints, the warnings and the errors. "Eager's results" are those of the same model without `torch.compile`, up to
a relative error of 0.001. Seconds are of processor time, without what the C++ compiler takes.
"""
HEAD_OF_SHALLOW: Final = """\
## At a depth that stock survives

Where it says so, what is generated is built, run and compared with eager. Two numbers are of forward and of training.
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

What is generated is not built. Nothing is allowed: it is the limit of 100,000 characters that ends the hang. "Hangs"
is a stock that does not end in {STOCK_DEADLINE:g} s and is in the text of an op then; its training, which begins with
the same graph, is not tried. "Late" is one that was elsewhere then: it may have ended. "RecursionError" is a text that nests too deep for Python: the compile fails. "Without texts" is a stock that writes no text of any op: it says what the rest takes.
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

Found = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is done with each architecture.

    Attributes:
        modes: What is compared with stock at a depth that it survives; nothing is, where there is none.
        how: Whether what is generated there is ``built``, or only ``generated``.
        runs: What is compiled at the depth of a published model; nothing is, where there is none.
    """

    modes: tuple[str, ...]
    how: str
    runs: tuple[str, ...]


def measure(server: Server, architecture: Architecture, plan: Plan) -> Found:
    """Compile one architecture at a depth that stock survives, and at that of a published model."""
    found: Found = {"library": architecture.library, "model": architecture.model}
    if plan.modes:
        begun = time.monotonic()
        shallow = compare(server, architecture, plan)
        found["shallow"] = shallow | {"took": time.monotonic() - begun, "date": date.today().isoformat()}
    if plan.runs:
        begun = time.monotonic()
        real = deepen(server, architecture, plan.runs)
        found["real"] = real | {"took": time.monotonic() - begun, "date": date.today().isoformat()}
    return found


def compare(server: Server, architecture: Architecture, plan: Plan) -> Found:
    """Compile as stock and in other modes at a depth that stock survives."""

    def run(mode: str, how: str = plan.how) -> Ran:
        return server.run(architecture.name, architecture.shallow, mode, how, DEADLINE, *RUNS)

    stock = run("stock")
    others = {mode: run(mode) for mode in plan.modes if mode != PROXY}
    found = {
        "layers": architecture.shallow,
        "how": plan.how,
        "graphs": {name: seen.get("graphs") for name, seen in stock.runs.items()},
        "stock": {name: _outcome(stock, name) for name in RUNS},
        "compared": {
            mode: {name: _outcome(other, name) | _compared(stock, other, name) for name in RUNS}
            for mode, other in others.items()
        },
    }
    if PROXY in plan.modes:
        proxy = run("stock", PROXY)
        found[PROXY] = {name: _compared(stock, proxy, name)["differences"] for name in RUNS}
    return found


def deepen(server: Server, architecture: Architecture, runs: tuple[str, ...]) -> Found:
    """Compile at the depth of a published model: as stock, with lowering-hooks, as stock that writes no text."""

    def run(mode: str, how: str, deadline: float, *names: str) -> Ran:
        return server.run(architecture.name, architecture.real, mode, how, deadline, *names)

    stock: Found = {}
    for name in runs:
        stock[name] = _outcome(run("stock", "generated", STOCK_DEADLINE, name), name)
        if stock[name]["seconds"] is None:
            # Its training begins with the same forward graph.
            break
    ours = run("nothing_allowed", "generated", DEADLINE, *runs)
    textless = run("stock", "textless", DEADLINE, *runs)
    return {
        "layers": architecture.real,
        "stock": stock,
        "ours": {name: _outcome(ours, name) | _compared(textless, ours, name) for name in runs},
        "textless": {name: _outcome(textless, name) for name in runs},
        "peak_mib": {"ours": ours.peak_mib, "textless": textless.peak_mib},
    }


def _outcome(ran: Ran, name: str) -> Found:
    """Return how one run ended: ``seconds`` is None where it did not, and then ``why`` says what is known."""
    seen = ran.runs.get(name)
    if seen is None:
        return {"seconds": None, "why": ran.errors[-500:] or "the process ended"}
    if seen.get("late"):
        return {"seconds": None, "why": TEXT if seen["in_text"] else "late"}
    if "RecursionError: maximum recursion depth" in seen["message"]:
        return {"seconds": None, "why": NESTED}
    if seen["error"]:
        return {"seconds": None, "why": f"{seen['error']}: {seen['message'][:300]}"}
    return {"seconds": seen["seconds"], "equal": seen["equal"], "cut": seen["cut"]}


def _compared(stock: Ran, other: Ran, name: str) -> Found:
    """Return what differs from stock; ``["not compared"]`` where one of both did not end."""
    one, two = stock.runs.get(name), other.runs.get(name)
    if one is None or two is None or "late" in one or "late" in two:
        return {"differences": ["not compared"]}
    return {"differences": differences(one, two | ({"equal": one["equal"]} if two["equal"] is None else {}))}


def verdicts(all_found: Mapping[str, Found]) -> list[tuple[str, bool, str]]:
    """Return each claim, whether it holds, and what was seen."""
    shallow = {name: found["shallow"] for name, found in all_found.items() if "shallow" in found}
    real = {name: found["real"] for name, found in all_found.items() if "real" in found}
    libraries = {found["library"] for found in all_found.values()}
    return [
        (
            f"at least {ENOUGH} architectures are compared",
            len(shallow) >= ENOUGH,
            f"{len(shallow)} of {len(libraries)} libraries",
        ),
        *(_of_shallow(shallow) if shallow else ()),
        *(_of_real(real) if real else ()),
    ]


def _of_shallow(shallow: Mapping[str, Found]) -> Iterable[tuple[str, bool, str]]:
    for mode in OTHERS:
        among = {
            name: found["compared"][mode] for name, found in shallow.items() if mode in found["compared"]
        }
        if among:
            yield _claim(f"`{mode}`: the same as stock", among, _same)
    built = {name: found for name, found in shallow.items() if found["how"] == "built"}
    if built:
        yield _claim(
            "compiled results, losses and gradients are eager's, in stock and in these modes",
            built,
            lambda found: all(map(_equal, (found["stock"], *found["compared"].values()))),
        )
    told = {name: _told(found) for name, found in shallow.items() if PROXY in found}
    what = set().union(*told.values())
    if told:
        yield (
            "that comparison can tell: a plain set proxy in the place of the allow list is not the same as stock",
            bool(what) and "not compared" not in what,
            f"{sum(map(bool, told.values()))} of {len(told)}: {', '.join(sorted(what))}",
        )


def _of_real(real: Mapping[str, Found]) -> Iterable[tuple[str, bool, str]]:
    ended = [
        name
        for name, found in real.items()
        if [seen["why"] for seen in _unended(found["stock"])] not in ([TEXT], [NESTED])
    ]
    yield (
        f"at the depth of a published model, stock hangs or fails in the text of an op, in at least {ENOUGH_HANGS}",
        len(real) - len(ended) >= min(ENOUGH_HANGS, len(real)),
        f"{len(real) - len(ended)} of {len(real)}" + (f"; not: {', '.join(ended)}" if ended else ""),
    )
    slowest = max(real, key=lambda name: max(_seconds(real[name]["ours"])))
    most = max(real, key=lambda name: real[name]["peak_mib"]["ours"])
    yield _claim(
        "at that depth, with nothing allowed, it compiles with lowering-hooks",
        real,
        lambda found: not _unended(found["ours"]),
        f"; the slowest: {slowest}, {max(_seconds(real[slowest]['ours'])):.0f} s; "
        f"the most memory: {most}, {real[most]['peak_mib']['ours']:.0f} MiB",
    )
    yield _claim(
        "and what is generated is the same as what stock generates where it writes no text of an op",
        real,
        lambda found: all(seen["differences"] == [] for seen in found["ours"].values()),
    )
    yield _claim(f"in at most {TIMES:g} times its seconds and {SECONDS:g} more", real, _is_quick)


def _claim(
    text: str, among: Mapping[str, Found], holds: Callable[[Found], bool], seen: str = ""
) -> tuple[str, bool, str]:
    failing = [name for name, found in among.items() if not holds(found)]
    said = f"{len(among) - len(failing)} of {len(among)}{seen}"
    return text, not failing, f"{said}; not: {', '.join(failing)}" if failing else said


def _equal(runs: Mapping[str, Found]) -> bool:
    return all(seen.get("equal") is True for seen in runs.values())


def _same(runs: Mapping[str, Found]) -> bool:
    return all(seen["seconds"] is not None and seen["differences"] == [] for seen in runs.values())


def _is_quick(found: Found) -> bool:
    pairs = [(seen["seconds"], found["textless"][name]["seconds"]) for name, seen in found["ours"].items()]
    return all(None not in (ours, least) and ours <= TIMES * least + SECONDS for ours, least in pairs)


def _unended(runs: Mapping[str, Found]) -> list[Found]:
    return [seen for seen in runs.values() if seen["seconds"] is None]


def _seconds(runs: Mapping[str, Found]) -> list[float]:
    return [seen["seconds"] or 0.0 for seen in runs.values()]


def page(data: Mapping[str, Any]) -> str:
    found = data["architectures"]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    parts = [one[part] for one in found.values() for part in ("shallow", "real") if part in one]
    days = sorted({part["date"] for part in parts})
    claims = [(text, "holds" if holds else "FAILS", seen) for text, holds, seen in verdicts(found)]
    shallow = [
        _shallow_row(name, one["library"], one["shallow"]) for name, one in found.items() if "shallow" in one
    ]
    real = [_real_row(name, one["model"], one["real"]) for name, one in found.items() if "real" in one]
    return (
        f"{HEAD}\n{versions}; {' to '.join(days[:1] + days[1:][-1:])}, {data['cpu']}, {data['cores']} cores; "
        f"{sum(part['took'] for part in parts) / 60:.0f} minutes for one architecture after the other.\n\n"
        f"{table(('claim', 'verdict', 'seen'), claims)}\n\n"
        f"{HEAD_OF_SHALLOW}\n{table(COLUMNS_OF_SHALLOW, shallow)}\n"
        + (f"\n{HEAD_OF_REAL}\n{table(COLUMNS_OF_REAL, real)}\n" if real else "")
    )


def _shallow_row(name: str, library: str, found: Found) -> tuple[str, ...]:
    return (
        name,
        library,
        str(found["layers"]),
        _pair(str(found["graphs"].get(run, "none")) for run in RUNS),
        _pair(_time(found["stock"][run]) for run in RUNS),
        ", ".join(f"`{mode}`" for mode, runs in found["compared"].items() if _same(runs)) or "none",
        "yes" if found["how"] == "built" else "no",
        ", ".join(sorted(_told(found))) or "nothing" if PROXY in found else "not tried",
    )


def _real_row(name: str, model: str, found: Found) -> tuple[str, ...]:
    return (
        name,
        model,
        str(found["layers"]),
        _pair(_time(seen) for seen in found["stock"].values()),
        _pair(_time(seen) for seen in found["ours"].values()),
        _pair(_time(seen) for seen in found["textless"].values()),
        str(sum(seen.get("cut", 0) for seen in found["ours"].values())),
        f"{found['peak_mib']['ours']:.0f}",
    )


def _told(found: Found) -> set[str]:
    """Return what differs under a plain set proxy."""
    return {what for run in found[PROXY].values() for what in run}


def _pair(values: Iterable[str]) -> str:
    return ", ".join(values)


def _time(seen: Found) -> str:
    if seen["seconds"] is not None:
        return f"{seen['seconds']:.1f}"
    return "hangs" if seen["why"] == TEXT else seen["why"].replace("|", "/").replace("\n", " ")[:100]


def run_all(chosen: list[Architecture], jobs: int, plan: Plan) -> None:
    """Measure architectures, with as many processes as ``jobs`` at a time, and write the files after each."""
    data = json.loads(DATA.read_text()) if DATA.exists() else {"architectures": {}}
    with tempfile.TemporaryDirectory(prefix="models-downstream-") as folder:
        servers: SimpleQueue[Server] = SimpleQueue()
        started = [Server(Path(folder)) for _ in range(jobs)]
        for server in started:
            servers.put(server)

        def measured(architecture: Architecture) -> tuple[str, Found]:
            server = servers.get()
            try:
                return architecture.name, measure(server, architecture, plan)
            finally:
                servers.put(server)

        with ThreadPoolExecutor(jobs) as pool:
            for name, found in pool.map(measured, chosen):
                data["architectures"][name] = data["architectures"].get(name, {}) | found
                data |= {"versions": started[0].versions, **facts()}
                took = sum(found[part]["took"] for part in ("shallow", "real") if part in found)
                print(f"{name}: {took:.0f} s", flush=True)
                for text, holds, seen in verdicts({name: found})[1:]:
                    if not holds:
                        print(f"  FAILS: {text} ({seen})", flush=True)
                write(data)
        for server in started:
            server.close()


def write(data: dict[str, Any]) -> None:
    from architectures import ALL

    names = [architecture.name for architecture in ALL]
    found = data["architectures"]
    data["architectures"] = {name: found[name] for name in names if name in found}
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(data))


def main(arguments: list[str]) -> int:
    """Check the page, or measure the architectures that are named, or all; return 1 where a claim does not hold."""
    if arguments == ["--check"]:
        return pages.check(PAGE, page(json.loads(DATA.read_text())), "nox -s downstream-models")
    from architectures import ALL

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--part", choices=("shallow", "real"))
    parser.add_argument("--mode", dest="modes", action="append", choices=(*OTHERS, PROXY))
    parser.add_argument("--unbuilt", dest="how", action="store_const", const="generated", default="built")
    parser.add_argument("--run", dest="runs", action="append", choices=RUNS)
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE")
    given = parser.parse_args(arguments)
    by_name = {architecture.name: architecture for architecture in ALL}
    unknown = set(given.architectures) - set(by_name)
    if unknown:
        parser.error(f"no such architecture: {', '.join(sorted(unknown))}")
    chosen = [by_name[name] for name in given.architectures or by_name]
    plan = Plan(
        modes=() if given.part == "real" else tuple(given.modes or (*OTHERS, PROXY)),
        how=given.how,
        runs=() if given.part == "shallow" else tuple(given.runs or RUNS),
    )
    run_all(chosen, given.jobs, plan)
    measured = json.loads(DATA.read_text())["architectures"]
    return 0 if all(holds for _, holds, _ in verdicts(measured)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
