"""No hang: sixty layers end, whatever is logged and whatever fails."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from installed import DEMO_IS_EQUAL, SERIES

from lowering_hooks.cli.compile_process import CUSTOM_OP, OURS, WORKER, WORKER_FOLDER, Spec

TESTS = Path(__file__).parent
LAYERS = 60


def compile_deep(run, **what):
    """Compile the demo's decoder in a fresh process, which is killed at the tests' deadline."""
    done = run(WORKER, json.dumps(asdict(Spec(OURS, LAYERS, shallow=2, **what))))
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {event["case"]: event for event in events if event["event"] == "end"}["deep"]


@pytest.mark.parametrize(
    ("strategy", "info"), [("call_function", False), ("call_function", True), ("set_proxy", True)]
)
def test_sixty_layers(run, strategy: str, info: bool) -> None:
    """A model of sixty layers compiles, and equals eager wherever stock's result does."""
    deep = compile_deep(lambda *args: run(*args, LOWERING_HOOKS_STRATEGY=strategy), info=info)
    assert deep["error"] == "", deep["message"]
    assert deep["equal"] is DEMO_IS_EQUAL
    assert deep["code"]
    if strategy == "call_function" and info:
        assert 0 < deep["characters"] < 4 * 4000  # four ops, each described once
    else:
        assert deep["characters"] == 0


def test_an_error_behind_sixty_layers(run) -> None:
    """The message of an error behind sixty layers is short, and names its cause."""
    deep = compile_deep(run, failing=CUSTOM_OP)
    assert deep["cause"] is True
    assert 0 < deep["characters"] < 8000


def test_a_chain(run, record) -> None:
    """Ten layers of a chain compile as in stock, which survives no more on every series, and sixty end."""

    def compiled(mode: str, layers: int):
        done = run(TESTS / "chain_worker.py", mode, str(layers), str(WORKER_FOLDER))
        return json.loads(done.stdout.splitlines()[-1])

    stock, hooked, deep = compiled("stock", 10), compiled("hooked", 10), compiled("hooked", LAYERS)
    at_debug = compiled("auto", LAYERS)
    record(
        "depth",
        {
            "stock_10_seconds": stock["seconds"],
            "stock_10_characters": stock["characters"],
            "hooked_10_seconds": hooked["seconds"],
            "hooked_10_characters": hooked["characters"],
            "hooked_60_seconds": deep["seconds"],
        },
    )
    assert stock["code"]
    assert hooked["code"] == stock["code"]
    assert stock["equal"] is hooked["equal"] is deep["equal"] is True
    assert stock["characters"] > 100_000
    assert 0 < hooked["characters"] < 3 * 4000  # three ops, each described once
    assert 0 < deep["characters"] < 3 * 4000
    assert at_debug["code"] == deep["code"]
    assert at_debug["all_characters"] < 10_000_000
    # At DEBUG Inductor writes every node at least once; 2.0.1 does not, 2.4.1 does.
    assert at_debug["all_characters"] > 100_000 or SERIES < (2, 4)
