"""What is asked for and what stands, on a stand-in for Inductor."""

from __future__ import annotations

import builtins
import functools
import importlib
import logging
import os
import sys
import types
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from stand_in import GRAPH, SOURCES, load, purge, same, stand_in, standing

from lowering_hooks.hooks.allow_list import is_proxy
from lowering_hooks.hooks.mark import peeled
from lowering_hooks.inductor.modules import Inductor
from lowering_hooks.manager import Manager
from lowering_hooks.settings import Request, Settings

STATES = {"pending", "active", "removed", "inactive", "displaced"}


def test_pending_until_inductor_is_imported(unloaded) -> None:
    """Inductor is hooked by its own import, before anybody asks."""
    manager = Manager(Settings(bounded_ir=True))
    manager.request()
    importlib.import_module("torch")
    status = manager.status()
    assert (status.state, status.strategy, status.bounded_ir) == ("pending", "call_function", "pending")
    assert "bounded IR      pending" in str(status)
    assert "not imported yet" in status.reason
    graph = importlib.import_module(GRAPH)
    assert graph.GraphLowering.call_function.__wrapped__
    status = manager.status()
    assert (status.state, status.strategy, status.bounded_ir) == ("active", "call_function", True)


def test_bounded_ir_is_auto_by_default(unloaded) -> None:
    """Whatever the strategy, also none."""
    manager = Manager(Settings())
    manager.request("none")
    assert manager.status().bounded_ir == "pending"
    stand = load()
    assert manager.status().bounded_ir == "auto"
    assert "bounded IR      auto" in str(manager.status())
    assert vars(stand.ir.IRNode)["__str__"].__wrapped__
    for mode in (True, "auto", False, "auto"):
        assert manager.bounded_ir(mode).bounded_ir is mode
    assert manager.remove().bounded_ir is False
    assert not hasattr(vars(stand.ir.IRNode)["__str__"], "__wrapped__")
    assert manager.apply().bounded_ir == "auto"
    manager.remove()


def test_bounded_ir_that_is_off(unloaded) -> None:
    """While Inductor is not loaded, "pending" is said only of what was asked for."""
    manager = Manager(Settings(bounded_ir=False))
    manager.request()
    assert manager.status().bounded_ir is False
    assert manager.bounded_ir(True).bounded_ir == "pending"
    assert manager.bounded_ir(False).bounded_ir is False
    assert manager.bounded_ir(True).bounded_ir == "pending"
    assert manager.remove().bounded_ir is False
    importlib.import_module("torch._inductor.ir")
    importlib.import_module(GRAPH)
    assert manager.status().bounded_ir is False


def test_a_hook_that_stands_is_never_pending(stand) -> None:
    """A purge of sys.modules takes no hook away, whatever is asked for afterwards."""
    before = standing(stand)
    manager = Manager(Settings())
    assert manager.apply("call_function").state == "active"
    purge(GRAPH)
    for strategy in ("call_function", "auto", "set_proxy"):
        status = manager.apply(strategy)
        assert (status.state, status.strategy) == ("active", "call_function"), status
        assert ("is asked for" in status.reason) is (strategy == "set_proxy")
    assert "set_proxy is asked for: torch._inductor.graph is not imported yet" in status.reason
    status = manager.apply("none")
    assert (status.state, status.strategy) == ("inactive", "none")
    assert manager.status() == status
    assert same(standing(stand), before)


def test_an_inductor_imported_anew(stand) -> None:
    """After a purge both are hooked: modules that imported the first one still use it."""
    before = standing(stand)
    manager = Manager(Settings())
    manager.apply("call_function")
    purge()
    again = load()
    stock = again.graph.GraphLowering.call_function.__wrapped__
    assert manager.status().state == "active"
    assert stand.graph.GraphLowering.call_function.__wrapped__ is before[0]
    for found in (stand, again):
        op = found._ops.OpOverload("vllm::op")
        lowering = found.graph.GraphLowering()
        lowering.call_function(op, (), {})
        assert lowering.texts == ["  target: vllm.op.default"]
    assert manager.records.report().ops[0].fallbacks == 2
    assert [hasattr(found.ir.IRNode.__str__, "__wrapped__") for found in (stand, again)] == [True, True]
    manager.remove()
    assert [hasattr(found.ir.IRNode.__str__, "__wrapped__") for found in (stand, again)] == [False, False]
    assert same(standing(stand), before)
    assert again.graph.GraphLowering.call_function is stock


def test_a_set_proxy_and_an_inductor_imported_anew(stand) -> None:
    """Its own modules still hold the first proxy, so nothing displaced it; the new ones are hooked as well."""
    manager = Manager(Settings())
    manager.apply("set_proxy")
    purge()
    again = load()
    status = manager.status()
    assert (status.state, status.strategy) == ("active", "set_proxy")
    for found in (stand, again):
        assert is_proxy(found.lowering.FALLBACK_ALLOW_LIST)
        assert is_proxy(found.graph.FALLBACK_ALLOW_LIST)
    manager.remove()
    for found in (stand, again):
        assert not is_proxy(found.lowering.FALLBACK_ALLOW_LIST)
        assert not is_proxy(found.graph.FALLBACK_ALLOW_LIST)


def test_a_reloaded_inductor_is_hooked(stand) -> None:
    """A reload makes other classes in the same module."""
    old = stand.graph.GraphLowering
    before = vars(old)["call_function"]
    manager = Manager(Settings())
    manager.apply("call_function")
    importlib.reload(stand.graph)
    assert stand.graph.GraphLowering is not old
    assert stand.graph.GraphLowering.call_function.__wrapped__
    assert manager.status().state == "active"
    manager.remove()
    assert vars(old)["call_function"] is before
    assert not hasattr(stand.graph.GraphLowering.call_function, "__wrapped__")


def test_a_set_proxy_and_a_reload(stand) -> None:
    """One proxy stands in both modules, and never around another of ours."""
    inner = stand.lowering.FALLBACK_ALLOW_LIST
    manager = Manager(Settings())
    manager.apply("set_proxy")
    for _ in range(2):
        importlib.reload(stand.graph)
        assert manager.status().state == "active"
        assert stand.graph.FALLBACK_ALLOW_LIST is stand.lowering.FALLBACK_ALLOW_LIST
        assert stand.graph.FALLBACK_ALLOW_LIST.inner is inner
    manager.remove()
    assert stand.graph.FALLBACK_ALLOW_LIST is stand.lowering.FALLBACK_ALLOW_LIST is inner


def test_a_derived_class_in_its_place(stand) -> None:
    """It is no reload: whoever imported the original class still uses it, so the hook stays where it is."""
    before = standing(stand)
    manager = Manager(Settings())
    manager.apply("call_function")

    class Theirs(stand.graph.GraphLowering):
        def call_function(self, target, args, kwargs):
            return super().call_function(target, args, kwargs)

    stand.graph.GraphLowering, stock = Theirs, stand.graph.GraphLowering
    assert manager.apply().state == "active"
    Theirs().call_function(stand._ops.OpOverload("vllm::op"), (), {})
    assert [op.fallbacks for op in manager.records.report().ops] == [1]
    manager.remove()
    stand.graph.GraphLowering = stock
    assert same(standing(stand), before)


@pytest.mark.parametrize(
    "make",
    [
        lambda f: type("Compiled", (), {"__code__": f.__code__, "__wrapped__": f, "__call__": print})(),
        lambda f: type("Meta", (type,), {"__module__": property(lambda self: 1 / 0)})("Nameless", (), {})(),
        lambda f: type("Hostile", (), {"__class__": property(lambda self: 1 / 0), "__call__": print})(),
        lambda f: type("Raising", (), {"__getattr__": lambda self, name: 1 / 0, "__call__": print})(),
        lambda f: type("Slotted", (), {"__slots__": (), "__call__": lambda self, *args: None})(),
        lambda f: functools.partial(print),
        lambda f: staticmethod(lambda target, args, kwargs: target),
        lambda f: classmethod(lambda cls, target, args, kwargs: target),
        lambda f: functools.partialmethod(lambda self, more, target, args, kwargs: target, 1),
        lambda f: functools.lru_cache(lambda self, target, args, kwargs: target),
        lambda f: print,
        lambda f: 7,
        lambda f: None,
    ],
    ids=[
        "with a code",
        "without a name",
        "hostile class",
        "raising",
        "slotted",
        "partial",
        "static method",
        "class method",
        "partial method",
        "cache",
        "built-in function",
        "number",
        "nothing",
    ],
)
def test_whatever_stands_in_our_place(stand, make) -> None:
    """status(), apply() and remove() never raise, and say "displaced" of what does not call ours."""
    manager = Manager(Settings())
    manager.apply("call_function")
    ours = stand.graph.GraphLowering.call_function
    theirs = stand.graph.GraphLowering.call_function = make(ours)
    status = manager.status()
    assert status.state == "displaced", status
    assert " replaced the hook; " in status.reason
    assert manager.apply().state in ("active", "displaced")
    assert manager.remove().state == "removed"
    assert vars(stand.graph.GraphLowering)["call_function"] is theirs


@pytest.mark.parametrize("index", [1, 2, 3])
def test_whatever_stands_in_another_place(stand, index) -> None:
    """The text and the allow list may be anybody's object as well."""

    class Hostile:
        def __getattr__(self, name):
            raise ZeroDivisionError(name)

    manager = Manager(Settings())
    strategy: Request = "call_function" if index == 1 else "set_proxy"
    owner, name = [
        (stand.exc.OperatorIssue, "operator_str"),
        (stand.lowering, "FALLBACK_ALLOW_LIST"),
        (stand.graph, "FALLBACK_ALLOW_LIST"),
    ][index - 1]
    before = vars(owner)[name]
    for theirs in (Hostile(), 7, None, {}, lambda: None):
        assert manager.apply(strategy).state == "active"
        setattr(owner, name, theirs)
        status = manager.status()
        assert (status.state, status.strategy) == ("displaced", strategy)
        assert manager.apply().state in STATES
        assert manager.remove().state in ("removed", "inactive")
        assert vars(owner)[name] is theirs
        setattr(owner, name, before)


def test_a_bare_function_that_was_put_back(stand) -> None:
    """It is ours: a with-block of others reads a static method of a class and puts back the function in it."""
    manager = Manager(Settings())
    before = standing(stand)
    manager.apply("call_function")
    issue = stand.exc.OperatorIssue
    issue.operator_str, read = staticmethod(lambda target, args, kwargs: ""), issue.operator_str
    assert manager.status().state == "displaced"
    issue.operator_str = read
    assert manager.status().state == "active"
    assert manager.apply().strategy == "call_function"
    assert issue.operator_str(stand._ops.OpOverload("vllm::op"), (), {}) == "  target: vllm.op.default"
    again = Manager(Settings())  # another copy of the package
    assert (again.apply().state, again.apply().strategy) == ("active", "call_function")
    again.remove()
    manager.remove()
    assert same(standing(stand), before)


def test_a_hook_that_cannot_be_put_in(stand) -> None:
    """Nothing is half applied: what stood before a failure stands after it."""
    manager = Manager(Settings())
    manager.apply("call_function")
    hooked = standing(stand)

    class Unwilling(types.ModuleType):
        def __setattr__(self, name, value):
            raise RuntimeError(f"no {name}")

    types.ModuleType.__setattr__(stand.graph, "__class__", Unwilling)
    status = manager.apply("set_proxy")
    assert (status.state, status.strategy) == ("active", "call_function")
    assert same(standing(stand), hooked)


def sealed(kind: type, settable: int) -> Any:
    """Return a class like ``kind`` whose attributes can be set so many times."""

    class Sealed(type):
        def __setattr__(cls, name: str, value: object) -> None:
            nonlocal settable
            settable -= 1
            if settable < 0:
                raise AttributeError(f"no more {name}")
            super().__setattr__(name, value)

    return Sealed(kind.__name__, (), dict(vars(kind)))


def test_a_failure_that_cannot_be_undone(stand, caplog) -> None:
    """What is half put in passes calls on, and the status and one WARNING say that no strategy is hooked."""
    stand.exc.OperatorIssue = sealed(stand.exc.OperatorIssue, 1)
    stand.graph.GraphLowering = sealed(stand.graph.GraphLowering, 0)
    manager = Manager(Settings(strategy="call_function"))
    status = manager.apply()
    assert (status.state, status.strategy) == ("inactive", "none")
    assert status.reason == "AttributeError: no more operator_str"
    says = "nothing is hooked but the bounded texts of IR nodes, and PyTorch 2.12.1 runs as without lowering-hooks: "
    assert caplog.text.count(says) == 1
    text = stand.exc.OperatorIssue.operator_str(stand._ops.OpOverload("vllm::op"), (), {})
    assert text == "stock text of vllm.op.default"


def test_a_hook_that_cannot_be_taken_out(stand, caplog) -> None:
    """Where its successor stands, the WARNING does not say that nothing does."""
    stand.graph.GraphLowering = sealed(stand.graph.GraphLowering, 1)
    manager = Manager(Settings())
    assert manager.apply("call_function").state == "active"
    status = manager.apply("set_proxy")
    assert (status.state, status.strategy) == ("active", "set_proxy")
    assert "nothing is hooked" not in caplog.text
    says = "lowering-hooks stays hooked by set_proxy: AttributeError: no more call_function"
    assert caplog.text.count(says) == 1


def test_an_interrupt_while_hooking(stand) -> None:
    """Ctrl-C ends what is going on, and the next call does all of it."""
    manager = Manager(Settings())
    before = standing(stand)

    class Interrupted(type):
        def __setattr__(cls, name, value):
            if name == "call_function" and not seen:
                seen.append(name)
                raise KeyboardInterrupt
            super().__setattr__(name, value)

    seen: list[str] = []
    graph_class = Interrupted("GraphLowering", (), dict(vars(stand.graph.GraphLowering)))
    stand.graph.GraphLowering = graph_class
    with pytest.raises(KeyboardInterrupt):
        manager.apply("call_function")
    assert seen
    assert same(standing(stand), before)
    assert manager.status().state == "active"
    manager.remove()
    assert same(standing(stand), before)


@pytest.mark.parametrize("version", ["2.12.1", "2.3.1", "2.99.0", "unknown"])
def test_nothing_else_under_the_lock(unloaded, monkeypatch, version) -> None:
    """Nothing is imported or logged: whoever holds the lock of a module may wait for ours."""
    manager = Manager(Settings(bounded_ir=True))
    found = []

    lock: Any = manager._lock

    def is_held(what) -> None:
        if lock._is_owned():
            found.append(what)

    original = builtins.__import__

    def watched(name, *args, **kwargs):
        is_held(f"import {name}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", watched)
    monkeypatch.setattr(logging.getLogger("lowering_hooks"), "handle", is_held)
    stand = load()
    stand.torch.__version__ = version
    if version == "2.3.1":  # the older way to a layout constraint
        del stand.lowering.tag_to_layout_constraint
    for strategy in ("auto", "call_function", "set_proxy", "auto", "none"):
        manager.apply(strategy)
        importlib.reload(stand.graph)
        manager.status()
    manager.bounded_ir(False)
    manager.remove()
    monkeypatch.undo()
    assert found == []


def test_switched_off_stays_switched_off(stand) -> None:
    """LOWERING_HOOKS=0 goes above whatever is asked for."""
    before = standing(stand)
    manager = Manager(Settings(off="0", bounded_ir=True))
    statuses = (manager.apply(), manager.bounded_ir(True), manager.remove(), manager.apply("set_proxy"))
    for status in statuses:
        assert (status.state, status.reason) == ("inactive", "switched off by LOWERING_HOOKS=0")
        assert status.bounded_ir is False
    assert same(standing(stand), before)


def test_a_graph_imported_anew(unloaded) -> None:
    """It does not keep a proxy that is gone, which it took from lowering before its own hook was another one."""
    stand = load()
    stand.exc.OperatorIssue.operator_str = classmethod(lambda cls, target, args, kwargs: "")
    own = stand.graph.FALLBACK_ALLOW_LIST
    manager = Manager(Settings())
    assert manager.apply().strategy == "set_proxy"
    purge(GRAPH, "torch._inductor.exc")
    again = load()
    assert again.graph is not stand.graph
    assert manager.status().strategy == "call_function"
    assert not is_proxy(again.graph.FALLBACK_ALLOW_LIST)
    assert not is_proxy(again.lowering.FALLBACK_ALLOW_LIST)
    manager.remove()
    for module in (again.graph, again.lowering, stand.graph):
        assert module.FALLBACK_ALLOW_LIST is own


def test_an_inductor_imported_anew_and_broken(stand, monkeypatch, caplog) -> None:
    """The hook stays in the first one; the status says that it is not in the second."""
    manager = Manager(Settings())
    manager.apply("call_function")
    monkeypatch.setitem(SOURCES, GRAPH, "class GraphLowering:\n    pass\n")
    purge(GRAPH)
    importlib.import_module(GRAPH)
    status = manager.status()
    assert (status.state, status.strategy) == ("displaced", "call_function")
    assert f"a reload of {GRAPH} replaced the hook" in status.reason
    assert status.reason.endswith(
        "call_function cannot be used: torch._inductor.graph.GraphLowering defines no call_function"
    )
    assert "lowering-hooks stays hooked by call_function" in caplog.text
    assert stand.graph.GraphLowering.call_function.__wrapped__


def fail_to_import_hooks(monkeypatch) -> None:
    original = builtins.__import__

    def importing(name, scope=None, local=None, fromlist=(), level=0):
        if fromlist == ("hooks",):
            raise ImportError("no hooks")
        return original(name, scope, local, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_an_inductor_imported_anew_without_hooks(stand, monkeypatch, caplog) -> None:
    """What stands in the first one stays, where the package's own hooks can be imported no more."""
    manager = Manager(Settings())
    manager.apply("call_function")
    fail_to_import_hooks(monkeypatch)
    purge()
    load()
    for _ in range(2):
        assert manager.status().state == "displaced"
    assert caplog.text.count("ImportError: no hooks") == 1
    assert stand.graph.GraphLowering.call_function.__wrapped__
    monkeypatch.undo()
    assert manager.apply().state == "active"


def test_hooks_that_another_thread_imports(stand, monkeypatch, caplog) -> None:
    """Whoever imports them settles what is asked for, also where they cannot be imported beside that."""
    hooks = types.ModuleType("lowering_hooks.hooks")
    vars(hooks)["__spec__"] = types.SimpleNamespace(_initializing=True)  # as while it is being imported
    monkeypatch.setitem(sys.modules, "lowering_hooks.hooks", hooks)
    fail_to_import_hooks(monkeypatch)
    manager = Manager(Settings())
    assert manager.apply("call_function").state == "pending"
    assert caplog.text == ""
    monkeypatch.undo()
    assert manager.status().state == "active"


@pytest.mark.parametrize("settable", [0, 1], ids=["not at all", "half"])
def test_texts_that_cannot_be_bounded(stand, caplog, settable) -> None:
    """The strategy stands all the same; the status and one WARNING say what does not."""
    stand.ir.IRNode = sealed(stand.ir.IRNode, settable)
    before = vars(stand.ir.IRNode)["__repr__"]
    manager = Manager(Settings())
    status = manager.apply()
    assert (status.state, status.bounded_ir) == ("active", False)
    assert "the texts of IR nodes cannot be bounded: AttributeError: no more" in status.reason
    assert caplog.text.count("bounds no texts of IR nodes") == 1
    assert vars(stand.ir.IRNode)["__repr__"] is before
    assert str(stand.ir.IRNode()) == "IRNode()"


def test_texts_that_are_half_bounded(stand) -> None:
    """Where later classes cannot be watched, what was wrapped before is put back."""

    class Unwatched(type):
        def __setattr__(cls, name: str, value: object) -> None:
            if name == "__init_subclass__":
                raise AttributeError(f"no {name}")
            super().__setattr__(name, value)

    stand.ir.IRNode = Unwatched("IRNode", (), dict(vars(stand.ir.IRNode)))
    before = dict(vars(stand.ir.IRNode))
    status = Manager(Settings()).apply()
    assert (status.state, status.bounded_ir) == ("active", False)
    assert "the texts of IR nodes cannot be bounded: AttributeError: no __init_subclass__" in status.reason
    assert dict(vars(stand.ir.IRNode)) == before


def test_an_inductor_that_is_another_each_time(stand, monkeypatch) -> None:
    """Nobody waits for it to settle."""
    seen = []

    def another():
        seen.append(Inductor(stand.torch, types.ModuleType(GRAPH), stand.lowering, stand.exc))
        return seen[-1]

    manager = Manager(Settings())
    monkeypatch.setattr("lowering_hooks.manager.loaded", another)
    assert manager.apply().state == "inactive"
    assert 100 < len(seen) < 1000


def test_an_import_that_is_followed_by_an_error(unloaded, monkeypatch, caplog) -> None:
    """Inductor is imported all the same, and one WARNING has the traceback."""
    manager = Manager(Settings())
    manager.request()
    monkeypatch.setattr(manager, "_complete_inductor", lambda: 1 / 0)
    load()
    (record,) = caplog.records
    assert (record.levelname, record.message) == (
        "WARNING",
        "lowering-hooks could not be applied to Inductor",
    )
    assert record.exc_info[0] is ZeroDivisionError


def test_an_import_that_nobody_tells_of(unloaded, monkeypatch, caplog) -> None:
    """One WARNING says that nothing is hooked yet, and a call once Inductor is there hooks it."""
    monkeypatch.setattr(sys, "meta_path", tuple(sys.meta_path))
    manager = Manager(Settings())
    for _ in range(2):
        status = manager.apply()
        assert status.state == "pending"
        assert "finder of lowering-hooks" in status.reason
    assert caplog.text.count("nothing is hooked yet: ") == 1
    assert "finder of lowering-hooks" not in manager.remove().reason
    load()
    status = manager.apply()
    assert status.state == "active"
    assert "finder of lowering-hooks" not in status.reason


def test_an_import_of_a_pytorch_that_is_not_there(unloaded, monkeypatch, caplog) -> None:
    """Nobody waits for it, and nobody is warned."""
    monkeypatch.setattr(sys, "meta_path", tuple(sys.meta_path))
    monkeypatch.setattr("lowering_hooks.manager.torch_is_there", lambda: False)
    manager = Manager(Settings())
    assert "finder of lowering-hooks" not in manager.apply().reason
    assert caplog.text == ""


def test_a_system_that_does_not_fork(stand, monkeypatch) -> None:
    """There is nothing to begin anew."""
    monkeypatch.delattr(os, "register_at_fork")
    manager = Manager(Settings())
    assert manager.apply().state == "active"
    manager.remove()


# --- any sequence of what can happen ---------------------------------------------------------------------------


def without_ours(standing):
    """Return what stands in a place, or would if our wrapper or proxy were not around it."""
    if is_proxy(standing):
        return standing.inner
    while peeled(standing) is not standing:
        standing = peeled(standing)
    return standing


class Anything(RuleBasedStateMachine):
    """Whatever happens, in whatever order: no exception, a true status, and nothing left after ``remove()``."""

    def __init__(self) -> None:
        super().__init__()
        self.context = stand_in()
        self.context.__enter__()
        self.managers = [Manager(Settings())]
        self.with_blocks: list[tuple[object, str, object]] = []
        # By place, what stands there when we are gone; None where somebody has put back a wrapper of ours.
        self.expected: dict[tuple[object, str], object] = {}
        self.load()

    def load(self) -> None:
        self.stand = load()
        for owner, name in self.places():
            self.expected.setdefault((owner, name), without_ours(vars(owner)[name]))

    def places(self) -> list[tuple[Any, str]]:
        stand = self.stand
        return [
            (stand.graph.GraphLowering, "call_function"),
            (stand.exc.OperatorIssue, "operator_str"),
            (stand.lowering, "FALLBACK_ALLOW_LIST"),
            (stand.graph, "FALLBACK_ALLOW_LIST"),
        ]

    def put(self, owner, name, theirs) -> None:
        setattr(owner, name, theirs)
        self.expected[owner, name] = theirs if without_ours(theirs) is theirs else None

    def teardown(self) -> None:
        try:
            for manager in reversed(self.managers):
                manager.bounded_ir(False)
                assert manager.remove().state in ("removed", "inactive")
            for owner, name in self.places():
                expected, standing = self.expected[owner, name], vars(owner)[name]
                assert expected is None or standing is expected, (name, standing, expected)
            self.behaves_as_without_us()
        finally:
            self.context.__exit__(None, None, None)

    @property
    def manager(self) -> Manager:
        return self.managers[-1]

    @rule(strategy=st.sampled_from(["auto", "call_function", "set_proxy", "none"]))
    def apply(self, strategy) -> None:
        state = self.manager.apply(strategy).state
        assert state == "inactive" if strategy == "none" else state in STATES - {"removed"}

    @rule()
    def remove(self) -> None:
        assert self.manager.remove().state in ("removed", "inactive")

    @rule(name=st.sampled_from(["vllm", "other", "*"]))
    def allow(self, name) -> None:
        assert name in self.manager.namespaces.allow([name])

    @rule(name=st.sampled_from(["vllm", "other", "*"]))
    def disallow(self, name) -> None:
        assert name not in self.manager.namespaces.disallow([name])

    @rule(enabled=st.sampled_from(["auto", True, False]))
    def bounded_ir(self, enabled) -> None:
        found = self.manager.bounded_ir(enabled).bounded_ir
        assert found in (enabled, "pending") if enabled else found is False

    @rule()
    def wrap_ours(self) -> None:
        owner, name = self.places()[0]
        old = vars(owner)[name]

        def call_function(self, target, args, kwargs):
            return old(self, target, args, kwargs)

        self.put(owner, name, call_function)

    @rule(index=st.integers(0, 2))
    def replace(self, index) -> None:
        theirs = [
            lambda self, target, args, kwargs: target,
            staticmethod(lambda target, args, kwargs: "theirs"),
            {"lib::listed"},
        ][index]
        owner, name = self.places()[index]
        self.put(owner, name, theirs)
        if index == 2:  # those who replace the allow list do so in both modules
            owner, name = self.places()[3]
            self.put(owner, name, theirs)

    @rule(index=st.integers(0, 1))
    def begin_a_with_block(self, index) -> None:
        owner, name = self.places()[index]
        read = getattr(owner, name)  # the function in a static method
        theirs = [lambda s, t, a, k: read(s, t, a, k), staticmethod(lambda t, a, k: read(t, a, k))][index]
        self.put(owner, name, theirs)
        self.with_blocks.append((owner, name, read))

    @precondition(lambda self: self.with_blocks)
    @rule()
    def end_a_with_block(self) -> None:
        self.put(*self.with_blocks.pop())

    @rule(names=st.sampled_from([(GRAPH,), ("torch._inductor.graph", "torch._inductor.exc"), ()]))
    def purge(self, names) -> None:
        purge(*names)

    @rule()
    def import_anew(self) -> None:
        self.load()

    @precondition(lambda self: sys.modules.get(GRAPH) is not None)
    @rule()
    def reload(self) -> None:
        importlib.reload(sys.modules[GRAPH])
        self.load()

    @precondition(lambda self: len(self.managers) < 3)
    @rule()
    def another_copy(self) -> None:
        self.managers.append(Manager(Settings()))

    @invariant()
    def status_is_true(self) -> None:
        status = self.manager.status()
        assert status == self.manager.status()
        assert status.state in STATES
        assert "None" not in str(status)
        if sys.modules.get(GRAPH) is None:
            # Nothing that this manager has hooked is called pending.
            assert status.state != "pending" or len(self.managers) > 1 or self.text_of("vllm") != "ours"
            return
        assert status.state != "pending"
        if sys.modules[GRAPH] is not self.stand.graph:
            return
        if status.state == "active" and status.strategy == "call_function":
            if self.allowed("vllm") or len(self.managers) == 1:  # another copy may still allow it
                assert (self.text_of("vllm") == "ours") is self.allowed("vllm")
        elif status.state == "active":
            allow_list = self.stand.graph.FALLBACK_ALLOW_LIST
            assert is_proxy(allow_list)
            assert ("vllm::op" in allow_list) is self.allowed("vllm")
        elif len(self.managers) == 1 and status.state in ("removed", "inactive"):
            self.behaves_as_without_us()

    def allowed(self, namespace) -> bool:
        return self.manager.namespaces.allows(namespace)

    def text_of(self, namespace) -> str:
        """Say whose text Inductor gets for an op of a namespace."""
        op = self.stand._ops.OpOverload(f"{namespace}::op")
        text = self.stand.exc.OperatorIssue.operator_str(op, (), {})
        return "ours" if text == f"  target: {op}" else "stock" if text.startswith("stock") else "theirs"

    def behaves_as_without_us(self) -> None:
        assert self.text_of("vllm") in ("stock", "theirs")
        for module in (self.stand.lowering, self.stand.graph):
            assert "vllm::op" not in module.FALLBACK_ALLOW_LIST
        if not any(manager.status().bounded_ir for manager in self.managers):
            assert not hasattr(vars(self.stand.ir.IRNode)["__str__"], "__wrapped__")


TestAnything = Anything.TestCase
TestAnything.settings = hypothesis_settings(max_examples=100, stateful_step_count=30, deadline=None)
