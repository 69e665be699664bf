"""Measures architectures: what is compiled, in which ways, and what becomes of what was measured before.

What is known of an architecture has two parts, :data:`PARTS`.  In each stand records, one for each run: how it ended,
and where it is compared, what differs from stock.

* ``shallow``: ``built`` and ``generated`` (what Inductor generates is built and run, or it is not), in each of them
  ``stock`` and the ways that are compared with that stock, and in each of these the runs.
* ``real``: ``textless``, ``stock`` and ``ours``, and in each of these the runs.
* in both: ``layers``, how deep it is, and ``measured``: what was measured when, where, and with which versions.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from architectures import SHALLOW, Architecture
from compiling import MODES, differences
from machine import facts
from server import Ran, Server

Found = dict[str, Any]

PARTS: Final = ("shallow", "real")
RUNS: Final = ("forward", "training")
# Names what is no mode of lowering-hooks, but what others do against the hang.
PROXY: Final = "plain_proxy"
OTHERS: Final = tuple(mode for mode in MODES if mode != "stock")
# Seconds that a compile may take.
DEADLINE: Final = 600.0
# At the depth of a published model, stock may take these seconds more than it takes without texts.
FOR_TEXTS: Final = 30.0
# Says why stock did not end.
TEXT: Final = "in the text of an op"
# The text of a chain that is long, before it doubles often enough to hang, nests deeper than Python lets it.
NESTED: Final = "RecursionError"
# PyTorch 2.0-2.15: the function that writes the text of an op; if missing: nothing counts as in the text.
WRITER: Final = ":operator_str"


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


def measure_all(
    chosen: Sequence[Architecture], jobs: int, plan: Plan
) -> Iterator[tuple[str, Found | Exception]]:
    """Yield the name of each architecture with what was found, or with the error that ended it, as they end.

    Close this generator where it is left early: that ends all processes.

    Args:
        chosen: The architectures.
        jobs: How many processes compile at a time.
        plan: What is done with each.
    """
    with tempfile.TemporaryDirectory(prefix="models-downstream-") as folder:
        servers = [Server(Path(folder)) for _ in range(jobs)]
        idle: SimpleQueue[Server] = SimpleQueue()
        for server in servers:
            idle.put(server)

        def measured(architecture: Architecture) -> Found:
            server = idle.get()
            try:
                return measure(server, architecture, plan)
            finally:
                idle.put(server)

        pool = ThreadPoolExecutor(jobs)
        try:
            names = {pool.submit(measured, architecture): architecture.name for architecture in chosen}
            for future in as_completed(names):
                error = future.exception()
                if error is None:
                    yield names[future], future.result()
                elif isinstance(error, Exception):
                    yield names[future], error
        finally:
            # The threads wait for the processes: so these end first, and what was not begun fails at once.
            for server in servers:
                server.close()
            pool.shutdown(cancel_futures=True)


def measure(server: Server, architecture: Architecture, plan: Plan) -> Found:
    """Compile one architecture at a depth that stock survives, and at that of a published model."""
    found: Found = {"library": architecture.library, "model": architecture.model}
    if plan.modes:
        begun = time.monotonic()
        shallow = compare(server, architecture, plan)
        names = [f"{how}/{way}" for how in ("built", "generated") for way in shallow.get(how, ())]
        found["shallow"] = shallow | {"measured": [_circumstances(server, names, begun)]}
    if plan.runs:
        begun = time.monotonic()
        real = deepen(server, architecture, plan.runs)
        found["real"] = real | {"measured": [_circumstances(server, list(plan.runs), begun)]}
    return found


def _circumstances(server: Server, names: list[str], begun: float) -> Found:
    """Return when, where and with which versions the parts named so were measured, and how many seconds it took."""
    return {"of": names, "took": time.monotonic() - begun, **facts(), "versions": server.versions}


def compare(server: Server, architecture: Architecture, plan: Plan) -> Found:
    """Compile as stock and in other ways at a depth that stock survives; each is compared with a stock like it."""

    def run(mode: str, how: str) -> Ran:
        return server.run(architecture.name, SHALLOW, mode, how, DEADLINE, *RUNS)

    ways = dict.fromkeys(plan.modes, plan.how)
    if PROXY in ways:
        # It is only generated: where kernels do nothing, strides and code may differ from those of a stock that is
        # built, without any doing of the proxy's.
        ways[PROXY] = "generated"
    stock = {how: run("stock", how) for how in dict.fromkeys(ways.values())}
    found: Found = {"layers": SHALLOW}
    for how, ran in stock.items():
        found[how] = {"stock": {name: _outcome(ran, name) | _made(ran, name) for name in RUNS}}
    for way, how in ways.items():
        ran = run("stock", PROXY) if way == PROXY else run(way, how)
        found[how][way] = {name: _outcome(ran, name) | _compared(stock[how], ran, name) for name in RUNS}
    return found


def deepen(server: Server, architecture: Architecture, runs: tuple[str, ...]) -> Found:
    """Compile at the depth of a published model: as stock that writes no text, as stock, with lowering-hooks."""

    def run(mode: str, how: str, deadline: float, *names: str) -> Ran:
        return server.run(architecture.name, architecture.real, mode, how, deadline, *names)

    textless = run("stock", "textless", DEADLINE, *runs)
    found: Found = {
        "layers": architecture.real,
        "textless": {name: _outcome(textless, name) | {"peak_mib": textless.peak_mib} for name in runs},
        "stock": {},
    }
    is_lost = False
    for name in runs:
        least = found["textless"][name]["seconds"]
        if is_lost or least is None:
            # Its training begins with the same forward graph; and where it does not end without texts either, it says
            # nothing of them.
            found["stock"][name] = {"seconds": None, "why": "not tried"}
            continue
        deadline = least + FOR_TEXTS
        outcome = _outcome(run("stock", "generated", deadline, name), name)
        found["stock"][name] = outcome | {"deadline": deadline}
        is_lost = outcome["seconds"] is None
    ours = run("nothing_allowed", "generated", DEADLINE, *runs)
    found["ours"] = {
        name: _outcome(ours, name) | _compared(textless, ours, name) | {"peak_mib": ours.peak_mib}
        for name in runs
    }
    return found


def _outcome(ran: Ran, name: str) -> Found:
    """Return how one run ended: ``seconds`` is None where it did not, and then ``why`` says what is known."""
    seen = ran.runs.get(name)
    if seen is None:
        return {"seconds": None, "why": ran.errors[-500:] or "the process ended"}
    if seen.get("late"):
        return {"seconds": None, "why": TEXT if seen["in_text"] else "late"}
    if "RecursionError: maximum recursion depth" in seen["message"]:
        return {"seconds": None, "why": NESTED, "places": _of_text(seen["places"])}
    if seen["error"]:
        return {"seconds": None, "why": f"{seen['error']}: {seen['message'][:300]}"}
    return {"seconds": seen["seconds"], "equal": seen["equal"], "cut": seen["cut"]}


def _of_text(places: Sequence[str]) -> list[str]:
    """Return the places of an error from the function on that writes the text of an op; none, if it is elsewhere."""
    for number, place in enumerate(places):
        if place.endswith(WRITER):
            return list(places[number:])
    return []


def _made(ran: Ran, name: str) -> Found:
    """Return of how many graphs one run was, if it ended."""
    seen = ran.runs.get(name)
    return {} if seen is None or "late" in seen else {"graphs": seen["graphs"]}


def _compared(stock: Ran, other: Ran, name: str) -> Found:
    """Return what differs from stock; ``["not compared"]`` where one of both did not end."""
    one, two = stock.runs.get(name), other.runs.get(name)
    if one is None or two is None or "late" in one or "late" in two:
        return {"differences": ["not compared"]}
    return {"differences": differences(one, two | ({"equal": one["equal"]} if two["equal"] is None else {}))}


def merged(known: Mapping[str, Any], found: Mapping[str, Any]) -> Found:
    """Return what is known of an architecture once ``found`` is: all of that, and of the rest what was known."""
    parts = {part: _merged_part(known.get(part, {}), found[part]) for part in PARTS if part in found}
    return {**known, **found, **parts}


def _merged_part(known: Mapping[str, Any], found: Found) -> Found:
    if known.get("layers") != found["layers"]:
        # What was found at another depth does not stand beside it.
        return found
    # A mode that was built was compared in all that it would have been as only generated, so it replaces that.
    built = set(found.get("built", ())).intersection(OTHERS)
    again = {f"generated/{mode}" for mode in built}
    again.update(name for one in found["measured"] for name in one["of"])
    before = [one | {"of": [name for name in one["of"] if name not in again]} for one in known["measured"]]
    if "generated" in known:
        kept = {way: runs for way, runs in known["generated"].items() if way not in built}
        known = {**known, "generated": kept}
    return {
        **_deeply(known, found),
        "measured": [*(one for one in before if one["of"]), *found["measured"]],
    }


def _deeply(known: Mapping[str, Any], found: Mapping[str, Any]) -> Found:
    """Return ``known`` with the records of ``found``, each of which is taken as a whole."""
    together = dict(known)
    for key, value in found.items():
        is_record = not isinstance(value, dict) or "seconds" in value
        together[key] = value if is_record or key not in known else _deeply(known[key], value)
    return together
