"""Others that do what real ones do, to the same places of a real Inductor: before us, after us, around us.

test_applying.py has those of whom a stand-in tells as much.
"""

from __future__ import annotations

import importlib
import sys

import pytest
from compile_one import compile_one


def standing():
    """Return what stands in the places of the call_function strategy."""
    from torch._inductor.exc import OperatorIssue
    from torch._inductor.graph import GraphLowering

    return vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]


def fallbacks():
    import lowering_hooks

    return [op.op for op in lowering_hooks.report().ops if op.fallbacks]


@pytest.mark.fresh_process(beside_inductor=True)
@pytest.mark.parametrize(
    ("strategy", "counted"),
    # Under call_function their proxy says yes, and there is no implicit fallback to count.
    [("call_function", []), ("set_proxy", ["vllm.op.default"])],
)
def test_vllms_proxy_before_us(strategy, counted) -> None:
    """It is told as a conflict, and stands as before when we go."""
    from torch._inductor import graph, lowering

    class TheirProxy(set):
        _vllm_patched = True

        def __contains__(self, name):
            return name.startswith("vllm::") or super().__contains__(name)

    theirs = lowering.FALLBACK_ALLOW_LIST = graph.FALLBACK_ALLOW_LIST = TheirProxy(
        lowering.FALLBACK_ALLOW_LIST
    )
    stock = standing()
    import lowering_hooks

    status = lowering_hooks.apply(strategy)
    assert (status.state, status.strategy) == ("active", strategy)
    assert "vLLM" in status.conflicts[0]
    compile_one("op")
    assert fallbacks() == counted
    lowering_hooks.remove()
    assert lowering.FALLBACK_ALLOW_LIST is theirs is graph.FALLBACK_ALLOW_LIST
    assert standing() == stock


@pytest.mark.fresh_process(beside_inductor=True)
def test_a_reload_hooks_once() -> None:
    """Of the package, or of all its modules anew, as a test runner does that empties sys.modules."""
    stock = standing()
    import lowering_hooks

    lowering_hooks.allow("forgotten")
    for _ in range(2):
        assert importlib.reload(lowering_hooks).status().state == "active"
        assert standing()[0].__wrapped__ is stock[0]
    compile_one("reloaded")
    assert fallbacks() == ["vllm.reloaded.default"]
    lowering_hooks.remove()
    assert standing() == stock
    lowering_hooks.apply()
    for name in [name for name in sys.modules if name.startswith("lowering_hooks")]:
        del sys.modules[name]
    import lowering_hooks

    assert lowering_hooks.status().state == "active"
    assert standing()[0].__wrapped__ is stock[0]
    compile_one("anew")
    assert fallbacks() == ["vllm.anew.default"]
    lowering_hooks.remove()
    assert standing() == stock


@pytest.mark.fresh_process(beside_inductor=True)
def test_a_reset_of_dynamo() -> None:
    """It leaves Inductor hooked."""
    import torch._dynamo

    import lowering_hooks

    compile_one("first")  # resets
    torch._dynamo.reset()
    assert lowering_hooks.status().state == "active"
    compile_one("second")
    assert fallbacks() == ["vllm.first.default", "vllm.second.default"]


def start_and_tell() -> None:
    import _lowering_hooks_autoload

    _lowering_hooks_autoload.torch_backend()
    import lowering_hooks

    assert lowering_hooks.status().state == "pending"
    print(lowering_hooks.status(), lowering_hooks.report())


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
    """Importing the package, its status and its report cause no warning and no error."""
    done = run(start_and_tell, **variables)
    assert done.stderr == ""
    assert "call_function" in done.stdout
