"""What is applied to an Inductor that is as ever, broken, or taken by others; on a stand-in for it."""

from __future__ import annotations

import contextlib
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
from stand_in import GRAPH, load, purge, same, standing

import _lowering_hooks_autoload
import lowering_hooks
from lowering_hooks import manager as manager_module
from lowering_hooks import standing as standing_module
from lowering_hooks.inductor.loading import LoadingFinder
from lowering_hooks.manager import Manager
from lowering_hooks.settings import Settings
from lowering_hooks.telling import tell_later, tell_the_rest

REPORT_IT = (
    "report this with what lowering-hooks status --json prints, or set LOWERING_HOOKS=0 to end this message"
)
INSTALL_IT = "install lowering-hooks again with what it needs, or set LOWERING_HOOKS=0 to end this message"


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


def is_hooked(stand) -> bool:
    """Whether call_function is, without asking the manager, which would hook it then."""
    return hasattr(vars(stand.graph.GraphLowering)["call_function"], "__wrapped__")


def bounds_texts(stand) -> bool:
    return hasattr(vars(stand.ir.IRNode)["__str__"], "__wrapped__")


def test_requested_while_inductor_is_loaded(stand) -> None:
    """It is hooked at once, before anybody asks for the status."""
    Manager(Settings(bounded_ir=False)).request()
    assert (is_hooked(stand), bounds_texts(stand)) == (True, False)


def test_a_strategy_alone(unloaded) -> None:
    """It is hooked by Inductor's import."""
    manager = Manager(Settings(bounded_ir=False))
    manager.request()
    stand = load()
    assert (is_hooked(stand), bounds_texts(stand)) == (True, False)
    assert manager.status().state == "active"


def test_texts_alone(unloaded) -> None:
    """They are bounded by Inductor's import."""
    manager = Manager(Settings(strategy="none", bounded_ir=False))
    manager.request()
    assert manager.bounded_ir(True).bounded_ir == "pending"
    stand = load()
    assert (is_hooked(stand), bounds_texts(stand)) == (False, True)
    manager.remove()


@pytest.mark.parametrize("is_loaded", [False, True])
def test_nothing_is_asked_for(unloaded, monkeypatch, is_loaded) -> None:
    """No import is watched, and nothing is imported that would hook something."""
    if is_loaded:
        load()
    manager = Manager(Settings(strategy="none", bounded_ir=False))
    monkeypatch.setattr(manager, "_means", lambda inductor: pytest.fail("it imports the hooks"))
    manager.request()
    assert manager.remove().state == "inactive"
    assert not [finder for finder in sys.meta_path if isinstance(finder, LoadingFinder)]


def test_removed_without_inductor(unloaded, monkeypatch) -> None:
    """Nothing is imported that would hook something."""
    manager = Manager(Settings())
    monkeypatch.setattr(manager, "_means", lambda inductor: pytest.fail("it imports the hooks"))
    for strategy in ("call_function", "none"):
        manager.apply(strategy)
        manager.bounded_ir(False)
        manager.bounded_ir(True)
        assert manager.apply("none").state == "inactive"
    manager.remove()


def test_the_mode_of_texts_is_kept(stand) -> None:
    """What bounded_ir() was called with last is asked for again by apply()."""
    manager = Manager(Settings())
    assert manager.apply().bounded_ir == "auto"
    for mode in (True, False):
        manager.bounded_ir(mode)
        assert manager.remove().bounded_ir is False
        assert manager.apply().bounded_ir is mode


def test_the_mode_of_texts_after_a_purge(stand) -> None:
    """The hooks that stand in an Inductor that is not loaded any more follow at once."""
    manager = Manager(Settings())
    manager.apply()
    purge(GRAPH)
    for mode in (True, "auto"):
        assert manager.bounded_ir(mode).bounded_ir is mode
    manager.remove()


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
    assert manager.remove().reason == "strategy none was asked for"
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
            status = manager.apply(strategy)
            assert status.state == "active"
            asked = "2.12.1 belongs to series 2.12" if strategy == "auto" else f"{strategy} was asked for"
            assert asked in status.reason
            assert same(standing(stand), hooked), "applying twice changed something"
            expected = [strategy == "set_proxy", False, strategy != "set_proxy", strategy != "set_proxy"]
            assert [now is before for now, before in zip(hooked, stock, strict=True)] == expected, strategy
        lower(stand, f"vllm::op{number}")
        assert manager.remove().state == "removed"
        assert manager.remove().state == "removed"
        assert same(standing(stand), stock)
        lower(stand, f"vllm::unhooked{number}")
    assert fallbacks(manager) == [f"vllm.op{number}.default" for number in range(3)]
    manager.apply()
    assert manager.apply("call_function").reason == "strategy call_function was asked for"
    manager.remove()
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
    text = standing(stand)[1]
    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    assert standing(stand)[1] is text, "it does without the text"
    assert "not a static method" in status.reason
    assert "is asked for" not in status.reason, "it is settled"
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


def test_a_caveat_is_told_once(stand, told) -> None:
    """A WARNING tells it the first time; the status tells it each time that the strategy stands."""
    del stand.lowering.add_layout_constraint
    manager = Manager(Settings())
    for _ in range(3):
        assert "may be handed other strides" in manager.apply("set_proxy").reason
        assert "may be handed" not in manager.apply("call_function").reason
    (warning,) = told("WARNING")
    assert warning.startswith(
        "lowering-hooks hooked PyTorch 2.12.1 by set_proxy only: this PyTorch has no known"
    )


def test_what_to_do_where_only_the_set_proxy_can_be_used(stand, told) -> None:
    """The WARNING ends with it, and what it says ends the WARNING."""
    stand.exc.OperatorIssue.operator_str = 3
    assert Manager(Settings()).apply().strategy == "set_proxy"
    (warning,) = told("WARNING")
    assert warning.endswith(
        "; report this with what lowering-hooks status --json prints, "
        "or set LOWERING_HOOKS_STRATEGY=set_proxy to end this message"
    )
    manager = Manager(Settings())
    assert (manager.apply("set_proxy").state, told("WARNING")[1:]) == ("active", [])


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
    assert "set_proxy cannot be used" in status.reason
    status = manager.apply("call_function")
    assert status.state == "active"
    assert "set_proxy" not in status.reason, "it is not asked for any more"


@pytest.mark.parametrize("version", ["2.12.1", "2.99.0"])
def test_a_hook_that_lacks_a_module(stand, told, monkeypatch, version) -> None:
    """The WARNING ends with what helps: an installation, whatever PyTorch it is."""

    def make_hook(*arguments):
        raise ImportError("no such module")

    stand.torch.__version__ = version
    monkeypatch.setattr(lowering_hooks.hooks, "make_hook", make_hook)
    assert Manager(Settings()).apply().state == "inactive"
    (warning,) = told("WARNING")
    assert warning.endswith(f"set_proxy cannot be used: ImportError: no such module; {INSTALL_IT}")


def test_whatever_is_raised_while_hooking(stand, told, monkeypatch) -> None:
    """It is one WARNING, and what stands stays."""

    def plan(request, choice):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(standing_module, "plan", plan)
    before = standing(stand)
    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.reason) == ("inactive", "ZeroDivisionError: on purpose")
    nothing = "nothing is hooked but the bounded texts of IR nodes, and PyTorch 2.12.1 runs as without lowering-hooks: "
    assert bounds_texts(stand)
    assert told("WARNING") == [f"{nothing}ZeroDivisionError: on purpose; {REPORT_IT}"]
    assert same(standing(stand), before)
    monkeypatch.undo()
    status, hooked = manager.apply("call_function"), standing(stand)
    monkeypatch.setattr(standing_module, "plan", plan)
    reason = f"{status.reason}; ZeroDivisionError: on purpose"
    assert manager.apply("set_proxy") == status._replace(reason=reason)
    stays = "lowering-hooks stays hooked by call_function: "
    assert told("WARNING")[1:] == [f"{stays}ZeroDivisionError: on purpose"]
    assert same(standing(stand), hooked)


def test_hooks_that_cannot_be_imported(unloaded, told, monkeypatch) -> None:
    """It is one WARNING, the status says why, and what stands stays."""
    stand = load()
    before = standing(stand)
    monkeypatch.delattr(lowering_hooks, "hooks")
    monkeypatch.setitem(sys.modules, "lowering_hooks.hooks", None)
    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.bounded_ir) == ("inactive", False)
    assert status.reason.startswith("ImportError: ") or status.reason.startswith("ModuleNotFoundError: ")
    nothing = "nothing is hooked and PyTorch runs as without lowering-hooks: "
    assert told("WARNING") == [f"{nothing}{status.reason}; {INSTALL_IT}"]
    problem = status.reason
    reason = f"strategy none was asked for; the texts of IR nodes cannot be bounded: {problem}"
    assert manager.apply("none").reason == reason
    assert len(told("WARNING")) == 2, "the texts cannot be bounded, either"
    assert Manager(Settings(bounded_ir=False)).apply().reason == problem
    assert same(standing(stand), before)
    assert not bounds_texts(stand)
    monkeypatch.undo()
    assert manager.apply().state == "active"
    hooked = standing(stand)
    monkeypatch.delattr(lowering_hooks, "hooks")
    monkeypatch.setitem(sys.modules, "lowering_hooks.hooks", None)
    importlib.reload(stand.graph)
    assert manager.status().state == "displaced"
    assert hooked[0].__wrapped__ is before[0]
    monkeypatch.undo()
    manager.remove()


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
    importlib.reload(stand.ir)
    assert "cannot be bounded" not in manager.bounded_ir("auto").reason
    assert bounds_texts(stand)
    manager.remove()


def test_a_class_whose_text_cannot_be_replaced(stand, told) -> None:
    """It keeps no other from being bounded, and the status names it, without an advice that does not help."""

    class Unwilling(type):
        def __setattr__(cls, name, value):
            raise RuntimeError(f"no {name}")

    class Late(stand.ir.IRNode, metaclass=Unwilling):
        def __str__(self):
            return "late"

    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.bounded_ir) == ("active", "auto")
    (conflict,) = status.conflicts
    assert f"__str__ replaced the text of {Late.__qualname__}, which is not bounded" in conflict
    assert conflict.endswith("; it takes no other text")
    assert told("WARNING") == []
    assert bounds_texts(stand)
    assert str(Late()) == "late"
    other: Any = type("Other", (stand.ir.IRNode,), {"__str__": lambda self: "other"})
    assert str(other()) == str(stand.ir.IRNode()).replace("IRNode()", "other")
    other.__str__ = lambda self: "theirs"
    assert "apply() bounds what stands now" in manager.status().conflicts[0]
    manager.apply()
    assert manager.status().conflicts == (conflict,)
    manager.remove()
    assert not bounds_texts(stand)


def test_a_contract_that_cannot_be_looked_at(stand, told, monkeypatch) -> None:
    """It is broken: the other strategy is tried."""
    from lowering_hooks import hooks

    original = hooks.problems_of

    def problems_of(strategy, inductor):
        return original(strategy, inductor) if strategy == "set_proxy" else 1 / 0

    monkeypatch.setattr(hooks, "problems_of", problems_of)
    status = Manager(Settings()).apply()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    assert status.reason.startswith("call_function cannot be used: ZeroDivisionError: division by zero; ")
    assert len(told("WARNING")) == 1


@pytest.mark.parametrize(
    ("module", "name", "other", "says"),
    [
        (
            "lowering",
            "lowerings",
            types.MappingProxyType({}),
            "torch._inductor.lowering.lowerings is no dict",
        ),
        ("_ops", "OpOverload", print, "torch._ops.OpOverload is no class"),
    ],
)
def test_an_internal_of_another_kind(stand, module, name, other, says) -> None:
    """Neither fallbacks nor ops could be told, so the set proxy takes over."""
    setattr(getattr(stand, module), name, other)
    status = Manager(Settings()).apply()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    assert f"TypeError: {says}" in status.reason


@pytest.mark.parametrize("call", ["apply", "bounded_ir", "remove"])
def test_a_request_is_made_at_once(stand, monkeypatch, call) -> None:
    """Another one that comes in while it is made is followed by all of it, or by nothing of it."""
    manager, texts = Manager(Settings()), manager_module.AskedTexts
    manager.apply("set_proxy")

    def come_in_between(mode):
        monkeypatch.undo()
        manager.remove() if call != "remove" else manager.apply()
        return texts(mode)

    monkeypatch.setattr(manager_module, "AskedTexts", come_in_between)
    status = {
        "apply": manager.apply,
        "bounded_ir": lambda: manager.bounded_ir(True),
        "remove": manager.remove,
    }[call]()
    expected = {"apply": ("active", "auto"), "bounded_ir": ("removed", True), "remove": ("removed", False)}[
        call
    ]
    assert (status.state, status.bounded_ir) == expected
    assert (is_hooked(stand), bounds_texts(stand)) == (call == "apply", call != "remove")


def test_what_is_kept_is_told_by_a_lowering(stand, told) -> None:
    """And by no function that a logging handler may call while it holds a lock of its own."""
    manager = Manager(Settings())
    manager.apply()
    tell_the_rest()  # of other tests
    before = told("INFO")
    tell_later(logging.INFO, "kept")
    manager.status()
    manager.report()
    assert told("INFO") == before
    lower(stand, "vllm::op")
    assert told("INFO") == [*before, "kept"]
    manager.remove()


def with_other_parameters(stand) -> None:
    original = stand.graph.GraphLowering.call_function
    stand.graph.GraphLowering.call_function = lambda self, *args: original(self, *args)


@pytest.mark.parametrize("prepare", [lambda stand: None, with_other_parameters])
def test_what_is_kept_is_told_by_a_lowering_that_fails(stand, told, prepare) -> None:
    """Its error may have a text that was cut."""

    def fail() -> None:
        raise ZeroDivisionError

    prepare(stand)
    manager = Manager(Settings())
    manager.apply("call_function")
    stand.lowering.lowerings["op"] = "a lowering, so that none is added"
    tell_the_rest()
    before = told("INFO")
    tell_later(logging.INFO, "kept")
    with pytest.raises(stand.exc.LoweringException):
        stand.graph.GraphLowering().call_function("op", (fail,), {})
    assert told("INFO") == [*before, "kept"]
    manager.remove()


def test_what_is_kept_is_told_by_a_fallback(stand, told) -> None:
    """Under set_proxy the allow list is asked then."""
    manager = Manager(Settings())
    manager.apply("set_proxy")
    tell_the_rest()
    before = told("INFO")
    tell_later(logging.INFO, "kept")
    lower_in_a_graph(stand, "vllm::op")
    assert told("INFO") == [*before, "kept"]
    manager.remove()


def test_a_logging_handler_that_raises(unloaded) -> None:
    """Inductor is imported, and hooked."""

    class Raising(logging.Handler):
        def emit(self, record):
            raise RuntimeError(record.getMessage())

    logger, raising = logging.getLogger("lowering_hooks"), Raising()
    logger.addHandler(raising)
    try:
        manager = Manager(Settings())
        manager.request()
        stand = load()
        stand.torch.__version__ = "2.99.0"
        assert manager.apply().strategy == "set_proxy", "which a WARNING tells"
    finally:
        logger.removeHandler(raising)
    assert manager.status().state == "active"


# --- in the middle -------------------------------------------------------------------------------------------------


def test_whoever_comes_back_while_it_is_settled(stand, monkeypatch) -> None:
    """Its request is settled by the call that it interrupted, and the status is true meanwhile."""
    manager = Manager(Settings())
    settle, seen, depth = manager._strategy.settle, [], []

    def come_back(asked, means):
        depth.append(len(depth))
        assert depth == [0], "it is settled inside itself"
        if requests:
            seen.append(requests.pop(0)().state)
        try:
            return settle(asked, means)
        finally:
            depth.clear()

    monkeypatch.setattr(manager._strategy, "settle", come_back)
    requests = [manager.status]
    assert manager.apply("call_function").strategy == "call_function"
    requests = [lambda: manager.apply("set_proxy")]
    assert manager.apply("call_function").strategy == "set_proxy"
    requests = [manager.remove]
    assert manager.apply("call_function").state == "removed"
    requests = [manager.status]
    assert manager.apply("none").state == "inactive"
    requests = [manager.apply]
    assert manager.apply("none").state == "active"
    requests = [manager.status]
    assert manager.remove().state == "removed"
    assert seen == ["pending", "active", "active", "removed", "pending", "active"]


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
    assert status.reason == (
        "their_plugin.call_function replaced the hook; lowering_hooks.apply() hooks what stands now"
    )
    assert status.conflicts == ()
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


def test_a_call_that_cannot_be_seen(stand) -> None:
    """What replaced ours calls it unseen: once it is hooked, ours only passes calls on, and counts once."""
    manager = Manager(Settings())
    manager.apply()
    held = [stand.graph.GraphLowering.call_function]

    def theirs(self, target, args, kwargs):
        return held[0](self, target, args, kwargs)

    stand.graph.GraphLowering.call_function = theirs
    assert manager.status().state == "displaced"
    assert manager.apply().state == "active"
    lower(stand, "vllm::op")
    (op,) = manager.report().ops
    assert (op.fallbacks, op.texts) == (1, 1)
    manager.remove()


def refuse_call_function(stand) -> list[BaseException]:
    """Have GraphLowering raise what is put into the returned list, once, where its call_function is set."""

    class Fails(type):
        def __setattr__(cls, name, value):
            if name == "call_function" and fails:
                raise fails.pop()
            super().__setattr__(name, value)

    fails: list[BaseException] = []
    stand.graph.GraphLowering = Fails("GraphLowering", (), dict(vars(stand.graph.GraphLowering)))
    return fails


def test_an_error_while_changing_the_strategy(stand) -> None:
    """The one that stood stands again, its text included."""
    fails = refuse_call_function(stand)
    manager = Manager(Settings())
    manager.apply("set_proxy")
    hooked = standing(stand)
    for error in (RuntimeError("not now"), KeyboardInterrupt()):
        fails.append(error)
        with contextlib.suppress(KeyboardInterrupt):
            assert manager.apply("call_function").strategy == "set_proxy"
        assert same(standing(stand), hooked)
        manager.apply("set_proxy")
    manager.remove()


def test_an_error_while_displaced(stand) -> None:
    """What replaced ours stays, and the next call hooks it."""
    fails = refuse_call_function(stand)
    manager = Manager(Settings())
    manager.apply()

    def theirs(self, target, args, kwargs):
        return target

    for error in (RuntimeError("not now"), KeyboardInterrupt()):
        stand.graph.GraphLowering.call_function = theirs
        fails.append(error)
        with contextlib.suppress(KeyboardInterrupt):
            manager.apply("call_function")
        assert vars(stand.graph.GraphLowering)["call_function"] is theirs
        assert manager.apply("call_function").state == "active"
        assert vars(stand.graph.GraphLowering)["call_function"].__wrapped__ is theirs
    manager.remove()
    assert vars(stand.graph.GraphLowering)["call_function"] is theirs


def test_texts_that_others_wrapped(stand) -> None:
    """Ours passes them on once it is removed."""
    manager = Manager(Settings())
    manager.apply()
    ours = vars(stand.ir.IRNode)["__str__"]
    stand.ir.IRNode.__str__ = lambda self: ours(self)
    node = stand.ir.IRNode()
    node.inputs = "x" * 200_000
    assert len(str(node)) < 1_000
    manager.remove()
    assert str(node) == f"IRNode({node.inputs})"
    purge(GRAPH)
    assert manager.bounded_ir(True).bounded_ir == "pending", "Inductor is not loaded"
    assert str(node) == f"IRNode({node.inputs})"
    manager.remove()


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
    (conflict,) = manager.remove().conflicts
    assert "no stride guarantee" in conflict
    assert standing(stand)[2:] == (theirs, theirs)
    manager.apply("set_proxy")
    (conflict,) = manager.status().conflicts
    assert "records the layout constraints" in conflict
    assert "no stride guarantee" not in conflict


def test_vllms_plugin_hooks_anew(stand, monkeypatch) -> None:
    """The proxy of set_proxy stands around that of vLLM again, which has replaced it by then."""

    class TheirProxy:
        _vllm_patched = True

        def __contains__(self, name):
            return name.startswith("vllm::")

    manager = Manager(Settings(strategy="set_proxy"))
    monkeypatch.setattr(lowering_hooks, "_manager", manager)
    assert lowering_hooks.apply().state == "active"
    stand.lowering.FALLBACK_ALLOW_LIST = stand.graph.FALLBACK_ALLOW_LIST = TheirProxy()
    status = lowering_hooks.status()
    assert status.state == "displaced"
    assert ["no stride guarantee" in conflict for conflict in status.conflicts] == [True]
    _lowering_hooks_autoload.vllm_plugin()
    assert lowering_hooks.status().state == "active"
    lower_in_a_graph(stand, "vllm::op")
    assert list(stand.lowering._maybe_layout_constraints.values()) == ["constraint for exact strides"]
    lowering_hooks.remove()
    _lowering_hooks_autoload.vllm_plugin()
    assert lowering_hooks.status().state == "removed"


@pytest.mark.parametrize("calls_ours", [True, False])
def test_a_class_that_stands_for_ours(stand, calls_ours) -> None:
    """The status says so where its call_function passes over Inductor's own."""
    manager = Manager(Settings())
    manager.apply()

    class Calling(stand.graph.GraphLowering):
        def call_function(self, target, args, kwargs):
            return super().call_function(target, args, kwargs)

    class PassingOver(stand.graph.GraphLowering):
        def call_function(self, target, args, kwargs):
            return target

    stand.graph.GraphLowering = Calling if calls_ours else PassingOver
    lower(stand, "vllm::op")
    status = manager.status()
    assert status.state == "active"
    assert fallbacks(manager) == (["vllm.op.default"] if calls_ours else [])
    assert len(status.conflicts) == (not calls_ours)
    says = "call_function stands for GraphLowering.call_function and does not call Inductor's"
    assert all(says in text and text.endswith("are not counted") for text in status.conflicts)


def lower_in_a_graph(stand, name):
    """Lower an op as Inductor does, so that its node is known."""
    graph, op = stand.graph.GraphLowering(), getattr(stand.torch.ops, name.split("::")[0]).op.default
    graph.graph_id = 3
    graph.current_node = types.SimpleNamespace(name="node", target=op, meta={})
    stand.virtualized.V.graph = graph
    graph.call_function(op, (), {})
    stand.virtualized.V.graph = None
    return graph


def test_the_set_proxy(stand) -> None:
    """Ops of allowed namespaces take the allow list's branch, and others their own; both are counted."""
    before = standing(stand)
    manager = Manager(Settings())
    manager.apply("set_proxy")
    assert lower_in_a_graph(stand, "vllm::op").branches == ["allow list"]
    assert lower_in_a_graph(stand, "other::op").branches == ["implicit fallback"]
    assert lower(stand, "vllm::unknown").branches == ["allow list"], "a node that is not known"
    report = manager.report()
    assert [(op.op, op.graph, op.node, op.fallbacks, op.allowed) for op in report.ops] == [
        ("vllm.op.default", "3", "node", 1, True),
        ("other.op.default", "3", "node", 1, False),
        ("vllm::unknown", "", "", 1, True),
    ]
    assert report.not_allowed == ("other",)
    text = vars(stand.exc.OperatorIssue)["operator_str"]
    stand.exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs: "theirs")
    assert manager.status().state == "displaced"
    ours = text.__func__
    stand.exc.OperatorIssue.operator_str = staticmethod(lambda *args: ours(*args))
    assert manager.status().conflicts
    stand.graph.FALLBACK_ALLOW_LIST = set()
    assert (manager.status().state, manager.status().conflicts) == ("displaced", ())
    stand.graph.FALLBACK_ALLOW_LIST = stand.lowering.FALLBACK_ALLOW_LIST
    stand.exc.OperatorIssue.operator_str = text
    assert manager.status().state == "active"
    proxy = stand.graph.FALLBACK_ALLOW_LIST
    manager.remove()
    assert same(standing(stand), before)
    assert "vllm::op" not in proxy, "others may have kept it"


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
