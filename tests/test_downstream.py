"""What is compared downstream is compared: a difference is found, and makes a claim fail."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache as cached
from pathlib import Path
from traceback import FrameSummary
from typing import Any

import pytest
from installed import RELEASE, SERIES
from signalled import ended_by

TESTS = Path(__file__).parent
DOWNSTREAM = TESTS.parent / "downstream"
sys.path[:0] = [str(DOWNSTREAM), str(DOWNSTREAM / "pytorch")]

import runs
import verify
from compiling import Ended, _place, _places, comparable, differences, run_worker
from runs import PLAIN, WAYS, Found, Share
from verify import summary, unsettled, verdicts


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Compile the mirrors of ``mirror_worker.py`` in a mode, each in a process of its own."""
    folder = tmp_path_factory.mktemp("mirrors")

    @cached
    def compiled(mode: str, *arguments: str) -> dict[str, Any]:
        worker = TESTS / "mirror_worker.py"
        ended = run_worker(worker, mode, folder / mode, 600, str(DOWNSTREAM), *arguments)
        assert len(ended.lines) == 1, ended.errors
        return ended.lines[0]

    return compiled


def test_stock_compiles_mirrors(seen) -> None:
    """There is something to compare: the mirrors fall back, and their kernels are handed tensors."""
    stock = seen("stock")
    assert stock["error"] is None, stock["message"]
    assert stock["mirrors"] == 3
    # PyTorch 2.0 runs the graph once before it compiles it.
    assert [name for name, _ in stock["strides"]][-3:] == ["log", "triu", "cumsum"]
    assert all(f"mirror.{name}" in stock["code"][0] for name in ("log", "triu", "cumsum"))


@pytest.mark.parametrize("mode", ["call_function", "graph", "set_proxy", "nothing_allowed"])
def test_hooked_is_stock(seen, mode: str) -> None:
    """What is compiled with lowering-hooks does not differ from stock."""
    assert differences(seen("stock"), seen(mode)) == []


@pytest.mark.parametrize(("mode", "logs"), [("stock", False), ("graph", True), ("nothing_allowed", True)])
def test_texts_are_written(seen, mode: str, logs: bool) -> None:
    """In two of the modes Inductor's logs are written, so that looking at the IR is part of what is compared."""
    assert (seen(mode)["logged"] > 1000) is logs


def test_a_plain_set_proxy_is_found(seen) -> None:
    """A plain set proxy loses the layout constraints, and the comparison says so."""
    found = differences(seen("stock"), seen("stock", "plain"))
    assert (found != []) is (RELEASE.layout_constraint != "none"), found


# An eighth of the operators must make 625 graphs; these are a few more.
GRAPHS = 630


def test_the_place_of_an_error(monkeypatch) -> None:
    """An error in generated code is the same in two processes, whose files have other names."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/cache/a")
    assert _place(FrameSummary("/cache/a/cw/cwvjoo.py", 7, "call")) == "generated code:call"
    assert _place(FrameSummary("/torch/_inductor/graph.py", 7, "run")) == "graph.py:run"


def test_the_places_of_an_error() -> None:
    """An error that was raised from another has the places of both, each once."""

    def deep(levels: int) -> None:
        if levels == 0:
            raise RecursionError
        deep(levels - 1)

    def wrap() -> None:
        try:
            deep(3)
        except RecursionError as error:
            raise ValueError from error

    with pytest.raises(ValueError) as raised:  # noqa: PT011
        wrap()
    assert _places(raised.value)[-2:] == ["test_downstream.py:wrap", "test_downstream.py:deep"]


def compiles(**different: Any) -> dict[str, Any]:
    """Return what a worker might have seen of many compiles."""
    one = {
        "code": ["a1"], "guards": [], "strides": [["log", [1]]], "constraints": {}, "warnings": [], "error": None,
        "message": "", "whole_message": "m1", "is_cut": False, "equal": None, "fallbacks": ["mirror.log.default"],
    } | different  # fmt: skip
    return {f"op_db/op{number}/float32/0/mirror": copy.deepcopy(one) for number in range(GRAPHS)}


# A compile of `compiles`.
NAME = "op_db/op7/float32/0/mirror"


def everything() -> dict[str, dict[str, Found]]:
    """Return what a run might have found in which nothing differs but under a plain set proxy."""
    return {
        "op_db-0": {name: Found(compiles()) for name in WAYS},
        "built": {name: Found(compiles(equal=True)) for name in runs.BUILT_WAYS},
        PLAIN: {"stock": Found(compiles()), PLAIN: Found(compiles(code=["a2"]))},
    }


def claims(found: dict[str, dict[str, Found]], series: str = "2.15") -> dict[str, tuple[bool | None, str]]:
    """Return whether each claim holds, and what was seen, where an eighth of the operators was compiled."""
    told = verdicts(series, {"every": 8, **summary(found)})
    return {claim: (holds, seen) for claim, holds, seen in told}


def failing(change: Any = None, *ways: str) -> list[str]:
    """Return the claims that do not hold where ``change`` was made to what some of the ways found."""
    found = everything()
    for way in ways:
        change(found["op_db-0"][way], NAME)
    return [claim for claim, (holds, _) in claims(found).items() if not holds]


def set_to(field: str, value: Any) -> Any:
    def change(found: Found, name: str) -> None:
        found.seen[name][field] = value

    return change


def lose(found: Found, name: str) -> None:
    del found.seen[name]
    found.lost[name] = "status -11"


def test_claims_hold() -> None:
    """Where nothing differs, every claim holds."""
    assert failing() == []


@pytest.mark.parametrize(
    "change",
    [
        set_to("code", ["a2"]),
        set_to("guards", ["s0 > 2"]),
        set_to("strides", [["log", [2]]]),
        set_to("constraints", {"mirror.log.default": "require_contiguous"}),
        set_to("warnings", ["UserWarning: new"]),
        set_to("error", ["RuntimeError", "graph.py:call_function"]),
        set_to("message", "other"),
        set_to("fallbacks", []),
        lose,
    ],
)
@pytest.mark.parametrize("way", ["call_function", "graph", "set_proxy", "nothing_allowed"])
def test_a_difference_fails(change: Any, way: str) -> None:
    """A single difference in a single compile makes the claim of its way fail, and no other."""
    assert failing(change, way) == [f"`{way}`: all is as in stock"]


def test_whole_messages() -> None:
    """Where nothing is allowed, the whole message counts, unless lowering-hooks cut it."""
    other = set_to("whole_message", "m2")
    assert failing(other, "nothing_allowed") == ["`nothing_allowed`: all is as in stock"]
    assert failing(other, "call_function") == []

    def cut(found: Found, name: str) -> None:
        found.seen[name] |= {"whole_message": "m2", "is_cut": True}

    assert failing(cut, "nothing_allowed") == []


def test_only_a_field_that_stock_changes_is_left_out() -> None:
    """A field that differs between two runs of stock is compared with no other way; all others of the compile are."""
    found = everything()
    set_to("code", ["a2"])(found["op_db-0"]["stock again"], NAME)
    set_to("code", ["a3"])(found["op_db-0"]["graph"], NAME)
    assert all(holds for holds, _ in claims(found).values())
    set_to("strides", [])(found["op_db-0"]["graph"], NAME)
    told = summary(found)
    assert told["left_out"] == {NAME: ["code"]}
    assert told["ways"]["graph"]["differing"] == {NAME: ["strides"]}
    assert [claim for claim, (holds, _) in claims(found).items() if not holds] == [
        "`graph`: all is as in stock"
    ]
    assert f"- `{NAME}`: code\n" in verify.page({"2.15": data(found)})


def test_a_message_that_stock_changes_is_left_out() -> None:
    """So is a whole message, though it is compared in one way only."""
    other = set_to("whole_message", "m2")
    assert failing(other, "stock again", "nothing_allowed") == []


def test_stock_that_changes_now_and_then() -> None:
    """A part in which something differs is compiled again as stock; what differs there as well is left out."""
    found = everything()
    found["op_db-1"] = {
        name: Found({f"{name_}/1": seen for name_, seen in compiles().items()}) for name in WAYS
    }
    set_to("guards", ["s0 > 2"])(found["op_db-0"]["stock again"], NAME)
    set_to("guards", ["s0 > 3"])(found["op_db-0"]["graph"], NAME)
    assert unsettled(found) == []
    set_to("code", ["a2"])(found["op_db-0"]["graph"], NAME)
    assert unsettled(found) == ["op_db-0"]
    found["op_db-0"] |= {way: copy.deepcopy(found["op_db-0"]["stock"]) for way in runs.MORE}
    assert unsettled(found) == ["op_db-0"]
    assert [claim for claim, (holds, _) in claims(found).items() if not holds] == [
        "`graph`: all is as in stock"
    ]
    set_to("code", ["a3"])(found["op_db-0"][runs.MORE[-1]], NAME)
    assert unsettled(found) == []
    assert summary(found)["left_out"] == {NAME: ["guards", "code"]}
    assert all(holds for holds, _ in claims(found).values())


def test_what_only_a_further_run_shows_counts_as_changed_by_stock() -> None:
    """A compile in which the first two runs of stock agree and another does not is counted, and marked on the page."""
    found = everything()
    (unstable,) = [claim for claim in claims(found) if "differ between runs of stock" in claim]
    assert claims(found)[unstable][1].startswith("0 of ")
    found["op_db-0"] |= {way: copy.deepcopy(found["op_db-0"]["stock"]) for way in runs.MORE}
    set_to("code", ["a2"])(found["op_db-0"][runs.MORE[-1]], NAME)
    assert claims(found)[unstable][1].startswith("1 of ")
    marked = f"- `{NAME}`: code; the first two runs agreed, and another did not\n"
    assert marked in verify.page({"2.15": data(found)})


def test_further_runs_of_stock(tmp_path, monkeypatch) -> None:
    """They are those of the parts that are named, and what was run before is not run again."""
    ran: list[tuple[str, str]] = []

    def run(way: str, options: Any, cache: Path, stop: threading.Event) -> Found:
        ran.append((cache.name.split("-every")[0], way))
        return Found()

    monkeypatch.setattr(runs, "run", run)
    share = Share(64)
    before = runs.run_all(share, tmp_path, 1)
    assert {way for _, way in ran} == {*WAYS, PLAIN}
    ran.clear()
    found = runs.run_all(share, tmp_path, 1, more=["op_db-0"])
    assert ran == [("cache-op_db-0", way) for way in runs.MORE]
    assert list(found["op_db-0"]) == [*before["op_db-0"], *runs.MORE]


def test_too_few_graphs() -> None:
    """Fewer graphs than promised are a failure."""
    told = verdicts("2.15", {"every": 1, **summary(everything())})
    assert not next(told)[1]


# --- What is built and compared with eager ----------------------------------------------------------------------


@pytest.mark.fresh_process(beside_inductor=True)
def test_equal_to_eager() -> None:
    """Results are equal where all that is in them is; where no tensor is, nothing was compared."""
    import torch
    from results import is_equal

    x = torch.ones(2)
    assert is_equal((x, 3, None), [x + 1e-4, 3, None]) is True
    assert is_equal(x, x + 1e-2) is False
    assert is_equal((x, 3), (x, 4)) is False
    assert is_equal((x, 3), (x, 3.0)) is False
    assert is_equal((x, float("nan")), (x, float("nan"))) is True
    assert is_equal((x, x), (x,)) is False
    assert is_equal((x, None), (x, x)) is False
    # Large integers are not equal because they are close.
    assert is_equal(torch.tensor([100_000]), torch.tensor([100_001])) is False
    assert is_equal((), ()) is None
    assert is_equal(3, 3) is None


@pytest.mark.skipif(
    SERIES < (2, 2), reason="Inductor folds no constants before 2.1, and 2.1 in another module"
)
@pytest.mark.fresh_process(beside_inductor=True)
def test_memory_that_nobody_has_written() -> None:
    """Inductor folds it as zeros in all ways, since its value is another in each run; what is written stays."""
    import torch
    import torch.fx
    import worker
    from torch._inductor.constant_folding import ConstantFolder

    def empty_like(x):
        return x.clone()

    def full_like(x):
        return x.clone()

    worker._fold_no_garbage()
    folder = ConstantFolder(torch.fx.symbolic_trace(torch.nn.Identity()))
    ones = torch.ones(3)
    assert folder.call_function(empty_like, (ones,), {}).tolist() == [0, 0, 0]
    assert folder.call_function(full_like, (ones,), {}).tolist() == [1, 1, 1]
    meta = torch.ones(3, device="meta")
    assert folder.call_function(empty_like, (meta,), {}).device.type == "meta"


def test_what_counts_the_work_of_a_process() -> None:
    """A number that says how much was compiled before is left out: a process that goes on has another."""
    message = "File \"<eval_with_key>.{}\", line 5, in forward\n# AOT ID: ['{}_inference']"
    assert comparable(message.format(17, 3)) == comparable(message.format(4, 12))
    assert comparable(message.format(17, 3)) != comparable(message.format(17, 3).replace("line 5", "line 6"))


def _record(code: list[str]) -> None:
    import worker

    seen = {"code": code, "message": "", "equal": True}
    recorder = type("Recorder", (), {"strides": [], "record": lambda self, run: seen})()
    worker.Worker(worker.Options(()), recorder)._record("a/0/forward", lambda: True)


@pytest.mark.parametrize(("code", "equal"), [(["source"], True), ([], None)])
def test_eager_is_not_compared_with_eager(run_beside_inductor, code: list[str], equal: bool | None) -> None:
    """Where no code was generated, a worker does not say that the result is equal to eager's."""
    done = run_beside_inductor(_record, code)
    assert json.loads(done.stdout.splitlines()[-1])["seen"]["equal"] is equal


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"code": []}, "no graph was compiled"),
        ({"equal": None}, "no tensor was compared"),
        ({"equal": None, "code": [], "error": ["TypeError", "a.py:f"]}, "an error in stock: TypeError"),
    ],
)
def test_nothing_is_not_equal(seen: dict[str, Any], reason: str) -> None:
    """A compile that compared nothing is not equal to eager, and the page says why."""
    found = everything()
    for way in found["built"].values():
        way.seen[NAME] |= seen
    built = summary(found)["built"]
    assert (built["equal"], built["unequal"]) == (GRAPHS - 1, [])
    assert built["uncompared"] == {reason: [NAME]}
    assert f"- {reason} (1): `{NAME}`" in verify.page({"2.15": data(found)})
    for way in found["built"].values():
        for name in way.seen:
            way.seen[name] |= seen
    claim = "at least 18 samples are built and equal to eager"
    assert claims(found)[claim] == (False, f"0 of {GRAPHS}; unequal: 0; not compared: {GRAPHS}")


def test_stock_may_be_unequal_to_eager_in_few() -> None:
    """One built sample may be, or one in a hundred."""
    claim = "stock is unequal to eager in at most one built sample, or 1% of them"
    for unequal, holds in [(GRAPHS // 100, True), (GRAPHS // 100 + 1, False)]:
        found = everything()
        for way in found["built"].values():
            for name in [*way.seen][:unequal]:
                way.seen[name] |= {"equal": False}
        assert claims(found)[claim] == (holds, f"{unequal} of {GRAPHS}")


def test_a_built_compile_that_ends_its_process() -> None:
    """A compile that stock loses where it is built is neither equal nor unequal."""
    found = everything()
    lose(found["built"]["stock"], NAME)
    assert summary(found)["built"]["uncompared"] == {"its process ended: status -11": [NAME]}


def test_compiles_without_a_graph() -> None:
    """The totals of a comparison say how many compiles had no code that could have differed."""
    found = everything()
    for way in found["op_db-0"].values():
        way.seen[NAME]["code"] = []
    assert claims(found)["`graph`: all is as in stock"][1] == f"0 of {GRAPHS} differ; without a graph: 1"
    assert summary(found)["kinds"]["op_db: mirror"]["without_graph"] == 1


# --- The control ------------------------------------------------------------------------------------------------

CONTROL = "the comparison can tell: with a plain set proxy at least 10 compiles differ"


def test_what_a_plain_set_proxy_loses_does_not_differ() -> None:
    """A control that has compiled nothing shows nothing, and neither does one that has lost some."""
    found = everything()
    assert claims(found)[CONTROL] == (True, f"{GRAPHS} of {GRAPHS}, {GRAPHS} of them in their code")
    lose(found[PLAIN][PLAIN], NAME)
    assert claims(found)[CONTROL][0] is False
    assert claims(found)[CONTROL][1].endswith(f"{GRAPHS - 1} of them in their code; lost: 1")
    found[PLAIN][PLAIN] = Found()
    told = f"0 of {GRAPHS}, 0 of them in their code; not compiled: {GRAPHS}"
    assert claims(found)[CONTROL] == (False, told)


def test_a_series_without_control() -> None:
    """Where a plain set proxy has nothing to lose, the page says that there is no control."""
    assert claims(everything(), "2.0")[CONTROL] == (None, "no control on this series")


# --- What is written down ---------------------------------------------------------------------------------------


def data(found: dict[str, dict[str, Found]], every: int = 8) -> dict[str, Any]:
    """Return what is written down of ``found``."""
    where = {"date": "2026-11-28", "cpu": "none", "cores": 2, "commit": "", "processes": 1}
    return {**where, "torch": "2.15.0", "python": "3.11.7", "every": every, **summary(found)}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Have ``verify.py measure`` find what :func:`everything` returns, and write below a temporary folder."""
    monkeypatch.setattr(verify, "DATA", tmp_path / "docs")
    monkeypatch.setattr(verify, "PARTIAL", tmp_path / "build")

    def measure(every: int) -> Path:
        monkeypatch.setattr(verify, "measure", lambda *_: ("2.15", data(everything(), every)))
        monkeypatch.setattr(sys, "argv", ["verify.py", "measure", "folder", "--every", str(every)])
        verify.main()
        return tmp_path

    return measure


def test_a_part_is_no_evidence(measured, capsys) -> None:
    """A run of less than the planned share leaves the evidence as it is, and says where its own page is."""
    kept = measured(1) / "docs" / "2.15.json"
    whole = kept.read_text()
    own = measured(64) / "build" / "2.15-every-64.json"
    assert kept.read_text() == whole
    assert json.loads(own.read_text())["every"] == 64
    page = own.with_suffix(".md")
    assert "one in 64; planned: all" in page.read_text()
    assert f"wrote {own} and {page}" in capsys.readouterr().out


def test_a_relative_folder(monkeypatch, tmp_path) -> None:
    """What is compiled lies at an absolute path: generated code names it, and is compared without it."""
    folders: list[Path] = []

    def run_all(share: Share, folder: Path, processes: int) -> dict[str, dict[str, Found]]:
        folders.append(folder)
        return everything()

    monkeypatch.setattr(verify, "run_all", run_all)
    monkeypatch.chdir(tmp_path)
    series, _ = verify.measure(Path("build"), None, 1)
    assert folders == [tmp_path.resolve() / "build" / series]


# --- How the processes are run ----------------------------------------------------------------------------------


def lines(*names: str) -> list[dict[str, Any]]:
    """Return what a worker prints that compiles ``names``, and ends in the last of them."""
    done = [line for name in names[:-1] for line in ({"begun": name}, {"name": name, "seen": {}})]
    return [*done, {"begun": names[-1]}]


def test_a_trace_that_ends_its_process(monkeypatch, tmp_path) -> None:
    """A process that ends in a trace loses it, and the next goes on behind it."""
    ends = iter(
        [
            Ended(lines("a/0/forward", "a/0/trace"), -11, 1.0, 1.0, ""),
            Ended(
                [{"begun": "b/0/forward"}, {"name": "b/0/forward", "seen": {}}, {"done": True}],
                0,
                1.0,
                1.0,
                "",
            ),
        ]
    )
    given: list[dict[str, Any]] = []

    def run_worker(*args: Any, **kwargs: Any) -> Ended:
        given.append(json.loads(args[-1]))
        return next(ends)

    monkeypatch.setattr(runs, "run_worker", run_worker)
    found = runs.run("stock", {}, tmp_path, threading.Event())
    assert list(found.seen) == ["a/0/forward", "b/0/forward"]
    assert found.lost == {"a/0/trace": "status -11"}
    assert given[1]["after"] == "a/0/trace"


def _traces_that_end_their_process(after: str | None) -> None:
    import worker
    from samples import Sample

    def end(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    worker.operators = lambda database: [("op_db/a", None), ("op_db/b", None)]
    worker.samples = lambda name, *args, **kwargs: [Sample(f"{name}/float32/0", None, (None, (), {}), False)]
    worker._traced = end
    recorder = type("Recorder", (), {"strides": []})()
    options = worker.Options(("op_db",), after=after, is_built=True)
    with contextlib.suppress(SystemExit):
        worker.Worker(options, recorder).run()


def test_a_trace_is_announced(run_beside_inductor) -> None:
    """A worker says which sample it is about to trace, and one that goes on behind a trace does not trace it."""
    first, second = (f"op_db/{name}/float32/0/trace" for name in "ab")
    for after, begun in [(None, first), (first, second)]:
        done = run_beside_inductor(_traces_that_end_their_process, after)
        assert [json.loads(line) for line in done.stdout.splitlines()] == [{"begun": begun}]


# Names the parts of a made-up share, which take their time to compile unless they are stopped.
PARTS = ("fails", *(f"slow{number}" for number in range(20)))


class MadeUp(Share):
    def tasks(self) -> Any:
        return [(part, {"every": self.every}, ("stock",)) for part in PARTS]


def test_what_fails_ends_all(monkeypatch, tmp_path) -> None:
    """Where one part fails, those that run are stopped, and the others do not begin."""
    begun: list[str] = []
    stopped: list[bool] = []

    def run(way: str, options: Any, cache: Path, stop: threading.Event) -> Found:
        begun.append(cache.name)
        if "fails" in cache.name:
            raise RuntimeError("a worker ended")
        stopped.append(stop.wait(30))
        raise RuntimeError("stopped")

    monkeypatch.setattr(runs, "run", run)
    with pytest.raises(RuntimeError, match="a worker ended"):
        runs.run_all(MadeUp(), tmp_path, 2)
    # Two run at a time, and a third may have begun in the place of the one that failed.
    assert len(begun) <= 3
    assert all(stopped)


def test_a_folder_keeps_shares_apart(monkeypatch, tmp_path) -> None:
    """A part is not run again for the same share, and is for every other."""
    begun: list[Any] = []

    def run(way: str, options: Any, *args: Any) -> Found:
        begun.append((way, options["databases"], options["every"], options.get("first", 0)))
        return Found()

    monkeypatch.setattr(runs, "run", run)
    found = [runs.run_all(share, tmp_path, 1) for share in (Share(64, 1), Share(64, 1))]
    assert found[0] == found[1]
    times = len(begun)
    for share in (Share(128, 1), Share(64, 2)):
        runs.run_all(share, tmp_path, 1)
    assert times < len(begun)
    # Nothing was compiled twice: what does not depend on the share is taken from the folder.
    assert {str(each) for each in begun if each[2] == 128} > {str(("stock", ["op_db"], 128, 1))}
    assert len({str(each) for each in begun if each[1] == ["op_db"]}) == 6 * 3 + 2 + 4 * 3


@pytest.mark.parametrize(("cores", "gigabytes", "processes"), [(2, 24, 2), (16, 8, 6), (4, 1, 1)])
def test_processes_fit_the_machine(monkeypatch, cores: int, gigabytes: int, processes: int) -> None:
    """As many processes run as this process may use cores, unless they would not fit into the memory."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gigabytes * 2**30 // 4096}
    monkeypatch.setattr(verify, "cores", lambda: cores)
    monkeypatch.setattr(os, "sysconf", sizes.get)
    assert verify.processes_at_once() == processes


def test_late_is_said() -> None:
    """A compile that its deadline ended is said to be late, and one that ended its process to be lost."""
    found = everything()
    lose(found["op_db-0"]["graph"], NAME)
    assert summary(found)["ways"]["graph"]["differing"] == {NAME: ["lost"]}
    found["op_db-0"]["graph"].lost[NAME] = runs.LATE
    assert summary(found)["ways"]["graph"]["differing"] == {NAME: ["late"]}
    told = f"1 of {GRAPHS} differ, 1 of them late; without a graph: 0"
    assert claims(found)["`graph`: all is as in stock"] == (False, told)


@pytest.fixture
def script(tmp_path):
    """Write a worker, and return its path; it needs nothing of PyTorch."""

    def written(source: str) -> Path:
        path = tmp_path / "worker.py"
        path.write_text(source)
        return path

    return written


LATE_AND_DEEP = """\
import faulthandler, threading, time

def descend(depth):
    descend(depth - 1) if depth else time.sleep(60)

for _ in range(3):
    threading.Thread(target=descend, args=(90,), daemon=True).start()
faulthandler.dump_traceback_later(0.5, exit=True)
descend(90)
"""


def test_a_deadline_behind_long_stacks(script, tmp_path) -> None:
    """A process that its own deadline ended is late, however long the stacks are that it writes after saying so."""
    ended = run_worker(script(LATE_AND_DEEP), "stock", tmp_path, 60)
    assert "Timeout" not in ended.errors
    assert ended.is_late
    assert runs._ending(ended) == "late"


def test_a_status_is_no_deadline(script, tmp_path) -> None:
    """A process that ends otherwise is not late, whatever it says of a timeout."""
    ended = run_worker(script("raise SystemExit('Timeout (was set)')"), "stock", tmp_path, 60)
    assert runs._ending(ended) == "status 1"


WITH_CHILD = """\
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print('{"pid": %d}' % child.pid, flush=True)
open(sys.argv[2], "w").write(str(child.pid))
time.sleep(60)
"""


def test_stopping_ends_what_was_started(script, tmp_path) -> None:
    """Whoever stops waiting for a worker ends it, and the processes that it has started."""
    stop, told = threading.Event(), tmp_path / "pid"

    def soon() -> None:
        while not (told.exists() and told.read_text()):
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=soon, daemon=True).start()
    with pytest.raises(RuntimeError, match="was stopped"):
        run_worker(script(WITH_CHILD), "stock", tmp_path, 60, str(told), stop=stop)
    _gone(int(told.read_text()))


def test_an_interrupt_ends_what_was_started(monkeypatch, script, tmp_path) -> None:
    """So does one who is interrupted."""
    told = tmp_path / "pid"

    def sleep(seconds: float) -> None:
        if told.exists() and told.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr("compiling.time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        run_worker(script(WITH_CHILD), "stock", tmp_path, 60, str(told))
    monkeypatch.undo()
    _gone(int(told.read_text()))


TERMINATED = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from compiling import end_on_sigterm, run_worker
end_on_sigterm()
run_worker(Path(sys.argv[2]), "stock", Path(sys.argv[3]), 60, sys.argv[4])
"""


def test_sigterm_ends_what_was_started(script, tmp_path) -> None:
    """So does a session that is terminated, as by who runs it with a deadline."""
    told = tmp_path / "pid"
    worker = script(WITH_CHILD)
    session = subprocess.Popen(
        [sys.executable, "-c", TERMINATED, str(DOWNSTREAM), str(worker), str(tmp_path), str(told)],
        stderr=subprocess.PIPE,
    )
    errors = ended_by(signal.SIGTERM, session, lambda: told.exists() and told.read_text() != "")
    assert b"KeyboardInterrupt" in errors
    _gone(int(told.read_text()))


def _gone(pid: int) -> None:
    """Wait until a process is gone, or is one that only its parent, which was killed, has not asked about."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"process {pid} is still there")
