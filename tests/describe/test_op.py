"""The bounded text: what it names, what bounds it, what it leaves alone."""

from __future__ import annotations

import collections
import re
import sys
import types
from typing import Any

import pytest
import sympy
import torch
from lowered import arguments_of, chain, stock
from torch._dynamo.source import ConstantSource
from torch._inductor.virtualized import V
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.immutable_collections import immutable_dict, immutable_list

from lowering_hooks.describe import clipping, op, value
from lowering_hooks.describe.graph import graph_text
from lowering_hooks.describe.op import operator_text

try:
    from torch.fx.experimental.symbolic_shapes import DimDynamic
except ImportError:  # before 2.1, where every symbol is dynamic
    DYNAMIC = {}
else:
    DYNAMIC = {"dynamic_dim": DimDynamic.DYNAMIC}

# Two lines of a list's end and a line that counts what was left out may follow the last full line.
CEILING = op.MAX_CHARACTERS + clipping.MAX_LINE_CHARACTERS


def test_what_it_names() -> None:
    """The text names the op, and of each argument the buffer, size, stride, dtype and device."""
    two, model = chain(3)
    shown = arguments_of(model, torch.randn(4, 6), look=operator_text)
    head, line = shown.splitlines()
    assert head.startswith("  target: described.op")
    assert line.startswith("  args[0]: buf")
    for part in (
        "MultiOutput",
        "dtype=torch.float32",
        "size=[4, 6]",
        "stride=[6, 1]",
        "device=cpu",
        f"op={two}",
        "origins=[",
    ):
        assert part in line


def test_length() -> None:
    """The length of the text does not depend on the depth of the model."""

    def both(late, args, kwargs):
        own = stock(torch._inductor.exc.OperatorIssue.operator_str, "other", args, kwargs)
        return operator_text(late, args, kwargs), len(own)

    (shallow, stock_shallow), (deep, stock_deep) = (
        arguments_of(chain(depth)[1], torch.randn(4, 6), look=both) for depth in (4, 10)
    )
    assert len(deep) <= len(shallow) + 8  # a digit more here and there
    assert stock_deep > 32 * stock_shallow


def test_views_and_computations() -> None:
    """The text describes views and unrealized computations."""
    shown = arguments_of(
        lambda late, x: late((torch.sin(x).t() + 1).t()), torch.randn(4, 6), look=operator_text
    )
    assert "Pointwise(dtype=torch.float32, size=[4, 6], device=cpu" in shown
    assert "stride" not in shown  # not decided yet
    shown = arguments_of(lambda late, x: late(x.t()), torch.randn(4, 6), look=operator_text)
    assert "ReinterpretView of InputBuffer" in shown
    assert "size=[6, 4], stride=[1, 6]" in shown


def look_without_a_guard(late, args, kwargs):
    guards = V.graph.sizevars.shape_env.guards
    before = list(guards)
    shown = operator_text(late, args, kwargs)
    assert list(guards) == before
    return shown


TWO = "(Tensor x, Tensor y) -> Tensor"


@pytest.mark.parametrize(
    "model", [lambda late, x: late(x[0:2], x[2:4]), lambda late, x: late(*(x @ x.t()).split(2))]
)
def test_offsets_of_views(model) -> None:
    """The text tells two views apart that differ in nothing but their offset."""

    def look(late, args, kwargs):
        return operator_text(late, args, kwargs), graph_text(args, kwargs)

    shown, graph = arguments_of(model, torch.randn(4, 4), schema=TWO, look=look)
    _, first, second = shown.splitlines()
    assert "offset" not in first
    assert "stride=[4, 1], offset=8, device" in second
    assert second.replace("offset=8, ", "").partition(": ")[2] == first.partition(": ")[2]
    assert graph.count("offset=") == graph.count("offset=8, ") == 1


def test_a_symbolic_offset() -> None:
    """A symbolic offset is written, and adds no guard."""
    shown = arguments_of(
        lambda late, x: late(x[0:3], x[x.shape[0] - 3 :]),
        torch.randn(9, 6),
        schema=TWO,
        look=look_without_a_guard,
        dynamic=True,
    )
    _, first, second = shown.splitlines()
    assert "offset" not in first
    assert re.search(r"offset=s\d+\*\(s\d+ - 3\)", second)


class NoTruth:
    """Stands for a symbolic number: any question about its value would be a guard."""

    def __bool__(self):
        raise AssertionError("asked for its value")

    __eq__: Any
    __ne__: Any
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__
    __add__ = __radd__ = __sub__ = __mul__ = __bool__
    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (0, None),
        (sympy.Integer(0), None),
        (None, None),
        (3, "offset=3"),
        (sympy.Integer(3), "offset=3"),
        (NoTruth(), "offset=<NoTruth>"),
        (sympy.Symbol("s0"), "offset=s0"),
    ],
)
def test_no_offset(offset, expected) -> None:
    """The text leaves an offset out only where it is the number 0."""
    view = object.__new__(torch._inductor.ir.ReinterpretView)
    view.__dict__["layout"] = types.SimpleNamespace(offset=offset)
    shown = operator_text("op", [view], {})
    assert expected in shown if expected else "offset" not in shown


def test_symbolic_sizes() -> None:
    """Symbolic sizes are written, and add no guard."""
    shown = arguments_of(
        lambda late, x: late(x.sin(), x.shape[0] * 2, [x.shape[1], 3]),
        torch.randn(5, 7),
        schema="(Tensor x, SymInt n, SymInt[] m) -> Tensor",
        look=look_without_a_guard,
        dynamic=True,
    )
    _, tensor, number, numbers = shown.splitlines()
    assert "size=[s" in tensor
    assert number.startswith("  args[1]: 2*s")
    assert numbers.startswith("  args[2]: [s")
    assert numbers.endswith(", 3]")


def test_a_symint() -> None:
    """A SymInt or SymBool is written as its expression, which adds no guard."""
    env = ShapeEnv()
    symbol = env.create_symbol(5, ConstantSource("n"), **DYNAMIC)
    backed = env.create_symintnode(symbol, hint=5)
    unbacked = env.create_unbacked_symint()
    backed_bool, unbacked_bool = backed > 3, unbacked > 3
    assert isinstance(backed, torch.SymInt)
    shown = operator_text("op", [backed, unbacked, backed_bool, unbacked_bool, [backed, 3]], {"n": backed})
    assert env.guards == []
    assert shown.splitlines()[1:] == [
        f"  args[0]: {symbol}",
        f"  args[1]: {unbacked.node._expr}",
        f"  args[2]: {symbol} > 3",
        f"  args[3]: {unbacked.node._expr} > 3",
        f"  args[4]: [{symbol}, 3]",
        f"  kwargs['n']: {symbol}",
    ]
    assert bool(backed_bool)  # and this is what adds one
    assert len(env.guards) == 1


def test_plain_arguments() -> None:
    """Plain arguments are written as they are."""
    shown = operator_text(
        "op",
        (
            *(1, 2.5, "a\nb", None, True, torch.float16, [1, 2], (), {"k": 3}, slice(1, None), b"c"),
            *(2j, range(3), torch.device("cpu"), torch.strided, torch.channels_last),
            *(torch.ops.aten.sin.default, torch.Size([4]), {5}),
        ),
        {"flag": False},
    )
    assert shown.splitlines() == [
        "  target: op",
        "  args[0]: 1",
        "  args[1]: 2.5",
        "  args[2]: 'a\\nb'",
        "  args[3]: None",
        "  args[4]: True",
        "  args[5]: torch.float16",
        "  args[6]: [1, 2]",
        "  args[7]: ()",
        "  args[8]: {'k': 3}",
        "  args[9]: slice(1, None, None)",
        "  args[10]: b'c'",
        "  args[11]: 2j",
        "  args[12]: range(0, 3)",
        "  args[13]: device(type='cpu')",
        "  args[14]: torch.strided",
        "  args[15]: torch.channels_last",
        "  args[16]: aten.sin.default",
        "  args[17]: (4)",
        "  args[18]: {5}",
        "  kwargs['flag']: False",
    ]


class Raises:
    def __repr__(self):
        raise RuntimeError("no")


def nested(depth: int, kind=list):
    value = kind([1]) if kind is not dict else {"k": 1}
    for _ in range(depth):
        value = kind([value]) if kind is not dict else {"k": value}
    return value


def cyclic():
    value: list[object] = [1]
    value.append(value)
    return value


class Record:
    """A small object with a text of its own."""

    def __init__(self, *fields):
        self.fields = fields

    def __repr__(self):
        return f"Record{self.fields!r}"


def shared_expression(depth: int):
    """A symbolic expression whose text doubles with each step, as the IR's does."""
    expression = sympy.Symbol("s0")
    for _ in range(depth):
        expression = sympy.Function("f")(expression, expression)
    return expression


BOUNDED = {
    "object": (Record(1, "a"), "<Record>"),
    "object that raises": (Raises(), "<Raises>"),
    "deque": (collections.deque([1]), "<deque>"),
    "graph module": (torch.fx.GraphModule({}, torch.fx.Graph()), "<GraphModule>"),
    "function": (nested, "<function>"),
    "control characters": ("a\nb\r\x1b[31m\x00", r"a\nb\r\x1b[31m\x00"),
    "huge number": (10**10_000, "<int>"),
    "long list": (list(range(100_000)), "[0, 1, 2, 3, 4, 5, 6, 7, ... 99992 more]"),
    "long string": ("y" * 5_000_000, "yyy..."),
    "deep list": (nested(5000), "list of 1"),
    "deep dict": (nested(5000, dict), "dict of 1"),
    "cycle": (cyclic(), "list of 2"),
    "exploding expression": (shared_expression(200), "f of more than 64 terms"),
    "tensor": (torch.zeros(1000, 1000), "Tensor(dtype=torch.float32, size=[1000, 1000], device=cpu)"),
    "many dimensions": (torch.zeros([1] * 40), "size=[1, 1, 1, 1, 1, 1, 1, 1, ... 32 more]"),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_any_argument(name: str) -> None:
    """The text of any argument is bounded, and none raises."""
    value, expected = BOUNDED[name]
    limit = sys.getrecursionlimit()
    shown = operator_text("op", (value, [value, [value]]), {"k": value})
    assert sys.getrecursionlimit() == limit
    assert expected in shown
    assert len(shown) <= CEILING
    assert all(len(line) <= clipping.MAX_LINE_CHARACTERS for line in shown.splitlines())
    assert shown.replace("\n", "").isprintable()


def test_hostile_arguments() -> None:
    """A target or an argument list that raises at every touch does not make the text raise."""
    assert operator_text(Raises(), (), {}) == "  target: <Raises>"
    assert operator_text("op", None, None) == "  target: op"
    assert operator_text("op", (), Raises()) == "  target: op"  # type: ignore[arg-type]


def test_thousands_of_arguments() -> None:
    """The text of thousands of arguments is bounded, and says how many there are."""
    shown = operator_text("op", [1] * 5000, {})
    lines = shown.splitlines()
    assert len(lines) == op.MAX_LINES + 1
    assert lines[-1] == f"  ... {5000 - op.MAX_LINES + 1:,} more arguments"
    assert operator_text("op", [1] * op.MAX_LINES, {}).splitlines()[-1] == "  ... 1 more argument"
    shown = operator_text("op", ["z" * 200] * 5000, {})
    assert len(shown) <= CEILING


def test_thousands_of_tensors() -> None:
    """The text of a list of thousands of tensors is bounded."""
    shown = arguments_of(
        lambda late, x: late(x, [x.t()] * 3000),
        torch.randn(4, 6),
        schema="(Tensor x, Tensor[] more) -> Tensor",
        look=operator_text,
    )
    lines = shown.splitlines()
    assert len(lines) == 3 + value.MAX_ELEMENTS
    assert "list of 3000, the first 8" in lines[2]
    assert lines[3].startswith("    [0]: arg0_1 ReinterpretView of InputBuffer(")


def test_ir_inside_other_objects() -> None:
    """The text prints no IR that other objects hold."""

    def look(late, args, kwargs):
        return operator_text("op", [collections.deque(args), Record(*args), {"k": [args[0]]}], {})

    _, model = chain(12)
    shown = arguments_of(model, torch.randn(4, 6), look=look)
    assert "<deque>" in shown
    assert "<Record>" in shown
    assert "MultiOutput(dtype=torch.float32" in shown
    assert len(shown) < 1000


class MyList(immutable_list):
    pass


class MyDict(immutable_dict):
    pass


def test_containers_of_fx() -> None:
    """The immutable lists and dicts of FX are written as plain ones."""

    def look(late, args, kwargs):
        (tensor,) = args
        inner = immutable_dict({"k": immutable_list([immutable_list([tensor] * 2)])})
        return operator_text(
            "op", [immutable_list([tensor] * 3), inner, MyList([tensor]), MyDict(k=tensor)], {}
        )

    lines = arguments_of(lambda late, x: late(x), torch.randn(4, 6), look=look).splitlines()
    heads = [line.strip() for line in lines if " of " in line]
    assert heads == [
        "args[0]: list of 3",
        "args[1]: dict of 1",
        "['k']: list of 1",
        "[0]: list of 2",
        "args[2]: MyList of 1",
        "args[3]: MyDict of 1",
    ]
    inside = [immutable_list([1]), MyList([1]), immutable_dict(k=1)]
    assert "(list of 1, MyList of 1, dict of 1)" in operator_text("op", [slice(*inside)], {}).replace(
        "slice", ""
    )


def test_a_generator_is_not_consumed() -> None:
    """The text takes nothing out of a generator."""
    generator = (i for i in range(3))
    assert "<generator>" in operator_text("op", (generator,), {})
    assert list(generator) == [0, 1, 2]


def test_the_ir_stays_as_it_was() -> None:
    """The description changes nothing in the IR."""

    def fields(node, depth=0):
        if depth > 12 or not isinstance(node, torch._inductor.ir.IRNode):
            return repr(type(node)), id(node)
        return type(node), id(node), {k: fields(v, depth + 1) for k, v in sorted(vars(node).items())}

    def state(args):
        operations = getattr(V.graph, "operations", ())  # from 2.5 on
        return [fields(arg) for arg in args], len(V.graph.buffers), len(operations)

    def look(late, args, kwargs):
        before = state(args)
        operator_text(late, args, kwargs)
        assert state(args) == before
        return True

    assert arguments_of(
        lambda late, x: late((x.sin() @ x.cos()).t().softmax(0)), torch.randn(4, 4), look=look
    )
