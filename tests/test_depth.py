"""No hang: sixty layers end, whatever is logged and whatever fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lowering_hooks

PACKAGE = Path(lowering_hooks.__file__).parent
LAYERS = 60


def compile_deep(run, **spec):
    """Compile the demo's decoder in a fresh process, killed at the tests' deadline."""
    spec = {
        "variant": "lowering-hooks",
        "info": False,
        "failing": False,
        "shallow": 2,
        "layers": LAYERS,
    } | spec
    done = run(PACKAGE / "demo_worker.py", json.dumps(spec))
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {event["case"]: event for event in events if event["event"] == "end"}["deep"]


@pytest.mark.parametrize("info", [False, True], ids=["INFO off", "INFO on"])
@pytest.mark.parametrize("strategy", ["call_function", "set_proxy"])
def test_sixty_layers_end_equal_to_eager(run, monkeypatch, strategy: str, info: bool) -> None:
    deep = compile_deep(lambda *args: run(*args, LOWERING_HOOKS_STRATEGY=strategy), info=info)
    assert deep["error"] == "", deep["message"]
    assert deep["equal"] is True
    assert deep["code"]
    if strategy == "call_function" and info:
        assert 0 < deep["characters"] < 4 * 4000  # four ops, each described once
    else:
        assert deep["characters"] == 0


def test_an_error_behind_sixty_layers_is_short_and_names_its_cause(run) -> None:
    deep = compile_deep(run, failing=True)
    assert deep["cause"] is True
    assert 0 < deep["characters"] < 8000
