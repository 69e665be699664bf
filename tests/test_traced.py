"""The public functions in code that Dynamo traces: they change neither its graph nor how often it is compiled."""

from __future__ import annotations

import traceback

import pytest
import torch
import torch._dynamo

from lowering_hooks import allow, allowed_namespaces, allowing, disallow

BEFORE = allowed_namespaces()
BLOCK = allowing("traced")


def plain(x):
    return torch.relu(x * 2) + 1


def allows(x):
    allow("traced", "other")
    y = torch.relu(x * 2)
    disallow("other")
    return y + 1


def in_a_block(x):
    with allowing("traced") as names:
        y = torch.relu(x * 2)
    assert names is None or "traced" in names
    return y + 1


@allowing("traced")
def decorated(x):
    return torch.relu(x * 2) + 1


class Forward(torch.nn.Module):
    @allowing("traced")
    def forward(self, x):
        return torch.relu(x * 2) + 1


class ByKeyword(torch.nn.Module):
    @allowing("traced")
    def added(self, x, *, one):
        return torch.relu(x * 2) + one

    def forward(self, x):
        return self.added(x, one=1)


@pytest.fixture(autouse=True)
def forgotten():
    """Dynamo knows none of these functions, and none of these namespaces is allowed."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    disallow("traced", "other")


def compiled(function, *, whole=True):
    """Compile ``function`` with a backend that keeps what each graph calls, and return both."""
    graphs: list[list[str]] = []

    def backend(module, inputs):
        graphs.append([str(node.target) for node in module.graph.nodes if node.op.startswith("call")])
        return module.forward

    return torch._dynamo.optimize(backend, nopython=whole)(function), graphs


def calls_in(function):
    """Compile ``function`` as a whole, call it twice, and return what the one graph calls."""
    run, graphs = compiled(function)
    for _ in range(2):
        assert torch.equal(run(torch.ones(3)), torch.full((3,), 3.0))
    (calls,) = graphs
    return calls


@pytest.mark.parametrize("function", [allows, in_a_block, decorated, Forward(), ByKeyword()])
def test_the_graph_is_the_same(function) -> None:
    """It is compiled once, as a whole, to what it is without a word of lowering-hooks in it."""
    expected = calls_in(plain)
    torch._dynamo.reset()
    assert len(expected) == 3
    assert calls_in(function) == expected


def test_allowed_while_traced() -> None:
    """What a compiled function allows is allowed before its graph is lowered, and what it disallows is not."""
    calls_in(allows)
    assert allowed_namespaces() == BEFORE | {"traced"}


def test_a_block_does_not_outlast_a_trace() -> None:
    """A block that is traced allows nothing, then or later."""
    calls_in(in_a_block)
    calls_in(decorated)
    assert allowed_namespaces() == BEFORE


def test_a_block_around_the_call() -> None:
    """It holds while the function is compiled."""
    seen = []

    def backend(module, inputs):
        seen.append(allowed_namespaces())
        return module.forward

    with allowing("traced"):
        torch._dynamo.optimize(backend)(plain)(torch.ones(3))
    assert seen == [BEFORE | {"traced"}]


def breaks_in_a_block(x):
    with allowing("traced"):
        y = torch.relu(x * 2)
        torch._dynamo.graph_break()
        return y + 1


def in_a_block_made_before(x):
    with BLOCK as names:
        y = torch.relu(x * 2)
    return y + (1 if "traced" in names else 2)


@pytest.mark.parametrize("function", [breaks_in_a_block, in_a_block_made_before])
def test_what_cannot_be_one_graph(function) -> None:
    """It runs, and no block stays open."""
    run, _ = compiled(function, whole=False)
    for _ in range(2):
        assert torch.equal(run(torch.ones(3)), torch.full((3,), 3.0))
        assert allowed_namespaces() == BEFORE


def test_the_names_of_others_stay() -> None:
    """Dynamo keeps constants among the globals of who is compiled: they take the place of nothing there."""
    # Dynamo makes some of its own, and takes them away again.
    before = {name: value for name, value in globals().items() if not name.startswith("__")}
    calls_in(allows)
    calls_in(in_a_block)
    assert {name: globals()[name] for name in before} == before


def test_a_name_that_is_none() -> None:
    """It is named, in whatever error Dynamo makes of that one."""

    def wrong(x):
        allow("a b")
        return x + 1

    with pytest.raises(Exception) as raised:  # noqa: PT011
        compiled(wrong)[0](torch.ones(3))
    assert "invalid namespace 'a b'" in "".join(traceback.format_exception(raised.value))
    assert allowed_namespaces() == BEFORE
