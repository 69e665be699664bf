"""Runs the workers: every slice of the databases in every way, each in a process of its own."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compiling import Ended, run_worker

WORKER: Final = Path(__file__).with_name("worker.py")
SMALL_DATABASES: Final = ("custom_op_db", "autograd_function_db", "hop_db")
# All of `op_db` is compiled in so many slices: what has compiled more holds more memory.
SLICES: Final = 8
# The small databases are compiled whole unless fewer than one operator of `op_db` in so many is.
SMALL_FROM: Final = 32
# A sample of every third operator that is compiled is built, run and compared with eager, too.
BUILT_EVERY: Final = 3
# Floating-point results may differ from eager's by so much, absolute and relative; all others not at all.
TOLERANCE: Final = 1e-3
# Every how many operators of `op_db` one is compiled with a plain set proxy.
PLAIN_EVERY: Final = 60
# Name parts: what is compiled of the small databases, and what is built, too.
SMALL, BUILT = "small", "built"
# Maps each way to its mode of `compiling.MODES`.
WAYS: Final = {
    "stock": "stock",
    "stock again": "stock",
    "call_function": "call_function",
    "graph": "graph",
    "set_proxy": "set_proxy",
    "nothing_allowed": "nothing_allowed",
}
# Names further runs of stock, of the parts in which another way differs from the first two.
MORE: Final = tuple(f"stock again, {number}" for number in (2, 3, 4))
# Names the ways of the parts that are built: a compiler takes seconds.
BUILT_WAYS: Final = ("stock", "call_function", "set_proxy", "nothing_allowed")
# Names the way that shows what a difference looks like: stock with an allow list that says yes and no more.
PLAIN: Final = "plain set proxy"

# A compile that takes longer than these seconds ends its process; one that is built may take longer.
COMPILE_DEADLINE: Final = 180.0
BUILT_DEADLINE: Final = 600.0
# Says how a compile is lost that took longer than that.
LATE: Final = "late"
# A worker that takes longer than these seconds is ended.
DEADLINE: Final = 7200.0
# So many compiles of one worker may end their process.
RESTARTS: Final = 60


@dataclass
class Found:
    """What a worker, and those that went on where it ended, printed.

    Attributes:
        seen: What was seen of each compile, by its name.
        lost: How a process ended, by the name of the compile, or of the trace, that ended it.
        missing: What has no samples here, and why.
        seconds: How long the processes ran.
        peak_mib: The most memory that one of them held.
    """

    seen: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    peak_mib: float = 0.0


def run(way: str, options: Mapping[str, Any], cache: Path, stop: threading.Event) -> Found:
    """Compile what ``options`` says in one way; a compile that ends its process is lost, and no other.

    Raises:
        RuntimeError: A process ended before its first compile, or too many did, or ``stop`` was set.
    """
    found = Found()
    mode = WAYS.get(way, "stock")
    going_on: dict[str, Any] = {}
    for _ in range(RESTARTS):
        given = {**options, **going_on, "is_plain": way == PLAIN}
        ended = run_worker(WORKER, mode, cache, DEADLINE, json.dumps(given), stop=stop)
        found.seconds += ended.seconds
        found.peak_mib = max(found.peak_mib, ended.peak_mib)
        begun = None
        for line in ended.lines:
            if "missing" in line:
                found.missing[line["missing"]] = line["reason"]
            elif "begun" in line:
                begun = line["begun"]
            elif "name" in line:
                found.seen[line["name"]] = line["seen"]
        if ended.lines[-1:] == [{"done": True}]:
            return found
        if begun is None or begun in found.seen or ended.status is None:
            raise RuntimeError(f"{way}: a worker ended with {ended.status}:\n{ended.errors}")
        found.lost[begun] = _ending(ended)
        going_on = {"after": begun}
    raise RuntimeError(f"{way}: {RESTARTS} compiles ended their processes: {list(found.lost)}")


def _ending(ended: Ended) -> str:
    return LATE if ended.is_late else f"status {ended.status}"


@dataclass(frozen=True)
class Share:
    """How much of the databases is compiled.

    Attributes:
        every: Every how many operators of `op_db` one is taken.
        first: The number of the first.
    """

    every: int = 1
    first: int = 0

    def tasks(self) -> Iterable[tuple[str, dict[str, Any], tuple[str, ...]]]:
        """Return the name of each part, the options of its workers, and the ways it is compiled in."""
        slices = -(-SLICES // self.every)
        for number in range(slices):
            options = {"every": self.every * slices, "first": self.first + self.every * number}
            yield f"op_db-{number}", {"databases": ["op_db"], **options}, tuple(WAYS)
        small = {"databases": list(SMALL_DATABASES), "every": max(1, self.every // SMALL_FROM)}
        yield SMALL, small, tuple(WAYS)
        plain = {"databases": ["op_db"], "every": PLAIN_EVERY}
        yield PLAIN, plain, ("stock", PLAIN)
        built = {"is_built": True, "deadline": BUILT_DEADLINE}
        yield f"{SMALL} {BUILT}", {**small, **built}, BUILT_WAYS
        thinner = {"every": BUILT_EVERY * self.every, "first": self.first}
        yield BUILT, {"databases": ["op_db"], **thinner, **built}, BUILT_WAYS


def run_all(
    share: Share, folder: Path, processes: int, *, more: Collection[str] = ()
) -> dict[str, dict[str, Found]]:
    """Run every part in every way, and return what was found by the names of both.

    The parts that ``more`` names are run in the ways of :data:`MORE`, too.

    What a part found is kept in ``folder``, and a part that is there is not run again.  What fails, or interrupts this
    call, ends all parts that run, and no other begins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()

    def one(part: str, options: dict[str, Any], way: str) -> Found:
        file = folder / f"{_stem(part, options, way)}.json"
        if file.exists():
            return Found(**json.loads(file.read_text()))
        # The ways share what the compiler has built of the same source.
        cache = folder / ("cache-built" if options.get("is_built") else f"cache-{file.stem}")
        begun = time.monotonic()
        done = run(way, options, cache, stop)
        print(f"{part}, {way}: {len(done.seen)} compiles, {time.monotonic() - begun:.0f} s", flush=True)
        file.write_text(json.dumps(asdict(done)))
        if not options.get("is_built"):
            shutil.rmtree(cache, ignore_errors=True)
        return done

    found: dict[str, dict[str, Found]] = {}
    with ThreadPoolExecutor(processes) as pool:
        futures = {
            (part, way): pool.submit(one, part, options, way)
            for part, options, ways in share.tasks()
            for way in (*ways, *(MORE if part in more else ()))
        }
        try:
            failed = [
                each for each in wait(futures.values(), return_when=FIRST_EXCEPTION).done if each.exception()
            ]
            for future in failed:
                future.result()
        except BaseException:
            # In this order: a part that is stopped makes room for the next.
            pool.shutdown(wait=False, cancel_futures=True)
            stop.set()
            raise
        for (part, way), future in futures.items():
            found.setdefault(part, {})[way] = future.result()
    shutil.rmtree(folder / "cache-built", ignore_errors=True)
    return found


def _stem(part: str, options: Mapping[str, Any], way: str) -> str:
    """Return the name of the file of a part: the part of another share has another name."""
    return f"{part}-every-{options['every']}-from-{options.get('first', 0)}-{way}".replace(" ", "_")
