"""Of whole models, what nobody measured fails a claim, and what was not measured again stays; no PyTorch is needed."""

from __future__ import annotations

import copy
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from signalled import ended_by

DOWNSTREAM = Path(__file__).parent.parent / "downstream"
# At the end: other folders of `downstream/`, which other tests import from, have modules of the same names.
sys.path += [str(DOWNSTREAM), str(DOWNSTREAM / "models")]

import measurement
import server
from architectures import ALL
from measurement import OTHERS, PARTS, PROXY, RUNS, Plan, merged
from promises import differing, verdicts
from server import Ran, Server

Found = dict[str, Any]
Change = Callable[[Found], None]

EAGER = "compiled results, losses and gradients are eager's, in stock and in these modes"
TELLS = "that comparison can tell: each time, a plain set proxy in the place of the allow list is not the same as stock"
QUICK = (
    "at the depth of a published model, lowering-hooks with nothing allowed takes at most 1.5 times the seconds of "
    "that stock, and 5 more"
)


def one() -> Found:
    """Return what may be known of one architecture."""
    ended = {"seconds": 1.0, "equal": True, "cut": 0}
    same = ended | {"differences": []}
    measured = [{"of": [], "took": 1.0, "date": "2026-01-01", "cpu": "cpu", "cores": 2, "versions": {}}]
    found = {
        "library": "transformers",
        "model": "published",
        "shallow": {
            "layers": 2,
            "built": {"stock": dict.fromkeys(RUNS, ended), **{mode: dict.fromkeys(RUNS, same) for mode in OTHERS}},
            "generated": {
                "stock": dict.fromkeys(RUNS, ended),
                PROXY: dict.fromkeys(RUNS, ended | {"differences": ["code"]}),
            },
            "measured": measured,
        },
        "real": {
            "layers": 32,
            "textless": dict.fromkeys(RUNS, ended | {"peak_mib": 9.0}),
            "stock": {
                "forward": {"seconds": None, "why": measurement.TEXT, "deadline": 31.0},
                "training": {"seconds": None, "why": "not tried"},
            },
            "ours": dict.fromkeys(RUNS, same | {"peak_mib": 9.0}),
            "measured": measured,
        },
    }  # fmt: skip
    return copy.deepcopy(found)


def told(change: Change | None = None, **chosen: Any) -> dict[str, str]:
    """Return the claims that fail, and what was seen, where ``change`` was made to what is known of BERT."""
    found = {each.name: one() for each in ALL}
    if change is not None:
        change(found["BERT"])
    return {claim: seen for claim, holds, seen in verdicts(found, **chosen) if not holds}


def test_claims_hold() -> None:
    """Where all was measured and is as it must be, every claim holds."""
    assert told() == {}
    assert told(names=["BERT"]) == {}


@pytest.mark.parametrize("mode", OTHERS)
def test_an_unmeasured_mode(mode: str) -> None:
    """A mode that was not measured fails its own claim, and that of the results."""

    def lose(found: Found) -> None:
        del found["shallow"]["built"][mode]

    failing = told(lose)
    assert set(failing) == {f"`{mode}`: the same as stock", EAGER}
    assert failing[f"`{mode}`: the same as stock"].endswith("not measured: BERT")
    assert failing[EAGER].endswith(f"not measured: BERT ({mode})")


def test_an_unmeasured_run() -> None:
    """A run that was not measured fails, and is named."""

    def lose(found: Found) -> None:
        del found["real"]["ours"]["training"]

    failing = told(lose)
    assert len(failing) == 3
    assert all(seen.endswith("not measured: BERT (training)") for seen in failing.values())


def test_an_unmeasured_architecture() -> None:
    """An architecture of which nothing is known fails every claim."""
    failing = told(lambda found: found.clear())
    every = verdicts({})
    assert set(failing) == {claim for claim, *_ in every}
    assert all(seen.endswith("not measured: BERT") for seen in failing.values())
    assert not any(holds for _, holds, _ in every)


def test_an_unbuilt_architecture() -> None:
    """What was only generated is the same as stock, but nobody knows whether its results are eager's."""

    def unbuilt(found: Found) -> None:
        ways = found["shallow"]
        ways["generated"] |= ways.pop("built")

    failing = told(unbuilt)
    assert set(failing) == {EAGER}
    assert failing[EAGER].endswith("not measured: BERT")


@pytest.mark.parametrize("differences", [[], ["not compared"]])
@pytest.mark.parametrize("run", RUNS)
def test_an_untold_control(differences: list[str], run: str) -> None:
    """A control that differs in nothing, or that was not compared, fails in any one run of any one architecture."""

    def untold(found: Found) -> None:
        proxy = found["shallow"]["generated"][PROXY]
        proxy[run] = proxy[run] | {"differences": differences}

    failing = told(untold)
    assert set(failing) == {TELLS}
    assert failing[TELLS].endswith("not: BERT")


@pytest.mark.parametrize(
    ("way", "change", "claim"),
    [
        ("graph", {"differences": ["guards"]}, "`graph`: the same as stock"),
        ("graph", {"equal": False}, EAGER),
        ("stock", {"equal": None}, EAGER),
    ],
)
def test_a_difference(way: str, change: Found, claim: str) -> None:
    """A difference from stock, or from eager, fails its own claim."""

    def differ(found: Found) -> None:
        found["shallow"]["built"][way]["training"] = found["shallow"]["built"][way]["training"] | change

    assert set(told(differ)) == {claim}


@pytest.mark.parametrize(
    ("part", "way"),
    [("shallow", ("built", "graph")), ("shallow", ("built", "set_proxy")), ("real", ("ours",))],
)
@pytest.mark.parametrize(
    "change", [{"differences": ["guards"]}, {"seconds": None, "differences": ["not compared"]}]
)
def test_which_differ(part: str, way: tuple[str, ...], change: Found) -> None:
    """An architecture differs where one of its runs does, or did not end, in any way with lowering-hooks."""
    found = {each.name: one() for each in ALL}
    assert differing(found) == []
    runs = found["BERT"][part]
    for name in way:
        runs = runs[name]
    runs["training"] = runs["training"] | change
    assert differing(found) == ["BERT"]


def test_a_slow_compile() -> None:
    """A compile that takes much longer than one without texts fails."""

    def slow(found: Found) -> None:
        found["real"]["ours"]["training"] = found["real"]["ours"]["training"] | {"seconds": 7.0}

    assert set(told(slow)) == {QUICK}
    assert set(told(slow, names=["BERT"])) == {QUICK}
    assert told(slow, names=["ViT"]) == told(slow, parts=["shallow"]) == {}


def test_parts() -> None:
    """A run of one part fails by the claims of that part only."""
    shallow, real = ([claim for claim, *_ in verdicts({}, parts=[part])] for part in PARTS)
    assert shallow + real == [claim for claim, *_ in verdicts({})]
    assert told(lambda found: found.pop("real"), parts=["shallow"]) == {}
    assert told(lambda found: found.pop("shallow"), parts=["real"]) == {}


@pytest.mark.parametrize(
    ("stock", "counts"),
    [
        ({"why": measurement.TEXT, "deadline": 31.0}, True),
        # It had no longer than the rest takes.
        ({"why": measurement.TEXT, "deadline": 1.0}, False),
        ({"why": "late", "deadline": 31.0}, False),
        ({"why": measurement.NESTED, "places": ["exc.py:operator_str", "ir.py:__str__"]}, True),
        ({"why": measurement.NESTED, "places": []}, False),
        ({"why": measurement.NESTED}, False),
    ],
)
def test_what_ends_in_the_text(stock: Found, counts: bool) -> None:
    """Stock counts as lost in the text of an op where that is known, and not where it may be lost elsewhere."""
    found = {each.name: one() for each in ALL}
    for name in [*found][14:]:
        found[name]["real"]["stock"] = {run: {"seconds": 1.0, "deadline": 31.0} for run in RUNS}
    found["BERT"]["real"]["stock"]["forward"] = {"seconds": None, **stock}
    assert "BERT" in [*found][14:]
    (holds,) = [holds for claim, holds, _ in verdicts(found) if "stock hangs" in claim]
    assert holds is counts


def measured(*of: str, day: str = "2026-02-02") -> list[Found]:
    return [{"of": list(of), "date": day}]


def test_a_partial_run_keeps_the_rest() -> None:
    """What was measured again is replaced; other ways, runs and parts stay, with their own circumstances."""
    known = one()
    known["shallow"]["measured"] = measured("built/stock", "built/graph", day="2026-01-01")
    known["real"]["measured"] = measured("forward", "training", day="2026-01-01")
    before = copy.deepcopy(known)
    slower = {run: {"seconds": 2.0, "differences": []} for run in RUNS}
    found = {
        "library": "transformers",
        "shallow": {"layers": 2, "built": {"graph": slower}, "measured": measured("built/graph")},
        "real": {"layers": 32, "ours": {"training": slower["training"]}, "measured": measured("training")},
    }
    after = merged(known, found)
    assert known == before, "what was known is not changed in place"
    expected = copy.deepcopy(before)
    expected["shallow"]["built"]["graph"] = slower
    expected["real"]["ours"]["training"] = slower["training"]
    expected["shallow"]["measured"] = measured("built/stock", day="2026-01-01") + measured("built/graph")
    expected["real"]["measured"] = measured("forward", day="2026-01-01") + measured("training")
    assert after == expected
    assert merged({}, found) == found


def test_what_is_built_replaces_what_was_only_generated() -> None:
    """A mode that is built later stands once; a stock and a mode that were only generated stay."""
    known = one()
    record = {run: {"seconds": 2.0, "differences": []} for run in RUNS}
    known["shallow"]["generated"] = {"stock": record, "graph": record, "set_proxy": record}
    known["shallow"]["measured"] = measured(
        "generated/stock", "generated/graph", "generated/set_proxy", day="2026-01-01"
    )
    before = copy.deepcopy(known)
    built: Found = {
        "layers": 2,
        "built": {"stock": record, "graph": record},
        "measured": measured("built/stock", "built/graph"),
    }
    after = merged(known, {"shallow": built})["shallow"]
    assert known == before, "what was known is not changed in place"
    assert after["generated"] == {"stock": record, "set_proxy": record}
    assert after["built"]["graph"] == record
    assert after["measured"] == [
        *measured("generated/stock", "generated/set_proxy", day="2026-01-01"),
        *built["measured"],
    ]
    generated = {"layers": 2, "generated": {"graph": record}, "measured": measured("generated/graph")}
    after = merged(known | {"shallow": built}, {"shallow": generated})["shallow"]
    assert after["built"] == built["built"], "what is only generated replaces nothing that was built"
    assert after["generated"] == generated["generated"]


def test_another_depth_begins_anew() -> None:
    """What was measured at another depth is not mixed with what was found."""
    found = {"real": {"layers": 40, "ours": {"forward": {"seconds": 2.0}}, "measured": measured("forward")}}
    assert merged(one(), found)["real"] == found["real"]


class StandIn:
    """A server that compiles nothing: it notes what it is told, and is told by the tests what was seen."""

    def __init__(self) -> None:
        self.versions = {"torch": "2"}
        self.asked: list[tuple[str, str, float]] = []
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def run(self, architecture: str, layers: int, mode: str, how: str, deadline: float, *runs: str) -> Ran:
        if architecture == "ViT":
            raise RuntimeError("no answer")
        self.asked.append((mode, how, deadline))
        # What is not built may have other strides.
        code, strides = "other" if how == PROXY else "code", [how == "built"]
        seen = {
            "code": [code], "guards": [], "strides": strides, "constraints": {}, "warnings": [], "error": None,
            "message": "", "equal": True if how == "built" else None, "seconds": 2.0, "cut": 0, "graphs": 1,
        }  # fmt: skip
        return Ran(dict.fromkeys(runs, seen), 1.0, "")


def of(*names: str) -> list[Any]:
    return [each for each in ALL if each.name in names]


def test_the_control_has_a_stock_like_it() -> None:
    """The plain proxy is compared with a stock that is generated as it is, and the modes with one that is built."""
    found = measurement.compare(StandIn(), of("BERT")[0], Plan(("graph", PROXY), "built", ()))
    assert {how: list(found[how]) for how in ("built", "generated")} == {
        "built": ["stock", "graph"],
        "generated": ["stock", PROXY],
    }
    assert found["built"]["graph"]["forward"]["differences"] == []
    assert found["generated"][PROXY]["forward"]["differences"] == ["code"]
    alone = measurement.compare(StandIn(), of("BERT")[0], Plan((PROXY,), "built", ()))
    assert "built" not in alone


def test_stock_has_longer_than_without_texts() -> None:
    """At full depth the compile without texts comes first, and stock has half a minute more than it took."""
    stand_in = StandIn()
    found = measurement.deepen(stand_in, of("BERT")[0], RUNS)
    assert stand_in.asked == [
        ("stock", "textless", 600.0),
        ("stock", "generated", 32.0),
        ("stock", "generated", 32.0),
        ("nothing_allowed", "generated", 600.0),
    ]
    assert found["stock"]["training"]["deadline"] == 32.0


@pytest.fixture
def stand_ins(monkeypatch) -> list[StandIn]:
    """The servers that were started, which are stand-ins."""
    started: list[StandIn] = []

    def start(folder: Path) -> StandIn:
        started.append(StandIn())
        return started[-1]

    monkeypatch.setattr(measurement, "Server", start)
    return started


def test_a_failure_loses_nothing_else(stand_ins) -> None:
    """An architecture that fails is told, and the others are measured."""
    found = dict(measurement.measure_all(of("BERT", "ViT", "Swin"), 1, Plan(OTHERS, "built", RUNS)))
    assert isinstance(found.pop("ViT"), RuntimeError)
    assert set(found) == {"BERT", "Swin"}
    assert [each.is_closed for each in stand_ins] == [True]
    assert found["BERT"]["shallow"]["measured"][0]["versions"] == {"torch": "2"}
    assert found["BERT"]["shallow"]["measured"][0]["of"][0] == "built/stock"
    failing = [claim for claim, holds, _ in verdicts(found, ["BERT"]) if not holds]
    assert failing == [TELLS], "all else was measured, and held"


@pytest.fixture
def script(tmp_path, monkeypatch) -> Any:
    """The program, which writes elsewhere; imported under another name, as other folders have one of its own."""
    spec = importlib.util.spec_from_file_location("models_verify", DOWNSTREAM / "models" / "verify.py")
    module: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec.loader.exec_module(module)
    module.DATA, module.PAGE = tmp_path / "data.json", tmp_path / "page.md"
    return module


def test_runs_add_up(stand_ins, script) -> None:
    """All that a run measures is written, in the order of the table, and beside it what earlier runs found."""
    assert script.run_all(of("UNet"), 1, Plan((), "built", RUNS))
    before = script.read()["UNet"]
    assert not script.run_all(of("ViT", "UNet", "Swin", "BERT"), 1, Plan(("graph",), "built", ()))
    assert script.run_all(of("BERT"), 1, Plan((PROXY,), "built", ()))
    found = script.read()
    assert [*found] == ["BERT", "Swin", "UNet"]
    assert found["UNet"]["real"] == before["real"]
    assert all("graph" in each["shallow"]["built"] for each in found.values())
    assert [each["of"] for each in found["BERT"]["shallow"]["measured"]] == [
        ["built/stock", "built/graph"],
        ["generated/stock", f"generated/{PROXY}"],
    ]
    assert script.PAGE.read_text() == script.page(found)


def test_a_run_of_some_libraries(script, monkeypatch, capsys) -> None:
    """Their architectures are compiled, of those that are named where any are; claims are of the others as well."""
    chosen: list[list[str]] = []

    def run_all(architectures: list[Any], jobs: int, plan: Plan) -> bool:
        chosen.append([each.name for each in architectures])
        return True

    monkeypatch.setattr(script, "run_all", run_all)
    known = {each.name: one() | {"library": each.library} for each in ALL}
    monkeypatch.setattr(script, "read", lambda: known)
    arguments = ["--part", "real", "--library", "timm", "--library", "diffusers"]
    assert script.main(arguments) == 0
    assert chosen.pop() == [each.name for each in ALL if each.library in ("timm", "diffusers")]
    known["BERT"]["real"]["ours"]["forward"]["differences"] = ["code"]
    assert script.main(arguments) == 1
    assert "not: BERT" in capsys.readouterr().out
    assert script.main([*arguments, "UNet", "ViT"]) == 0
    assert chosen.pop() == ["UNet"]
    with pytest.raises(SystemExit):
        script.main(["--library", "keras"])


def test_leaving_early_closes(stand_ins) -> None:
    """Whoever stops listening, as with Ctrl-C, leaves no server open."""
    found = measurement.measure_all(ALL, 2, Plan(OTHERS, "built", RUNS))
    next(found)
    found.close()
    assert [each.is_closed for each in stand_ins] == [True, True]


# Answers a task, or ends, as its architecture says; any other waits for ever, with a child that does.
WORKER = """
import json, os, subprocess, sys, time
print(json.dumps({"torch": "2"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    with open(task["output"], "w") as output:
        print(json.dumps({"run": "forward", "pid": os.getpid()}), file=output)
        if task["architecture"] not in ("answers", "ends"):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            print(json.dumps({"run": "child", "pid": child.pid}), file=output, flush=True)
            with open(f"{__file__}.pids", "a") as pids:
                print(os.getpid(), child.pid, file=pids)
            time.sleep(600)
    if task["architecture"] == "ends":
        sys.exit(3)
    print(json.dumps({"peak_mib": 1.0, "why": ""}), flush=True)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch) -> Iterator[Server]:
    """A server of a stand-in for the worker, which has two seconds of wall-clock time for a task."""
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(server, "WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(server, "SECONDS", 2.0)
    started = Server(tmp_path)
    yield started
    started.close()


def asked(worker: Server, architecture: str) -> Ran:
    return worker.run(architecture, 2, "stock", "built", 0.0, "forward")


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has waited for yet, does not."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def test_a_worker_that_waits_is_ended(worker) -> None:
    """A worker that waits for ever is ended with all that it started, which the result says; the next is another."""
    first = asked(worker, "answers").runs["forward"]["pid"]
    waiting = asked(worker, "waits")
    assert "ended after 2 s of wall-clock time" in waiting.errors
    assert waiting.runs["forward"]["pid"] == first
    assert not is_running(first)
    assert not is_running(waiting.runs["child"]["pid"])
    last = asked(worker, "answers")
    assert last.errors == ""
    assert last.runs["forward"]["pid"] != first


def test_a_worker_that_ended_is_replaced(worker) -> None:
    """A worker that ended fails its own task, and no later one."""
    assert asked(worker, "ends").errors == "the worker ended with status 3"
    assert asked(worker, "answers").errors == ""


def test_a_closed_server(worker) -> None:
    """A closed server has ended its process, and starts no other."""
    pid = asked(worker, "answers").runs["forward"]["pid"]
    worker.close()
    assert not is_running(pid)
    with pytest.raises(RuntimeError, match="closed"):
        asked(worker, "answers")


INTERRUPTED = """
import signal, sys
from pathlib import Path
sys.path += sys.argv[2:]
# What runs in the background of a shell may have been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
import architectures, measurement, server
server.WORKER = Path(sys.argv[1])
list(measurement.measure_all(architectures.ALL[:4], 2, measurement.Plan(measurement.OTHERS, "built", ())))
"""


def test_an_interrupt_leaves_no_process(worker, tmp_path) -> None:
    """Ctrl-C ends the workers, and all that they started, though these are in groups of their own."""
    path = [
        str(DOWNSTREAM),
        str(DOWNSTREAM / "models"),
        str(DOWNSTREAM.parent / "tools"),
        str(DOWNSTREAM.parent),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(server.WORKER), *path], stderr=subprocess.PIPE
    )
    pids = tmp_path / "worker.py.pids"
    errors = ended_by(signal.SIGINT, process, lambda: pids.exists() and len(pids.read_text().split()) == 4)
    assert b"KeyboardInterrupt" in errors
    assert [pid for pid in map(int, pids.read_text().split()) if is_running(pid)] == []
