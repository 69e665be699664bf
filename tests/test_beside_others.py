"""Others that do what real ones do, to the same places of a real Inductor: before us, after us, around us."""

from __future__ import annotations

import pytest
from snippets import COMPILE_ONE

COMPILE = (
    COMPILE_ONE
    + """
import torch._inductor.compile_fx
from torch._inductor import graph, lowering
from torch._inductor.exc import OperatorIssue
from torch._inductor.graph import GraphLowering
stock = vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]
def standing():
    return vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]
def fallbacks():
    return [op.op for op in lowering_hooks.report().ops if op.fallbacks]
"""
)


def test_a_wrapper_around_ours_stays_when_we_go(run_beside_inductor) -> None:
    run_beside_inductor(
        COMPILE
        + """
import lowering_hooks
ours, calls = GraphLowering.call_function, []
def theirs(self, target, args, kwargs):
    calls.append(target)
    return ours(self, target, args, kwargs)
GraphLowering.call_function = theirs
compile_one("first")
assert calls and fallbacks() == ["vllm.first.default"]
status = lowering_hooks.status()
assert status.state == "active", status
assert "__main__.theirs wrapped GraphLowering.call_function after" in status.conflicts[0], status
lowering_hooks.remove()
assert standing() == (theirs, stock[1])
calls.clear()
compile_one("second")
assert calls and fallbacks() == ["vllm.first.default"]
"""
    )


@pytest.mark.parametrize(
    ("strategy", "counted"),
    # Under call_function their proxy says yes, and there is no implicit fallback to count.
    [("call_function", []), ("set_proxy", ["vllm.op.default"])],
)
def test_a_proxy_that_vllm_installed_before_us_is_left_alone(run_beside_inductor, strategy, counted) -> None:
    run_beside_inductor(
        COMPILE
        + f"""
class TheirProxy(set):
    _vllm_patched = True
    def __contains__(self, name):
        return name.startswith("vllm::") or super().__contains__(name)
theirs = lowering.FALLBACK_ALLOW_LIST = graph.FALLBACK_ALLOW_LIST = TheirProxy(lowering.FALLBACK_ALLOW_LIST)
import lowering_hooks
status = lowering_hooks.apply({strategy!r})
assert (status.state, status.strategy) == ("active", {strategy!r}), status
assert "vLLM" in status.conflicts[0], status
compile_one("op")
assert fallbacks() == {counted!r}
lowering_hooks.remove()
assert lowering.FALLBACK_ALLOW_LIST is theirs is graph.FALLBACK_ALLOW_LIST
assert standing() == stock
"""
    )


def test_a_mock_around_ours_leaves_ours(run_beside_inductor) -> None:
    run_beside_inductor(
        COMPILE
        + """
from unittest import mock
import lowering_hooks
hooked = standing()
with mock.patch.object(GraphLowering, "call_function", autospec=True) as mocked:
    assert lowering_hooks.status().state == "displaced"
assert standing() == hooked
assert lowering_hooks.status().state == "active"
with mock.patch.object(GraphLowering, "call_function", autospec=True, side_effect=hooked[0]) as mocked:
    compile_one("mocked")
    assert mocked.called and fallbacks() == ["vllm.mocked.default"]
lowering_hooks.remove()
assert standing() == stock
"""
    )


def test_a_reload_of_the_package_hooks_once(run_beside_inductor) -> None:
    run_beside_inductor(
        COMPILE
        + """
import importlib, sys
import lowering_hooks
lowering_hooks.allow("forgotten")
for _ in range(2):
    assert importlib.reload(lowering_hooks).status().state == "active"
    assert GraphLowering.call_function.__wrapped__ is stock[0]
compile_one("reloaded")
assert fallbacks() == ["vllm.reloaded.default"]
lowering_hooks.remove()
assert standing() == stock
# All of it anew, as a test runner does that empties sys.modules.
lowering_hooks.apply()
for name in [name for name in sys.modules if name.startswith("lowering_hooks")]:
    del sys.modules[name]
import lowering_hooks
assert GraphLowering.call_function.__wrapped__ is stock[0]
compile_one("anew")
assert fallbacks() == ["vllm.anew.default"]
lowering_hooks.remove()
assert standing() == stock
"""
    )


def test_a_reset_of_dynamo_leaves_it_hooked(run_beside_inductor) -> None:
    run_beside_inductor(
        COMPILE
        + """
import lowering_hooks
compile_one("first")  # resets
torch._dynamo.reset()
assert lowering_hooks.status().state == "active"
compile_one("second")
assert fallbacks() == ["vllm.first.default", "vllm.second.default"]
"""
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONDEVMODE": "1"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_however_python_was_started(run, variables) -> None:
    done = run(
        """
        import importlib
        import _lowering_hooks_autoload
        _lowering_hooks_autoload.torch_backend()
        import lowering_hooks
        if lowering_hooks.status().state != "pending":
            raise SystemExit(str(lowering_hooks.status()))
        print(lowering_hooks.status(), lowering_hooks.report())
        """,
        **variables,
    )
    assert done.stderr == ""
    assert "call_function" in done.stdout
