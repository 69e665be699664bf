"""The process that compiles the demo's decoder, run to its end: the demo itself ends it once it has told all."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict

import pytest
from installed import DEMO_IS_EQUAL, RELEASE

from lowering_hooks.cli.compile_process import (
    ATEN_OP,
    IDEAL,
    NOTHING,
    OURS,
    PLAIN_SET_PROXY,
    WORKER,
    WORKER_FOLDER,
    Ended,
    Spec,
)


@pytest.mark.parametrize(
    ("variant", "failing"), [(PLAIN_SET_PROXY, NOTHING), (IDEAL, NOTHING), (OURS, ATEN_OP)]
)
def test_what_it_tells(run, variant: str, failing: str) -> None:
    """It compiles both models as asked for, and tells what came of each."""
    done = run(WORKER, json.dumps(asdict(Spec(variant, layers=2, shallow=1, info=True, failing=failing))))
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    events = [(message.pop("event"), message.pop("case", "")) for message in told]
    both = [(event, case) for case in ("shallow", "deep") for event in ("begin", "end")]
    assert events == [("start", ""), *both]
    assert bool(told[0]["status"]) is (variant == OURS)
    for ended in (Ended(**told[2]), Ended(**told[4])):
        assert ended.seconds > 0
        assert ended.cause is bool(ended.error) is bool(failing), ended.message
        assert bool(ended.code) is not bool(failing)
        if not failing:
            lost = variant == PLAIN_SET_PROXY and RELEASE.layout_constraint.startswith("tag or")
            assert ended.equal is (DEMO_IS_EQUAL and not lost)
            # The plain set proxy has nothing logged, and the ideal one only the words around no text.
            assert ended.characters < 4 * 100


def test_a_system_that_does_not_tell_the_memory(monkeypatch) -> None:
    """There is no peak then."""
    monkeypatch.syspath_prepend(str(WORKER_FOLDER))
    compiling = importlib.import_module("demo_compiling")
    assert compiling.peak_mib() > 1
    monkeypatch.setitem(sys.modules, "resource", None)
    assert compiling.peak_mib() is None
