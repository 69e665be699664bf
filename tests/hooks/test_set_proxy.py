"""The set proxy as a set.  What it does to a compile is in test_fidelity.py."""

from __future__ import annotations

import copy
import logging
import operator
import pickle
import types
from typing import Any

import pytest
import torch._inductor.graph
from installed import RELEASE, SERIES
from stand_in import purge
from torch._inductor import config, lowering
from torch.library import Library

import lowering_hooks
from lowering_hooks.compat.namespaces import PYTORCH
from lowering_hooks.hooks.allow_list import AllowListProxy
from lowering_hooks.manager import Manager
from lowering_hooks.settings import Settings

try:
    from torch.utils._ordered_set import OrderedSet
except ImportError:  # before 2.5; the allow list is a plain set up to 2.6
    OrderedSet = set

NAMES = ("aten::index_add", "torchvision::roi_align")
INNER_SETS = [set, OrderedSet]


@pytest.fixture(scope="module")
def library():
    library = Library("proxied", "DEF")
    library.define("op(Tensor x) -> Tensor")
    library.define("op.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)")
    for name, tag in (("fixed", "needs_fixed_stride_order"), ("flexible", "flexible_layout")):
        if hasattr(torch.Tag, tag):
            library.define(f"{name}(Tensor x) -> Tensor", tags=(getattr(torch.Tag, tag),))
    library.define("refused(Tensor x) -> Tensor")
    library.define("lowered(Tensor x) -> Tensor")
    library.define("owned(Tensor x) -> Tensor")
    library.define("owned.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)")
    return library


def constraint(op):
    recorded = lowering._maybe_layout_constraints if SERIES >= (2, 5) else lowering.layout_constraints
    return recorded.get(op)


def untagged_constraint():
    """Return what the implicit fallback records for an op without tags."""
    if SERIES >= (2, 8):
        return lowering.constrain_to_fake_tensors
    return lowering.require_contiguous if SERIES == (2, 6) else None


@pytest.mark.parametrize("kind", INNER_SETS)
def test_ops_of_allowed_namespaces(kind) -> None:
    """They are members, and no others that the inner set has not."""
    proxy = AllowListProxy(kind(NAMES), {"vllm"})
    assert "vllm::all_reduce" in proxy
    assert "vllm::all_reduce.default" in proxy
    assert "aten::index_add" in proxy
    for other in (
        "aten::add",
        "vllm",
        "vllm_aiter::x",
        "vllmx::x",
        "xvllm::x",
        "",
        "::",
        3,
        None,
        ("vllm::x",),
    ):
        assert other not in proxy


def test_an_unhashable_value() -> None:
    """The inner set answers it."""
    with pytest.raises(TypeError):
        assert ["vllm::x"] in AllowListProxy(set(NAMES), {"vllm"})


def test_namespaces_are_asked_every_time() -> None:
    """One that is allowed later counts at once."""
    namespaces = set()
    proxy = AllowListProxy(set(NAMES), namespaces)
    assert "mylib::op" not in proxy
    namespaces.add("mylib")
    assert "mylib::op" in proxy


def test_every_namespace() -> None:
    """``*`` leaves out PyTorch's own."""
    proxy = AllowListProxy(set(NAMES), {"*"})
    assert "anything::op" in proxy
    assert "aten::index_add" in proxy
    for own in ("aten::add", "prims::mul", "inductor::x", "_c10d_functional::all_reduce", "quantized::add"):
        assert own not in proxy


def test_pytorchs_own_namespaces() -> None:
    """They are left out even by name."""
    proxy = AllowListProxy(set(NAMES), {"aten", "prims", "vllm"})
    assert "aten::index_add" in proxy
    assert "aten::add" not in proxy
    assert "prims::mul" not in proxy


@pytest.mark.fresh_process(beside_inductor=True)
def test_the_namespaces_of_pytorch() -> None:
    """The list of them has all that the installed one registers ops in."""
    found = {name.split("::")[0] for name in torch._C._dispatch_get_all_op_names()}
    assert "aten" in found
    assert found <= PYTORCH


@pytest.mark.parametrize("kind", INNER_SETS)
def test_everything_else_is_the_inner_sets(kind) -> None:
    """Whatever a set can do."""
    inner = kind(NAMES)
    proxy: Any = AllowListProxy(inner, {"vllm"})
    other = kind(["aten::index_add", "b::c"])
    assert list(proxy) == list(inner)
    assert len(proxy) == 2
    assert proxy == inner
    assert inner == proxy
    assert (proxy != inner) is False
    assert proxy != other
    for operation in (operator.and_, operator.or_, operator.sub, operator.xor):
        assert operation(proxy, other) == operation(inner, other)
        assert operation(other, proxy) == operation(other, inner)
        assert operation(proxy, proxy) == operation(inner, inner)
        assert type(operation(proxy, other)) is kind
    for comparison in (operator.le, operator.lt, operator.ge, operator.gt):
        assert comparison(proxy, inner) == comparison(inner, inner)
    if hasattr(inner, "__reversed__"):
        assert list(reversed(proxy)) == list(reversed(inner))
    assert not proxy.isdisjoint(other)
    assert proxy.union(other) == inner.union(other)  # an attribute that only the inner set has
    with pytest.raises(AttributeError):
        proxy.no_such_attribute  # noqa: B018
    with pytest.raises(TypeError):
        hash(proxy)


@pytest.mark.parametrize("kind", INNER_SETS)
def test_changes_go_to_the_inner_set(kind) -> None:
    """Other modules may hold that one."""
    inner = kind(NAMES)
    proxy: Any = AllowListProxy(inner, {"vllm"})
    proxy.add("a::b")
    assert "a::b" in inner
    proxy.discard("a::b")
    assert "a::b" not in inner
    with pytest.raises(KeyError):
        proxy.remove("vllm::never_added")
    proxy.update(["vllm::really"])
    assert "vllm::really" in inner
    proxy.remove("vllm::really")
    same = proxy
    same |= {"c::d"}
    assert same is proxy
    assert "c::d" in inner
    same -= {"c::d"}
    same ^= {"e::f"}
    same &= kind([*NAMES, "e::f"])
    assert set(inner) == {*NAMES, "e::f"}
    assert proxy.pop() not in inner
    proxy.clear()
    assert len(inner) == 0


@pytest.mark.parametrize("kind", INNER_SETS)
def test_copies_and_pickles(kind) -> None:
    """They are the inner set's, without us."""
    inner = kind(NAMES)
    proxy: Any = AllowListProxy(inner, {"vllm"})
    for copied in (
        copy.copy(proxy),
        copy.deepcopy(proxy),
        pickle.loads(pickle.dumps(proxy)),
        proxy.copy(),
    ):
        assert type(copied) is kind
        assert copied == inner
        assert copied is not inner
        assert "vllm::x" not in copied


def test_a_proxy_is_never_wrapped_twice() -> None:
    """A second one takes the place of the first."""
    inner = set(NAMES)
    again = AllowListProxy(AllowListProxy(inner, {"a"}), {"b"})
    assert again.inner is inner
    assert "a::x" not in again
    assert "b::x" in again


def test_the_layout_constraint(library) -> None:
    """It is recorded before the proxy says yes."""
    op, out = torch.ops.proxied.op.default, torch.ops.proxied.op.out
    proxy = AllowListProxy(set(NAMES), {"proxied"})
    assert "proxied::op.out" in proxy
    assert constraint(op) is None
    assert constraint(out) is untagged_constraint()
    assert "proxied::op" in proxy
    assert constraint(op) is untagged_constraint()


def test_an_owners_constraint(library) -> None:
    """Where nobody knows which overload is meant, those are whose owner has registered nothing."""
    op, out = torch.ops.proxied.owned.default, torch.ops.proxied.owned.out
    lowering.add_layout_constraint(out, lowering.constrain_to_fx_strides)
    assert "proxied::owned" in AllowListProxy(set(NAMES), {"proxied"})
    assert constraint(out) is lowering.constrain_to_fx_strides
    assert constraint(op) is untagged_constraint()


def test_an_op_that_has_a_lowering(library, monkeypatch) -> None:
    """It is neither counted nor constrained: the allow list may be asked at any time, by anybody."""
    op = torch.ops.proxied.lowered.default
    monkeypatch.setitem(lowering.lowerings, op, print)
    counted = []

    def count(name: str, op: object, *, is_allowed: bool) -> None:
        counted.append(name)

    assert "proxied::lowered" in AllowListProxy(set(NAMES), {"proxied"}, count)
    assert counted == []
    assert constraint(op) is None


@pytest.mark.fresh_process(beside_inductor=True)
@pytest.mark.parametrize("strategy", ["set_proxy", "call_function"])
def test_the_overload_in_turn(strategy) -> None:
    """Only that one is constrained: the constraint of another is its owner's, and has yet to be registered."""
    lowering_hooks.allow("turns")
    assert lowering_hooks.apply(strategy).state == "active"
    library = Library("turns", "DEF")
    for name, schema in (("op", "(Tensor x) -> Tensor"), ("op.other", "(Tensor x, int y) -> Tensor")):
        library.define(name + schema)
        library.impl(name, lambda x, *rest: x.contiguous() * 2, "CPU")
        library.impl(name, lambda x, *rest: x.new_empty(x.shape), "Meta")
    packet = torch.ops.turns.op
    x = torch.randn(4, 6)
    result = torch.compile(lambda x: packet(x.t().sin()) + 1)(x)
    assert torch.allclose(result, x.t().sin() * 2 + 1)
    assert constraint(packet.other) is None

    def owners(node, *args, **kwargs):
        return args, kwargs

    lowering.add_layout_constraint(packet.other, owners)
    torch.compile(lambda x: packet(x.t().cos()) + 2)(x)
    assert constraint(packet.other) is owners
    assert [op.fallbacks for op in lowering_hooks.report().ops] == [1]


@pytest.mark.skipif(SERIES < (2, 5), reason="there is no tag flexible_layout before 2.5")
def test_a_flexible_layout(library) -> None:
    """An op with that tag is given no constraint."""
    assert "proxied::flexible" in AllowListProxy(set(NAMES), {"proxied"})
    assert constraint(torch.ops.proxied.flexible.default) is None


@pytest.mark.skipif(SERIES < (2, 3), reason="there is no tag needs_fixed_stride_order before 2.3")
def test_a_fixed_stride_order(library) -> None:
    """An op with that tag is let in only with its constraint."""
    let_in = "proxied::fixed" in AllowListProxy(set(NAMES), {"proxied"})
    recorded = constraint(torch.ops.proxied.fixed.default)
    if RELEASE.layout_constraint == "on arguments":
        assert not let_in
        assert recorded is None
    else:
        assert let_in
        assert recorded is (None if RELEASE.layout_constraint == "none" else lowering.constrain_to_fx_strides)


def test_an_op_that_has_a_decomposition(library) -> None:
    """It takes Inductor's own way, which may end in an error for it."""
    library.define("decomposed(Tensor x) -> Tensor")
    op = torch.ops.proxied.decomposed.default
    torch._decomp.register_decomposition(op)(lambda x: x * 2)
    assert "proxied::decomposed" not in AllowListProxy(set(NAMES), {"proxied"})
    assert constraint(op) is None
    assert "proxied::decomposed" in AllowListProxy({"proxied::decomposed"}, {"proxied"})


@pytest.mark.fresh_process(beside_inductor=True)
def test_an_op_that_is_refused_is_counted() -> None:
    """An op of an allowed namespace that takes Inductor's own way is a fallback, too, and it is allowed."""
    from lowering_hooks.hooks import allow_list

    allow_list.record_layout_constraints = lambda lowering, ops: False
    lowering_hooks.allow("refused")
    assert lowering_hooks.apply("set_proxy").state == "active"
    library = Library("refused", "DEF")
    library.define("op(Tensor x) -> Tensor")
    library.impl("op", lambda x: x.contiguous() * 2, "CPU")
    library.impl("op", lambda x: x.new_empty(x.shape), "Meta")
    torch.compile(lambda x: torch.ops.refused.op(x.sin()))(torch.randn(4, 6))
    report = lowering_hooks.report()
    assert [(op.op, op.fallbacks) for op in report.ops] == [("refused.op.default", 1)]
    assert report.not_allowed == ()


def test_a_series_that_loses_strides(library, monkeypatch, caplog) -> None:
    """One that is not known to keep them says so once, in one WARNING and in the status."""
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    monkeypatch.delattr(lowering, "tag_to_layout_constraint", raising=False)
    # Another test of this process may have been told already.
    monkeypatch.setattr(lowering_hooks._manager._strategy, "_warned", set())
    lowering_hooks.remove()
    status = lowering_hooks.apply("set_proxy")
    assert status.state == "active"
    assert "no known way to record a layout constraint" in status.reason
    lowering_hooks.remove()
    assert lowering_hooks.apply("set_proxy") == status
    (record,) = [r for r in caplog.records if r.name == "lowering_hooks"]
    assert record.levelname == "WARNING"
    assert "no known way to record a layout constraint" in record.getMessage()
    assert "vllm::op" in lowering.FALLBACK_ALLOW_LIST


def asks_twice_for_the_set_proxy() -> None:
    logging.basicConfig(level=logging.WARNING)
    for _ in range(2):
        assert "needs_fixed_stride_order" in lowering_hooks.apply("set_proxy").reason
        lowering_hooks.remove()


@pytest.mark.skipif(
    RELEASE.layout_constraint != "on arguments",
    reason="this series lets every allowed op in, constraint kept",
)
def test_a_series_that_refuses_tagged_ops(run_beside_inductor) -> None:
    """It says so once."""
    done = run_beside_inductor(asks_twice_for_the_set_proxy)
    assert done.stderr.count("needs_fixed_stride_order") == 1
    assert "WARNING:lowering_hooks:" in done.stderr


def test_implicit_fallbacks_off(library) -> None:
    """Nothing is let in then but what the inner set has."""
    proxy = AllowListProxy({"proxied::listed"}, {"proxied"})
    with config.patch(implicit_fallbacks=False):
        assert "proxied::refused" not in proxy
        assert "proxied::listed" in proxy
    assert constraint(torch.ops.proxied.refused.default) is None


def test_an_entry_of_the_inner_set(library) -> None:
    """It is given no constraint, as in stock."""
    assert "proxied::refused" in AllowListProxy({"proxied::refused"}, {"proxied"})
    assert constraint(torch.ops.proxied.refused.default) is None


def test_no_constraint_no_entry(library, monkeypatch, caplog) -> None:
    """An op whose constraint cannot be recorded is not let in, and one WARNING names it."""

    def fail(op):
        raise RuntimeError("no such tag")

    monkeypatch.setattr("lowering_hooks.hooks.layout_constraints._layout_rule", lambda lowering: fail)
    proxy = AllowListProxy(set(NAMES), {"proxied"})
    assert "proxied::refused" not in proxy
    assert "proxied::refused" not in proxy
    (record,) = [r for r in caplog.records if r.name == "lowering_hooks"]
    assert record.levelname == "WARNING"
    assert "proxied::refused" in record.getMessage()


def test_a_lowering_that_is_not_loaded(stand) -> None:
    """There is nothing to record then."""
    proxy = AllowListProxy(set(), {"lib"})
    purge("torch._inductor.lowering")
    assert "lib::op" in proxy


def test_a_count_that_fails(stand) -> None:
    """The allow list answers all the same."""
    asked = []

    def count(name: str, op: object, *, is_allowed: bool) -> None:
        asked.append((name, is_allowed))
        raise RuntimeError("no count")

    op = stand.torch.ops.lib.op.default
    stand.virtualized.V.graph = types.SimpleNamespace(current_node=types.SimpleNamespace(target=op))
    assert "lib::op" not in AllowListProxy(set(), set(), count)
    assert asked == [("lib::op", False)]


def test_a_removed_proxy_counts_nothing(stand) -> None:
    """Somebody may still hold it."""
    manager = Manager(Settings())
    manager.apply("set_proxy")
    proxy = stand.lowering.FALLBACK_ALLOW_LIST
    op = stand.torch.ops.lib.op.default
    stand.virtualized.V.graph = types.SimpleNamespace(current_node=types.SimpleNamespace(target=op))
    assert "lib::op" not in proxy
    assert [op.fallbacks for op in manager.report().ops] == [1]
    manager.remove()
    assert "lib::op" not in proxy
    assert [op.fallbacks for op in manager.report().ops] == [1]


def test_a_proxy_that_is_not_made_yet() -> None:
    """It has no inner set whose attributes it could hand on, as while it is copied or unpickled."""
    proxy = AllowListProxy.__new__(AllowListProxy)
    assert not hasattr(proxy, "inner")


def test_the_text_of_a_proxy() -> None:
    """It has that of the inner set."""
    assert repr(AllowListProxy({"lib::op"}, set())) == "AllowListProxy({'lib::op'})"


def test_both_modules_hold_one_proxy() -> None:
    """They get back their set when we go."""
    lowering_hooks.remove()
    graph = torch._inductor.graph
    before = lowering.FALLBACK_ALLOW_LIST
    assert lowering_hooks.apply("set_proxy").state == "active"
    assert type(lowering.FALLBACK_ALLOW_LIST) is AllowListProxy
    assert graph.FALLBACK_ALLOW_LIST is lowering.FALLBACK_ALLOW_LIST
    assert lowering_hooks.apply("set_proxy").state == "active"
    assert lowering.FALLBACK_ALLOW_LIST.inner is before
    proxy = lowering.FALLBACK_ALLOW_LIST
    assert "vllm::nothing" in proxy
    assert lowering_hooks.remove().state == "removed"
    assert graph.FALLBACK_ALLOW_LIST is before
    assert lowering.FALLBACK_ALLOW_LIST is before
    assert "vllm::nothing" not in proxy  # should somebody still hold it
    assert "vllm::nothing" not in before


def test_a_set_that_was_put_over_the_proxy() -> None:
    """It stays, and is wrapped where we are applied again."""
    graph = torch._inductor.graph
    lowering_hooks.remove()
    before = lowering.FALLBACK_ALLOW_LIST
    lowering_hooks.apply("set_proxy")

    class Theirs:
        def __init__(self, inner):
            self.inner = inner

        def __contains__(self, name):
            return name in self.inner

    theirs = Theirs(lowering.FALLBACK_ALLOW_LIST)
    lowering.FALLBACK_ALLOW_LIST = graph.FALLBACK_ALLOW_LIST = theirs
    try:
        status = lowering_hooks.status()
        assert status.state == "displaced"
        assert "Theirs" in status.reason
        assert lowering_hooks.remove().state == "removed"
        assert lowering.FALLBACK_ALLOW_LIST is theirs
        assert "vllm::nothing" not in theirs
        assert next(iter(before)) in theirs
        lowering_hooks.apply("set_proxy")
        assert lowering.FALLBACK_ALLOW_LIST.inner is theirs
        lowering_hooks.remove()
        assert lowering.FALLBACK_ALLOW_LIST is theirs
    finally:
        lowering.FALLBACK_ALLOW_LIST = graph.FALLBACK_ALLOW_LIST = before
