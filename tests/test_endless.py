"""Nothing set but the install, and what does not end in stock ends: whoever's op it is and whoever asks."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from installed import SERIES

LAYERS = 60
ERRORS = ["failing", "failing_aten", "with_ir", "asserting", "in_cond", "in_cond_of_cond"]
LATE_ATEN = "aten._upsample_bilinear2d_aa.default"


@pytest.fixture(scope="module")
def cases(run):
    @functools.cache
    def compiled(strategy: str, namespaces: str = ""):
        done = run(
            Path(__file__).parent / "endless_worker.py",
            str(LAYERS),
            LOWERING_HOOKS_STRATEGY=strategy,
            LOWERING_HOOKS_NAMESPACES=namespaces,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["status"]["strategy"] == (strategy if strategy != "auto" else "call_function")
        assert found["status"]["bounded_ir"] == "auto"
        return found["cases"]

    return compiled


@pytest.mark.parametrize("strategy", ["auto", "set_proxy", "none"])
@pytest.mark.parametrize("case", ERRORS)
def test_the_error_comes_and_keeps_its_cause(cases, strategy, case) -> None:
    """Behind sixty layers of ops that nobody allowed."""
    found = cases(strategy)
    if case not in found:
        assert SERIES < (2, 4), "torch.cond has a lowering here"
        pytest.skip("there is no lowering of torch.cond")
    message = found[case]["message"]
    assert "boom in lowering" in message
    assert len(message) < 50_000
    assert message.count("lowering-hooks cut this text") >= 1
    assert "LOWERING_HOOKS_BOUNDED_IR=off" in message


@pytest.mark.parametrize("strategy", ["auto", "set_proxy", "none"])
@pytest.mark.parametrize("case", ["late", "late_aten"])
def test_an_op_that_nobody_allowed_compiles(cases, strategy, case) -> None:
    """A model with an op that nobody allowed compiles, and equals eager."""
    found = cases(strategy)[case]
    assert found["message"] == ""
    assert found["equal"] is True


@pytest.mark.parametrize("strategy", ["auto", "set_proxy"])
def test_not_allowed_in_the_report(cases, strategy) -> None:
    """The report names the op, the call that allows it, and whether its text was cut."""
    found = cases(strategy)
    late, aten = found["late"], found["late_aten"]
    assert late["ops"]["endless.late.default"]["fallbacks"] == 1
    assert late["ops"]["endless.late.default"]["node"].startswith("late")
    assert late["not_allowed"] == ["endless"]
    assert "lowering_hooks.allow('endless')" in late["report"]
    assert aten["not_allowed"] == ["aten"]
    assert aten["ops"][LATE_ATEN]["fallbacks"] == 1
    if SERIES < (2, 13):  # later ones build the text of the log line only where it is read
        for report, op in ((late, "endless.late.default"), (aten, LATE_ATEN)):
            assert report["ops"][op]["cut"] == 1
            assert report["ops"][op]["stock_characters"] > 1_000_000
            assert report["ops"][op]["shown"] is False


@pytest.mark.parametrize("strategy", ["auto", "set_proxy"])
def test_a_cut_in_the_report(cases, strategy) -> None:
    """The report names the target whose text was cut."""
    found = cases(strategy)
    expected = {
        "failing": "endless.failing.default",
        "failing_aten": "aten.lgamma.default",
        "with_ir": "endless.with_ir.default",
        "in_cond": "cond",
    }
    for case, target in expected.items():
        if case in found:
            op = found[case]["ops"][target]
            assert op["cut"] >= 1
            assert op["shown"] is True
            assert op["stock_characters"] > 1_000_000


@pytest.mark.parametrize("strategy", ["auto", "set_proxy"])
def test_an_error_of_an_allowed_op_is_short(cases, strategy) -> None:
    """Also under set_proxy, and in nobody's case but that of IR in the message a text was cut for it."""
    found = cases(strategy, "endless")
    message = found["failing"]["message"]
    assert "boom in lowering" in message
    assert "  target: endless.failing.default\n  args[0]: buf" in message
    assert "lowering-hooks cut" not in message
    assert len(message) < 4000
    assert found["late"]["ops"]["endless.late.default"]["cut"] == 0
    assert found["late"]["not_allowed"] == []
