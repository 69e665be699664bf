"""No lock of ours is waited for by the thread that holds it, and none is held while somebody else's code runs."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

import lowering_hooks
from lowering_hooks import records
from lowering_hooks.inductor.site import NOWHERE
from lowering_hooks.namespaces import Namespaces
from lowering_hooks.records import Records

PACKAGE = Path(lowering_hooks.__file__).parent


@pytest.mark.fresh_process(deadline=60)
@pytest.mark.parametrize("how", ["by_signal", "by_finalizer", "by_logging", "by_repr"])
def test_whoever_comes_back_is_answered(how) -> None:
    """Each public call, from within each, again and again; and the last one asked for is what stands."""
    import reentry

    reentry.come_back_for(4, getattr(reentry, how))


def test_these_are_all_the_locks() -> None:
    """Whoever adds one adds a test of who may come back while it is held."""
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\b(Lock|RLock|Condition|Semaphore|Event|Barrier)\(", line)
    }
    assert found == {
        "manager.py: self._lock = threading.RLock()",
        "records.py: self._adding_up = threading.Lock()",
    }


def test_nobody_waits_for_the_records(monkeypatch) -> None:
    """It is only ever tried: while another holds it, entries pile up and are counted all the same."""
    monkeypatch.setattr(records, "_MAX_EVENTS", 10)
    found = Records()
    with found._adding_up:
        for _ in range(100):
            found.described("lib.op.default", NOWHERE, 1.0, 5, shown=True)
        assert found.report().ops[0].texts == 100
    found.described("lib.op.default", NOWHERE, 1.0, 5, shown=True)
    assert found.report().ops[0].texts == 101
    assert len(found._events) == 1


def test_records_of_many_threads(monkeypatch) -> None:
    """All are counted, also while some thread adds them up."""
    monkeypatch.setattr(records, "_MAX_EVENTS", 50)
    found = Records()

    def work(number: int) -> None:
        for i in range(2000):
            found.described(f"lib.op{i % 3}.default", NOWHERE, 1.0, 5, shown=number == 3)
            found.fell_back("lib.other.default")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = {op.op: (op.texts, op.fallbacks) for op in found.report().ops}
    assert sum(texts for texts, _ in counted.values()) == 16_000
    assert counted["lib.other.default"] == (0, 16_000)
    assert len(found._events) < 16_000


def test_records_of_an_op_are_added_up() -> None:
    """Seconds, characters, and whether any text was shown; the first place is the one that is told."""
    found = Records()
    found.described("lib.op.default", NOWHERE._replace(node="first"), 1.5, 3, shown=False)
    found.fell_back("lib.op.default", NOWHERE._replace(node="second"))
    found.described("lib.op.default", NOWHERE, 2.0, 4, shown=True)
    found.described("lib.op.default", NOWHERE, 0.5, 0, shown=False)
    (op,) = found.report().ops
    assert op == records.OpReport("lib.op.default", "", "first", 1, 3, 4.0, True, 7)


def test_a_reset_while_records_are_added_up(monkeypatch) -> None:
    """Whoever adds up at that moment works on a list that is nobody's any more."""
    monkeypatch.setattr(records, "_MAX_EVENTS", 3)
    found = Records()
    add_up = records._added_up

    def reset_meanwhile(events):
        found.reset()
        return add_up(events)

    monkeypatch.setattr(records, "_added_up", reset_meanwhile)
    for _ in range(3):
        found.fell_back("lib.op.default")
    monkeypatch.undo()
    assert found.report().ops == ()


def test_changes_of_namespaces_at_once() -> None:
    """Two threads that allow at once both have their way."""
    namespaces = Namespaces(frozenset())

    def work(number: int) -> None:
        for i in range(500):
            namespaces.allow([f"lib{number}_{i}"])
            namespaces.disallow([f"lib{number}_{i - 1}"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert namespaces.current() == {f"lib{number}_499" for number in range(8)}


def test_a_name_with_code_of_its_own() -> None:
    """It is taken as text: a subclass of str may hash and compare as it likes, and come back in the middle."""

    class Name(str):
        def __hash__(self) -> int:
            raise RuntimeError("hash")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("eq")

    namespaces = Namespaces(frozenset())
    (name,) = namespaces.allow([Name("mylib")])
    assert type(name) is str
    assert namespaces.allows("mylib")
    assert namespaces.disallow([Name("mylib")]) == frozenset()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.fresh_process
def test_a_forked_process_waits_for_no_lock() -> None:
    """A thread that is not there any more may have held it."""
    manager = lowering_hooks._manager
    manager.records.fell_back("lib.parents.default")
    held, done = threading.Event(), threading.Event()

    def hold():
        with manager._lock, manager.records._adding_up:
            manager._settling = True
            held.set()
            done.wait()
            manager._settling = False

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        manager.records.fell_back("lib.op.default")
        assert lowering_hooks.allow("mylib") > {"mylib"}
        assert lowering_hooks.remove().state == "removed"
        assert lowering_hooks.apply().state in ("pending", "inactive")
        assert [op.op for op in lowering_hooks.report().ops] == ["lib.op.default"]
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    done.set()
    holder.join()
    assert status == 0
