"""The proxy of the allow list on a stand-in for Inductor; test_set_proxy.py has that of PyTorch's own sets."""

from __future__ import annotations

import operator
import sys
import types

import pytest

from lowering_hooks.hooks.allow_list import AllowListProxy, inner_of, is_proxy

BINARY = ("eq", "ne", "le", "lt", "ge", "gt", "and_", "or_", "sub", "xor")
REFLECTED = ("and_", "or_", "sub", "xor")
IN_PLACE = ("iand", "ior", "isub", "ixor")


class Odd(set):
    """A set that answers each operation in its own way."""


def _answer(name):
    return lambda self, other: (name, other)


for _name in [*BINARY, *(f"r{name}" for name in REFLECTED), *IN_PLACE]:
    setattr(Odd, f"__{_name.rstrip('_')}__", _answer(_name))
Odd.__hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", BINARY)
def test_operators_are_the_inner_sets(name) -> None:
    """The inner set is given what is compared or joined with it, of a proxy the set inside."""
    proxy, other = AllowListProxy(Odd(), {"lib"}), AllowListProxy({"a"}, {"lib"})
    assert getattr(operator, name)(proxy, 3) == (name, 3)
    answer, given = getattr(operator, name)(proxy, other)
    assert answer == name
    assert given is other.inner


@pytest.mark.parametrize("name", REFLECTED)
def test_operators_from_the_right(name) -> None:
    """They are the inner set's as well."""
    assert getattr(operator, name)(3, AllowListProxy(Odd(), {"lib"})) == (f"r{name}", 3)


@pytest.mark.parametrize("name", IN_PLACE)
def test_operators_in_place(name) -> None:
    """They leave the proxy in its place, and what the inner set answers in it."""
    proxy = before = AllowListProxy(Odd(), {"lib"})
    proxy = getattr(operator, name)(proxy, 3)
    assert proxy is before
    assert type(proxy.inner) is tuple
    assert proxy.inner == (name, 3)


def test_what_else_a_set_has() -> None:
    """It is the inner set's, too."""
    proxy = AllowListProxy({"a"}, {"lib"})
    assert repr(proxy) == "AllowListProxy({'a'})"
    assert [proxy.isdisjoint(other) for other in ({"a"}, {"b"}, proxy)] == [False, True, False]
    with pytest.raises(TypeError, match="unhashable"):
        hash(proxy)
    assert proxy.pop() == "a"
    assert len(proxy) == 0


def test_a_proxy_that_was_never_made() -> None:
    """It has no attribute, as copy and pickle may ask it."""
    proxy = AllowListProxy.__new__(AllowListProxy)
    for name in ("inner", "union"):
        with pytest.raises(AttributeError):
            getattr(proxy, name)


def test_what_is_a_proxy() -> None:
    """Its type says so."""
    proxy = AllowListProxy({"a"}, {"lib"})
    assert is_proxy(proxy) is True
    assert inner_of(proxy) == {"a"}
    for other in ({"a"}, types.SimpleNamespace(_lowering_hooks_proxy=True, inner={"b"}), None):
        assert is_proxy(other) is False
        assert inner_of(other) is other


# --- ops that are lowered ----------------------------------------------------------------------------------------


class Asked:
    """A proxy around the allow list of the stand-in, and what it told of."""

    def __init__(self, stand, inner=None) -> None:
        self.stand = stand
        self.op = stand.torch.ops.lib.op.default
        self.told: list[tuple[str, object, bool]] = []
        self.proxy = AllowListProxy(
            stand.lowering.FALLBACK_ALLOW_LIST if inner is None else inner, {"lib"}, self.note
        )
        self.lower(self.op)

    def note(self, name, op, *, is_allowed) -> None:
        self.told.append((name, op, is_allowed))

    def lower(self, target) -> None:
        node = types.SimpleNamespace(target=target, name="node", meta={})
        self.stand.virtualized.V.graph = types.SimpleNamespace(current_node=node)

    def constraints(self):
        return self.stand.lowering._maybe_layout_constraints


@pytest.fixture
def asked(stand, caplog):
    """The proxy, which nothing fails in that is only told at DEBUG."""
    caplog.set_level("DEBUG", "lowering_hooks")
    yield Asked(stand)
    assert [record.getMessage() for record in caplog.get_records("call")] == []


def test_an_op_that_is_allowed(asked) -> None:
    """Its constraint is recorded, and it is told of."""
    assert "lib::op" in asked.proxy
    assert asked.told == [("lib::op", asked.op, True)]
    assert asked.constraints() == {asked.op: "constraint for exact strides"}


def test_an_op_that_has_a_lowering(asked) -> None:
    """It is admitted without either."""
    asked.stand.lowering.lowerings[asked.op] = "a lowering"
    assert "lib::op" in asked.proxy
    assert (asked.told, asked.constraints()) == ([], {})


def test_nobody_is_told(asked) -> None:
    """The answers are the same."""
    other = asked.stand.torch.ops.other.op.default
    proxy = AllowListProxy(asked.proxy, {"lib"})
    assert "lib::op" in proxy
    asked.lower(other)
    assert "other::op" not in proxy
    assert asked.told == []


def test_an_op_that_is_not_allowed(asked) -> None:
    """It is told of where Inductor is about to make a fallback of it."""
    other = asked.stand.torch.ops.other.op.default
    asked.lower(other)
    assert "other::another" not in asked.proxy
    assert asked.told == []
    assert "other::op" not in asked.proxy
    assert asked.told == [("other::op", other, False)]
    asked.stand.lowering.lowerings[other] = "a lowering"
    assert "other::op" not in asked.proxy
    del asked.stand.lowering.lowerings[other]
    asked.stand.lowering.config.implicit_fallbacks = False
    assert "other::op" not in asked.proxy
    assert len(asked.told) == 1


def test_implicit_fallbacks_are_off(asked) -> None:
    """No op is admitted, as in stock."""
    asked.stand.lowering.config.implicit_fallbacks = False
    assert "lib::op" not in asked.proxy
    assert (asked.told, asked.constraints()) == ([], {})


def test_an_entry_of_the_set_itself(asked) -> None:
    """Stock gives it no constraint, and nobody is told."""
    asked.lower(asked.stand.torch.ops.lib.listed.default)
    assert "lib::listed" in asked.proxy
    assert (asked.told, asked.constraints()) == ([], {})


class VLLMs(set):
    """vLLM's own proxy, as far as it says yes."""

    _vllm_patched = True

    def __contains__(self, name: object) -> bool:
        return str(name).startswith("lib::")


def test_vllms_proxy_inside(stand) -> None:
    """What it says yes to gets its constraint, where one would be given."""
    asked = Asked(stand, VLLMs())
    assert "lib::op" in asked.proxy
    assert asked.constraints() == {asked.op: "constraint for exact strides"}
    assert asked.told == [("lib::op", asked.op, True)]
    stand.lowering.config.implicit_fallbacks = False
    assert "lib::another" in asked.proxy, "it says yes all the same"


def test_an_op_whose_constraint_is_no_ops(asked) -> None:
    """Where it can only be kept by Inductor's own way, the op takes that, and is told of as the others."""
    stand = asked.stand
    del stand.lowering.tag_to_layout_constraint
    stand.torch.__version__ = "2.4.1"
    stand.torch.Tag = types.SimpleNamespace(needs_fixed_stride_order="fixed")
    asked.op.tags = {"fixed"}
    assert "lib::op" not in asked.proxy
    assert asked.told == [("lib::op", asked.op, True)]


def test_without_a_lowering_module(stand, monkeypatch) -> None:
    """There is nothing to record a constraint with, and nothing is counted."""
    asked = Asked(stand)
    monkeypatch.delitem(sys.modules, "torch._inductor.lowering")
    assert "lib::op" in asked.proxy
    assert "other::op" not in asked.proxy
    assert asked.told == []


def test_a_constraint_that_cannot_be_recorded(stand, caplog) -> None:
    """The op takes Inductor's own way; one WARNING says so, with the error."""
    asked = Asked(stand)

    def add_layout_constraint(op, constraint):
        raise ZeroDivisionError("on purpose")

    stand.lowering.add_layout_constraint = add_layout_constraint
    for _ in range(2):
        assert "lib::op" not in asked.proxy
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "could not record the layout constraint of lib::op" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert asked.told == [("lib::op", asked.op, True)] * 2
