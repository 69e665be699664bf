"""The graph behind an op's arguments: every node once, linear, and nothing but a look."""

from __future__ import annotations

import functools
import re
import types
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import SERIES
from lowered import arguments_of, chain, op
from torch._inductor import ir, lowering

import lowering_hooks
from lowering_hooks.describe.graph import extent_text, graph_text
from lowering_hooks.describe.op import operator_text
from lowering_hooks.inductor.graph import reachable


@pytest.fixture(autouse=True)
def bounded_errors() -> None:
    """The compiles below end in an error, whose message would not end without us."""
    lowering_hooks.apply("call_function")
    lowering_hooks.allow("described")


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


def test_order() -> None:
    """Each node has one line, which stands after the lines of its producers."""
    _, model = chain(3)
    text = arguments_of(model, torch.randn(4, 6), look=lambda _, args, kwargs: graph_text(args, kwargs))
    assert text.splitlines()[0] == "  behind them 9 nodes, 3 kernels deep, producers first:"
    seen: set[str] = set()
    for line in text.splitlines()[1:]:
        name, _, rest = line.strip().partition(" ")
        assert name not in seen
        if "from=[" in rest:
            assert {*rest.partition("from=[")[2].partition("]")[0].split(", ")} <= seen
        seen.add(name)
    assert "cycle" not in text


def test_length() -> None:
    """The text grows linearly with the depth of the model."""

    def lines(depth: int) -> int:
        _, model = chain(depth)
        return arguments_of(
            model, torch.randn(4, 6), look=lambda _, args, kwargs: len(graph_text(args, kwargs).splitlines())
        )

    ten, twenty, hundred = lines(10), lines(20), lines(100)
    assert twenty - ten == 30  # a kernel with two outputs a layer
    assert hundred - ten == 270


def test_a_line() -> None:
    """A line names the op, the sizes, the operands and the line of the model."""
    two, model = chain(2)
    text = arguments_of(model, torch.randn(4, 6), look=lambda _, args, kwargs: graph_text(args, kwargs))
    kernel = next(line for line in text.splitlines() if "FallbackKernel" in line)
    output = next(line for line in text.splitlines() if "MultiOutput(" in line)
    assert f"op={two}" in kernel
    assert "from=[arg0_1]" in kernel
    for part in ("from=[buf0]", "dtype=torch.float32", "size=[4, 6]", "stride=[6, 1]", "device=cpu"):
        assert part in output
    if "at=" in text:  # as far as Inductor recorded it
        assert "lowered.py:" in kernel


def test_the_line_of_an_output() -> None:
    """An output stands at the model's line of its own op, not at that of its first user."""
    two, _ = chain(1)
    handed_on = op("(Tensor x) -> Tensor", lambda x: x.new_empty(x.shape))
    # As that of wait_tensor: what comes back is the buffer that went in.
    lowering.register_lowering(handed_on, type_promotion_kind=None)(lambda x: x)

    def model(late, x):
        first, second = two(x, x)
        first = handed_on(first)
        second = second + 1
        return late(first, second)

    text = arguments_of(
        model,
        torch.randn(4, 6),
        schema="(Tensor x, Tensor y) -> Tensor",
        look=lambda _, args, kwargs: graph_text(args, kwargs),
    )
    made = [line for line in text.splitlines() if "FallbackKernel(" in line or "MultiOutput(" in line]
    assert len(made) == 3
    lines = {place.rpartition(":")[2] for place in made}
    if SERIES == (2, 0):  # which knows only where the outermost function was called
        assert len(lines) == 1
    else:
        assert lines == {f"{model.__code__.co_firstlineno + 1})"}
    assert all(f"op={two}" in place for place in made)


def test_an_unrealized_computation() -> None:
    """The text reaches the buffers that an unrealized computation reads."""

    def look(late, args, kwargs):
        return graph_text(args, kwargs)

    text = arguments_of(lambda late, x: late(torch.sin(x).t() + 1), torch.randn(4, 6), look=look)
    assert "arg0_1 InputBuffer" in text
    assert "Pointwise(from=[" in text


def test_extent() -> None:
    """The text of the arguments says how much IR is behind them."""

    def look(late, args, kwargs):
        return extent_text(args, kwargs)

    _, model = chain(20)
    text = arguments_of(model, torch.randn(4, 6), look=look)
    assert text.endswith(" nodes, 20 kernels deep; LOWERING_HOOKS_DETAIL=graph shows them")
    assert arguments_of(lambda late, x: late(x), torch.randn(4, 6), look=look) == ""
    assert extent_text([1, "a"], {}) == ""


def test_an_error_behind_many_layers() -> None:
    """An error behind many layers names the op and the cause."""
    late = []

    def look(op, args, kwargs):
        late.append(op)
        raise ArithmeticError("on purpose")

    _, model = chain(60)
    with pytest.raises(Exception, match="on purpose") as raised:
        arguments_of(model, torch.randn(4, 6), look=look)
    message = str(raised.value)
    assert len(message) < 8000
    assert message.index("on purpose") < message.index(f"target: {late[0]}")
    assert "60 kernels deep" in message
    at = re.search(r"^  node: \S+ of graph \d+ at (.+):\d+$", message, re.MULTILINE)
    assert at is not None
    assert at[1].endswith("lowered.py")


# --- stand-ins for IR, of classes that no Inductor has -------------------------------------------------------


texts_asked_for: list[type] = []


class Node(ir.IRNode):
    def __init__(self, name: str | None = None, **fields: object) -> None:
        self.name = name
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        texts_asked_for.append(type(self))
        return type(self).__name__

    __str__ = __repr__
    __hash__ = object.__hash__  # a dataclass takes it away


def test_where_ir_is_found() -> None:
    """The walk finds IR in containers, closures, partials and layouts."""
    held = [Node(f"held{i}") for i in range(9)]

    def reads(index, default=held[0]):
        return held_by_cell

    held_by_cell = held[1]
    layout = object.__new__(type("NewLayout", (), {"__module__": "torch._inductor.ir"}))
    layout.target = held[2]
    node = Node(
        "node",
        inner_fn=reads,
        partial=functools.partial(print, held[3], key=held[4]),
        layout=layout,
        lists=[(held[5], {"k": {held[6]}})],
        method=types.MethodType(print, held[7]),
        outputs=[held[8]],  # what it makes, not what it is made of
    )
    found = {n.name for n in reachable([node]).nodes}
    assert found == {"node", *(f"held{i}" for i in range(8))}


def test_a_cycle() -> None:
    """Each node of a cycle is written once, and the operand that closes the cycle is marked."""
    first, second = Node("first"), Node("second")
    first.inputs, second.inputs = [second], [first]
    text = graph_text([first], {})
    assert sorted(names(text)) == ["first", "second"]
    assert text.count("(a cycle)") == 1
    alone = Node("alone")
    alone.inputs = [alone]
    assert "from=[alone (a cycle)]" in graph_text([alone], {})


def test_a_kernel_with_other_origins() -> None:
    """A kernel that has the origins of its arguments, too, stands at the line of its own op."""

    def origin(target, line):
        return types.SimpleNamespace(
            name=target, target=target, meta={"stack_trace": f'File "model.py", line {line}, in f'}
        )

    of_argument, own = origin("add", 1), origin("late", 2)
    for origins in ([of_argument, own], [own, of_argument]):
        kernel = Node("kernel", op_overload="late", origins=origins, origin_node=None)
        output = type("MultiOutput", (Node,), {})(
            "output", inputs=[kernel], origins=origins, origin_node=None
        )
        assert graph_text([output], {}).count("at=model.py:2)") == 2


def test_a_limit() -> None:
    """A limit keeps the nearest nodes, and the text says that there are more."""
    node = Node("n0")
    for i in range(1, 50):
        node = Node(f"n{i}", inputs=[node])
    text = graph_text([node], {}, limit=10)
    assert "more than 10 nodes" in text
    assert "... more, farther than the nearest 10" in text
    assert names(text)[1:] == [f"n{i}" for i in range(40, 50)]
    assert "from=[...]" in text


def test_one_node_and_one_kernel() -> None:
    """The text counts one node and one kernel in the singular."""
    argument = Node("argument")
    assert "  behind them 1 node, 0 kernels deep, " in graph_text([argument], {})
    kernel = Node("kernel", inputs=[argument])
    assert "  behind them 2 nodes, 1 kernel deep; " in extent_text([kernel], {})
    assert "  behind them more than 1 node, at least 1 kernel deep, " in graph_text([kernel], {}, limit=1)


def test_extent_is_bounded() -> None:
    """The walk counts the nodes behind the arguments only up to a bound, which the text names."""
    node = Node("n0")
    for i in range(1, 3000):
        node = Node(f"n{i}", inputs=[node])
    assert extent_text([node], {}).startswith(
        "  behind them more than 2,000 nodes, at least 2,000 kernels deep; "
    )


def test_the_advice_can_be_left_out() -> None:
    """A caller can leave out the advice how to see the nodes."""
    node = Node("kernel", inputs=[Node("argument")])
    assert extent_text([node], {}, advise=False) == "  behind them 2 nodes, 1 kernel deep"
    assert extent_text([node], {}) == (
        "  behind them 2 nodes, 1 kernel deep; LOWERING_HOOKS_DETAIL=graph shows them"
    )


def test_a_line_of_thousands_of_nodes() -> None:
    """The walk over thousands of nodes in a line does not recurse."""
    node = Node("n0")
    for i in range(1, 5000):
        node = Node(f"n{i}", inputs=[node])
    assert len(graph_text([node], {}).splitlines()) == 5001


class Hostile(Node):
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def get_size(self) -> object:
        raise RuntimeError("no size")

    get_dtype = get_device = get_size


class Lying(Node):
    def __getattribute__(self, name: str) -> object:
        if name.startswith("__"):
            return super().__getattribute__(name)
        return "\x1b[2J\n" * 1000


HELD = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.just("x" * 1_000_000)
    | st.just(torch.float16)
    | st.builds(object)
)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Nodes that hold each other at will: shared, in cycles, through containers and closures."""
    kinds = draw(st.lists(st.sampled_from([Node, Hostile, Lying]), min_size=1, max_size=25))
    nodes = [kind(draw(st.sampled_from([None, f"buf{i}", f"buf{i}\n"]))) for i, kind in enumerate(kinds)]
    for node in nodes:
        operands = draw(st.lists(st.sampled_from(nodes), max_size=4))
        other = draw(st.lists(HELD, max_size=3))
        how = draw(st.sampled_from(["list", "dict", "closure", "deep"]))
        held: Any = [*operands, *other]
        if how == "dict":
            held = dict(enumerate(held))
        elif how == "closure":
            held = lambda held=held: held  # noqa: E731
        elif how == "deep":
            for _ in range(200):
                held = [held]
        node.__dict__["inputs"] = held
    return nodes


def fingerprint(nodes: list[Node]) -> list[object]:
    return [(id(n), {k: id(v) for k, v in object.__getattribute__(n, "__dict__").items()}) for n in nodes]


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 30))
def test_any_graph(nodes, limit) -> None:
    """Over any graph the text raises nothing, changes nothing and is bounded."""
    before = fingerprint(nodes), len(texts_asked_for)
    args, kwargs = nodes[:3], {"more": nodes[3:]}
    graph = reachable([args, kwargs], limit)
    text = graph_text(args, kwargs, limit)
    assert len({id(node) for node in graph.nodes}) == len(graph.nodes) == min(limit, len(nodes))
    assert graph.cut is (len(nodes) > limit)
    assert "could not be described" not in text
    assert len(text.splitlines()) == len(graph.nodes) + 1 + graph.cut
    assert all(len(line) <= 700 for line in text.splitlines())
    assert "\x1b" not in text
    assert len(operator_text("op", args, kwargs)) < 4096
    assert "nodes" in extent_text(args, kwargs) or len(nodes) <= 3
    assert (fingerprint(nodes), len(texts_asked_for)) == before
