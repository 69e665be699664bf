"""What is applied to an Inductor that is as ever, broken, or taken by others; on a stand-in for it."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
import types
from typing import Any
from unittest import mock

import pytest
from hostile import HostileSet
from run_after import run_after
from stand_in import GRAPH, load, same, standing

from lowering_hooks.manager import Manager
from lowering_hooks.settings import Settings


@pytest.fixture
def told(caplog):
    """Return what the logger of the package was told at a level."""
    caplog.set_level(logging.INFO, "lowering_hooks")
    return lambda level: [record.getMessage() for record in caplog.records if record.levelname == level]


def lower(stand, name):
    """Lower an op in a graph of its own, and return that."""
    graph = stand.graph.GraphLowering()
    op = stand._ops.OpOverload(name)
    assert graph.call_function(op, (), {}) is op
    return graph


def fallbacks(manager):
    return [op.op for op in manager.report().ops if op.fallbacks]


# --- when ----------------------------------------------------------------------------------------------------------


def test_removed_before_inductor_loads(unloaded) -> None:
    """It stays off, until it is asked for again."""
    manager = Manager(Settings())
    manager.request()
    assert manager.remove().state == "removed"
    stand = load()
    assert not hasattr(stand.graph.GraphLowering.call_function, "__wrapped__")
    assert manager.status().state == "removed"
    assert manager.apply().state == "active"


def test_applied_in_the_middle_of_an_import(unloaded) -> None:
    """It waits for the end of the import; those that follow ask every finder, as ever."""
    manager, seen, asked = Manager(Settings()), [], []

    def in_the_middle() -> None:
        manager.request()
        seen.append((manager.status().state, hasattr(sys.modules[GRAPH], "GraphLowering")))

    class Finder:
        def find_spec(self, name, path=None, target=None):
            asked.append(name)

    importlib.import_module("torch")
    run_after("torch._inductor.lowering", in_the_middle)
    importlib.import_module(GRAPH)
    assert seen == [("pending", False)]
    sys.meta_path.insert(1, Finder())  # behind whatever is first
    fresh = next(name for name in ("wave", "mailbox", "sched", "pyclbr") if name not in sys.modules)
    importlib.import_module(fresh)
    assert fresh in asked
    stand = load()
    assert stand.graph.GraphLowering.call_function.__wrapped__
    assert manager.status().state == "active"
    lower(stand, "vllm::op")
    assert fallbacks(manager) == ["vllm.op.default"]


def test_a_torch_without_metadata(unloaded, monkeypatch) -> None:
    """A source tree tells no version before it is imported, and is waited for."""
    original = importlib.metadata.version

    def version(name):
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return original(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    manager = Manager(Settings())
    manager.request()
    status = manager.status()
    assert (status.state, status.torch_version) == ("pending", None)
    assert "will be known then" in status.reason
    load()
    assert manager.status().state == "active"


# --- which ---------------------------------------------------------------------------------------------------------


def test_strategy_none(stand, told) -> None:
    """Nothing is hooked, until another one is asked for."""
    before = standing(stand)
    manager = Manager(Settings(strategy="none"))
    status = manager.apply()
    assert (status.state, status.strategy) == ("inactive", "none")
    assert same(standing(stand), before)
    assert manager.apply("call_function").state == "active"
    assert manager.apply("none").state == "inactive"
    assert same(standing(stand), before)
    assert told("WARNING") == []


@pytest.mark.parametrize("bad", ["fast", "", None, 3])
def test_a_bad_strategy_changes_nothing(stand, bad) -> None:
    """It is named in the error."""
    manager = Manager(Settings())
    manager.apply()
    hooked = standing(stand)
    with pytest.raises(ValueError, match="auto, call_function, set_proxy, none") as raised:
        manager.apply(bad)
    assert repr(bad) in str(raised.value)
    assert manager.status().state == "active"
    assert same(standing(stand), hooked)


def test_apply_and_remove_again_and_again(stand, told) -> None:
    """They leave the very objects, and one strategy takes the place of another."""
    stock = standing(stand)
    manager = Manager(Settings())
    for number in range(3):
        for strategy in ("call_function", "set_proxy", "auto", "set_proxy", "call_function"):
            assert manager.apply(strategy).state == "active"
            hooked = standing(stand)
            assert manager.apply(strategy).state == "active"
            assert same(standing(stand), hooked), "applying twice changed something"
            expected = [strategy == "set_proxy", False, strategy != "set_proxy", strategy != "set_proxy"]
            assert [now is before for now, before in zip(hooked, stock, strict=True)] == expected, strategy
        lower(stand, f"vllm::op{number}")
        assert manager.remove().state == "removed"
        assert manager.remove().state == "removed"
        assert same(standing(stand), stock)
        lower(stand, f"vllm::unhooked{number}")
    assert fallbacks(manager) == [f"vllm.op{number}.default" for number in range(3)]
    assert told("WARNING") == []


def test_an_unverified_version(unloaded, told) -> None:
    """It is hooked by the set proxy; one WARNING says so, and how to force the other strategy."""
    torch: Any = importlib.import_module("torch")
    torch.__version__ = "2.99.0"
    manager = Manager(Settings())
    manager.request()
    status = manager.status()
    assert (status.state, status.strategy) == ("pending", "set_proxy")
    stand = load()
    status = manager.status()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    (warning,) = told("WARNING")
    assert "2.99.0" in warning
    assert "LOWERING_HOOKS_STRATEGY=call_function" in warning
    lower(stand, "vllm::op")
    (op,) = manager.report().ops
    assert (op.fallbacks, op.texts) == (1, 0)
    assert manager.apply("call_function").strategy == "call_function"
    assert len(told("WARNING")) == 1


# --- broken --------------------------------------------------------------------------------------------------------


def break_operator_str(stand) -> None:
    """Make the text no static method, as a vendor's build may have it: the call_function contract is broken."""
    stock = stand.exc.OperatorIssue.operator_str
    stand.exc.OperatorIssue.operator_str = classmethod(
        lambda cls, target, args, kwargs: stock(target, args, kwargs)
    )


def test_a_broken_contract(stand, told) -> None:
    """The set proxy takes over; the status and one WARNING keep saying why."""
    break_operator_str(stand)
    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    assert "not a static method" in status.reason
    (warning,) = told("WARNING")
    assert "not a static method" in warning
    assert manager.apply() == status, "the reason was lost"
    assert len(told("WARNING")) == 1


def test_both_contracts_broken(stand, told) -> None:
    """PyTorch runs as stock, and one WARNING says so."""
    break_operator_str(stand)
    break_allow_list(stand)
    before = standing(stand)
    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.strategy) == ("inactive", "none")
    assert "not a static method" in status.reason
    assert "different" in status.reason
    (warning,) = told("WARNING")
    assert "runs as without lowering-hooks" in warning
    assert warning.endswith(
        "; report this with what lowering-hooks status --json prints, or set LOWERING_HOOKS=0 to end this message"
    )
    assert same(standing(stand), before)
    assert lower(stand, "vllm::op").texts == ["stock text of vllm.op.default"]
    assert manager.status() == status
    assert len(told("WARNING")) == 1


def break_allow_list(stand) -> None:
    """Have the modules hold different allow lists: the set_proxy contract is broken."""
    stand.graph.FALLBACK_ALLOW_LIST = set(stand.lowering.FALLBACK_ALLOW_LIST)


@pytest.mark.parametrize("breaks", [[break_allow_list], [break_allow_list, break_operator_str]])
def test_an_unverified_version_that_is_broken(stand, told, breaks) -> None:
    """The WARNING ends with what helps: the strategy that was not tried if it can be used, else an upgrade."""
    stand.torch.__version__ = "2.99.0"
    for broken in breaks:
        broken(stand)
    manager = Manager(Settings())
    assert manager.apply().state == "inactive"
    (warning,) = told("WARNING")
    if break_operator_str in breaks:
        assert warning.endswith(
            "; upgrade lowering-hooks, which may know this PyTorch, or set LOWERING_HOOKS=0 to end this message"
        )
    else:
        assert warning.endswith(
            "; call_function can be used: ask for it with LOWERING_HOOKS_STRATEGY or apply()"
        )
        assert Manager(Settings(strategy="call_function")).apply().state == "active"
        assert len(told("WARNING")) == 1


@pytest.mark.parametrize(
    ("breaks", "asked", "other"),
    [(break_operator_str, "call_function", "set_proxy"), (break_allow_list, "set_proxy", "call_function")],
)
def test_a_forced_strategy_where_the_other_works(stand, told, breaks, asked, other) -> None:
    """The WARNING says so, and what it says works."""
    breaks(stand)
    manager = Manager(Settings(strategy=asked))
    assert manager.apply().state == "inactive"
    (warning,) = told("WARNING")
    assert warning.endswith(f"; {other} can be used: ask for it with LOWERING_HOOKS_STRATEGY or apply()")
    assert manager.apply(other).state == "active"


@pytest.mark.parametrize("settings", [Settings(off="0"), Settings(bounded_ir=False)], ids=["off", "texts"])
def test_what_ends_a_message(stand, told, settings) -> None:
    """The variables that a WARNING names end it."""
    del stand.ir.IRNode
    if settings.off:
        break_operator_str(stand)
        break_allow_list(stand)
    Manager(settings).apply()
    assert told("WARNING") == []


def test_an_internal_that_raises(stand, told) -> None:
    """Whatever looking at it raises breaks nothing."""

    class Hostile(type):
        def __getattribute__(cls, name):
            raise RuntimeError(f"no {name}")

    stand.graph.GraphLowering = Hostile("GraphLowering", (), {})
    status = Manager(Settings()).apply()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    assert len(told("WARNING")) == 1


def test_a_forced_strategy_that_is_broken(stand, told) -> None:
    """The one that stands stays."""
    manager = Manager(Settings())
    manager.apply()
    break_allow_list(stand)
    hooked = standing(stand)
    status = manager.apply("set_proxy")
    assert (status.state, status.strategy) == ("active", "call_function")
    assert same(standing(stand), hooked)
    (warning,) = told("WARNING")
    assert "stays hooked by call_function" in warning


@pytest.mark.parametrize("strategy", ["call_function", "set_proxy"])
def test_an_allow_list_that_raises(stand, told, strategy) -> None:
    """It is asked only what Inductor asks it."""
    hostile = HostileSet(stand.lowering.FALLBACK_ALLOW_LIST)
    stand.graph.FALLBACK_ALLOW_LIST = stand.lowering.FALLBACK_ALLOW_LIST = hostile
    manager = Manager(Settings())
    status = manager.apply(strategy)
    assert (status.state, status.strategy) == ("active", strategy)
    lower(stand, "vllm::op")
    lower(stand, "lib::listed")
    assert [op.fallbacks for op in manager.report().ops] == [1]
    assert told("WARNING") == []


def test_an_inductor_without_ir_classes(stand, told) -> None:
    """Their texts cannot be bounded, which is said when it was asked for; all else is as ever."""
    del stand.ir.IRNode
    manager = Manager(Settings())
    manager.apply()
    status = manager.bounded_ir(True)
    assert status.bounded_ir is False
    assert status.reason.endswith("cannot be bounded: torch._inductor.ir defines no class IRNode")
    assert status.state == "active"
    # Once when it was applied, and once when it was asked for again.
    assert len(told("WARNING")) == 2
    assert {text.partition(":")[0] for text in told("WARNING")} == {
        "lowering-hooks bounds no texts of IR nodes"
    }
    ends = "; LOWERING_HOOKS_BOUNDED_IR=off ends this message"
    assert all(text.endswith(ends) for text in told("WARNING"))
    assert lower(stand, "vllm::op").texts == ["  target: vllm.op.default"]


# --- taken by others -----------------------------------------------------------------------------------------------


def test_displaced(stand) -> None:
    """The status says by whom, and apply() hooks what stands now."""
    manager = Manager(Settings())
    stock, stock_str = standing(stand)[:2]
    manager.apply()
    plugin = types.ModuleType("their_plugin")
    vars(plugin)["stock"] = stock
    exec(
        "def call_function(self, target, args, kwargs):\n    return stock(self, target, args, kwargs)",
        vars(plugin),
    )
    stand.graph.GraphLowering.call_function = plugin.call_function
    status = manager.status()
    assert (status.state, status.strategy) == ("displaced", "call_function")
    assert "their_plugin.call_function" in status.reason
    lower(stand, "vllm::unseen")
    assert fallbacks(manager) == []
    assert manager.apply().state == "active"
    assert stand.graph.GraphLowering.call_function.__wrapped__ is plugin.call_function
    lower(stand, "vllm::seen")
    assert fallbacks(manager) == ["vllm.seen.default"]
    manager.remove()
    assert standing(stand)[:2] == (plugin.call_function, stock_str)


def test_displaced_and_hooked_later(stand) -> None:
    """Of a text that others have put in anew meanwhile, the very object is put back."""
    manager = Manager(Settings())
    stock, stock_str = standing(stand)[:2]
    manager.apply()
    stand.graph.GraphLowering.call_function = stock
    stand.exc.OperatorIssue.operator_str = static = staticmethod(stock_str.__func__)
    manager.apply()

    def theirs(self, target, args, kwargs):
        return stock(self, target, args, kwargs)

    stand.graph.GraphLowering.call_function = theirs
    manager.apply()
    manager.remove()
    assert standing(stand)[:2] == (theirs, static)


def test_wrapped_after_us(stand) -> None:
    """A wrapper around ours displaces nothing, is told as a conflict, and stays when we go."""
    manager = Manager(Settings())
    stock_str = standing(stand)[1]
    manager.apply()
    ours, calls = stand.graph.GraphLowering.call_function, []

    def theirs(self, target, args, kwargs):
        calls.append(target)
        return ours(self, target, args, kwargs)

    stand.graph.GraphLowering.call_function = theirs
    lower(stand, "vllm::first")
    status = manager.status()
    assert status.state == "active"
    assert status.conflicts[0].startswith(f"{__name__}.")
    assert "wrapped GraphLowering.call_function after lowering-hooks did" in status.conflicts[0]
    manager.remove()
    assert standing(stand)[:2] == (theirs, stock_str)
    lower(stand, "vllm::second")
    assert len(calls) == 2
    assert fallbacks(manager) == ["vllm.first.default"]


def test_vllms_proxy_after_us(stand) -> None:
    """It is told as a conflict with what it means, and left alone."""

    class TheirProxy:
        _vllm_patched = True

        def __init__(self, inner):
            self.inner = inner

        def __contains__(self, name):
            return name.startswith("vllm::") or name in self.inner

    manager = Manager(Settings())
    assert manager.apply().conflicts == ()
    theirs = TheirProxy(stand.lowering.FALLBACK_ALLOW_LIST)
    stand.lowering.FALLBACK_ALLOW_LIST = stand.graph.FALLBACK_ALLOW_LIST = theirs
    status = manager.status()
    assert status.state == "active"
    (conflict,) = status.conflicts
    assert "vLLM" in conflict
    assert "no stride guarantee" in conflict
    assert lower(stand, "vllm::op").branches == ["allow list"]
    assert manager.report().ops == (), "not an implicit fallback"
    manager.apply()
    manager.remove()
    assert standing(stand)[2:] == (theirs, theirs)
    manager.apply("set_proxy")
    assert "vLLM" in manager.status().conflicts[0]


def test_a_mock_around_ours(stand) -> None:
    """It displaces us for its block, or not where it calls ours; then ours stands as before."""
    manager = Manager(Settings())
    stock = standing(stand)
    manager.apply()
    hooked, graph_class = standing(stand), stand.graph.GraphLowering
    with mock.patch.object(graph_class, "call_function", autospec=True):
        assert manager.status().state == "displaced"
    assert same(standing(stand), hooked)
    assert manager.status().state == "active"
    with mock.patch.object(graph_class, "call_function", autospec=True, side_effect=hooked[0]) as mocked:
        lower(stand, "vllm::mocked")
    assert mocked.called
    assert fallbacks(manager) == ["vllm.mocked.default"]
    manager.remove()
    assert same(standing(stand), stock)
