"""Draws graphs.  Needs no PyTorch: a graph is drawn in the process that compares, and compiled in others.

A graph is a dict of JSON: the tensors that its model is called with, the ops that it defines, the lines of the
model, and how it is compiled.  ``names`` says of each line what it was drawn as.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from . import ops
from .feeds import FEEDS, KEEPING, Pick, Shape, drawn

Graph = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

SHAPES: tuple[Shape, ...] = (
    (4, 6),
    (5, 3),
    (3, 4, 5),
    (2, 3, 4),
    (2, 3, 4, 5),
    (1, 4, 4, 4),
    (2, 2, 3, 5),
    (6,),
    (3, 1),
)
LAYOUTS = ("contiguous", "transposed", "sliced", "channels last")
# Names what torch._functorch.config.custom_op_default_layout_constraint is set to (2.6-2.15).
DEFAULT_CONSTRAINTS = ("", "needs_fixed_stride_order", "needs_exact_strides", "flexible_layout")


def one_in(count: int) -> st.SearchStrategy[bool]:
    """Draw True once in ``count`` times; what is shrunk becomes False."""
    return st.sampled_from([False] * (count - 1) + [True])


class Drawing:
    """Draws one graph, line by line.

    Args:
        draw: Hypothesis' function.
        subgraphs: The kinds of subgraphs that the installed PyTorch has.
    """

    def __init__(self, draw: Draw, subgraphs: Sequence[str]) -> None:
        self.draw = draw
        self.subgraphs = subgraphs
        self.pick: Pick = lambda count: draw(st.integers(0, count - 1))
        self.inputs: list[dict[str, Any]] = []
        self.ops: list[ops.Op] = []
        self.functions: list[str] = []
        self.lines: list[str] = []
        self.names: list[str] = []
        self.values: list[tuple[str, Shape]] = []
        self.is_trained = draw(one_in(4))
        # Fresh names for values, and for the functions of subgraphs.
        self.count = 0

    def graph(self) -> Graph:
        draw = self.draw
        for _ in range(draw(st.integers(1, 3))):
            self.add_input()
        for _ in range(draw(st.integers(1, 6))):
            self.add_step()
        if not self.ops:
            self.add_call()
        read = {name for name, _ in self.values if any(_reads(line, name) for line in self.lines)}
        return {
            "inputs": self.inputs,
            "ops": self.ops,
            "functions": self.functions,
            "lines": self.lines,
            "names": self.names,
            "returns": [name for name, _ in self.values if name not in read],
            "dynamic": draw(one_in(4)),
            "backward": self.is_trained,
            "implicit_fallbacks": not draw(one_in(40)),
            "default_constraint": draw(st.sampled_from(("",) * 8 + DEFAULT_CONSTRAINTS)),
            "built": draw(one_in(25)),
        }

    def fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def value(self) -> tuple[str, Shape]:
        """Draw one of the values; the newest is what is shrunk to."""
        return self.values[-1 - self.pick(len(self.values))]

    def add_input(self) -> None:
        shape = self.draw(st.sampled_from(SHAPES))
        layout = self.draw(st.sampled_from(LAYOUTS))
        name = f"x{len(self.inputs)}"
        self.inputs.append({"name": name, "shape": shape, "layout": layout, "grad": self.is_trained})
        self.values.append((name, shape))

    def add_step(self) -> None:
        kinds = ["call"] * 5 + ["feed"] * 3 + ["pair", *(["subgraph"] if self.subgraphs else [])]
        kind = self.draw(st.sampled_from(kinds))
        {"call": self.add_call, "feed": self.add_feed, "pair": self.add_pair, "subgraph": self.add_subgraph}[
            kind
        ]()

    def add_line(self, name: str, line: str) -> None:
        self.names.append(name)
        self.lines.append(line)

    def add_feed(self) -> None:
        source, shape = self.value()
        self.feed(source, shape)

    def feed(self, source: str, shape: Shape) -> tuple[str, Shape]:
        """Add a line that makes another tensor of ``source``, and return that one."""
        name = self.draw(st.sampled_from(list(FEEDS)))
        made = drawn(name, shape, self.pick)
        if made is None:
            return source, shape
        result = (self.fresh(), made[1])
        self.add_line(f"feed: {name}", f"{result[0]} = {made[0].format(x=source)}")
        self.values.append(result)
        return result

    def add_pair(self) -> None:
        """Add two tensors of one shape, as a residual connection does."""
        first, shape = self.value()
        second = self.draw(st.sampled_from([name for name, other in self.values if other == shape]))
        result = self.fresh()
        self.add_line("feed: added", f"{result} = {first} + {second}")
        self.values.append((result, shape))

    def add_call(self) -> None:
        """Add the call of an op, which may be one that the graph has called before."""
        source, shape = self.value()
        # Most calls have a tensor of their own, so that one op's constraint is not another's.
        if not self.draw(one_in(3)):
            source, shape = self.feed(source, shape)
        is_again = bool(self.ops) and self.draw(one_in(6))
        number = self.pick(len(self.ops)) if is_again else self.add_op()
        op = self.ops[number]
        if op["mutates"] and not self.draw(one_in(3)):
            clone = self.fresh()
            self.add_line("feed: cloned", f"{clone} = {source}.clone()")
            source = clone
            self.values.append((clone, shape))
        returned = ops.returned(op)
        names = {name: self.fresh() for name in ("a", "b")}
        call = ops.call(op, f"op{number}", source, self.value()[0])
        self.add_line(
            "call again" if is_again else "call", returned.call.format(call=call, x=source, **names)
        )
        for name, kind in returned.values.items():
            self.values.append((names[name], shape if kind == "same" else (math.prod(shape),)))

    def add_op(self, *, is_plain: bool = False) -> int:
        """Draw an op and return its number.

        Args:
            is_plain: Whether it must return one tensor and change none, as an op in a subgraph must.
        """
        draw, returns = self.draw, "Tensor"
        if not is_plain and not draw(one_in(2)):
            returns = draw(st.sampled_from(list(ops.RETURNS) * 4 + list(ops.REFUSED)))
        mutates = returns == "nothing"
        if not is_plain and returns in ops.BESIDE_A_CHANGE and not mutates:
            mutates = draw(one_in(8))
        takes = "Tensor"
        if not mutates and returns != "view" and not draw(one_in(5)):
            takes = draw(st.sampled_from(["Tensor", "Tensor", "Tensor", "Tensor[]"]))
        has = ""
        if returns == "Tensor" and not mutates and takes == "Tensor":
            has = draw(st.sampled_from(("",) * 14 + ops.HAS))
        tag_count = draw(st.sampled_from([0, 0, 1, 1, 1, 2]))
        layout_tags = ops.TAGS[:4]
        # PyTorch refuses an op that has two of these.
        tags = [draw(st.sampled_from(layout_tags))] if tag_count else []
        if tag_count != 1 and draw(one_in(3)):
            tags.append(draw(st.sampled_from(ops.TAGS[4:])))
        overload_of = None
        packets = [n for n, op in enumerate(self.ops) if op["overload_of"] is None]
        if packets and draw(one_in(6)):
            overload_of = draw(st.sampled_from(packets))
        arguments = list(ops.ARGUMENTS)
        self.ops.append(
            {
                "tags": tags,
                "returns": returns,
                "takes": takes,
                "mutates": mutates,
                "arguments": draw(st.lists(st.sampled_from(arguments), max_size=3, unique=True)),
                "has": has,
                "grad": self.is_trained and returns == "Tensor" and not mutates and not draw(one_in(3)),
                "overload_of": overload_of,
            }
        )
        return len(self.ops) - 1

    def add_subgraph(self) -> None:
        kind = self.draw(st.sampled_from(list(self.subgraphs)))
        source, shape = self.value()
        if not self.draw(one_in(3)):
            source, shape = self.feed(source, shape)
        # These two hand their function what is left of a tensor without its first dimension.
        if kind in ("map", "scan") and len(shape) < 2:
            return
        inner = shape[1:] if kind in ("map", "scan") else shape
        bodies = [self.add_body(kind, inner) for _ in range(2 if kind == "cond" else 1)]
        result = self.fresh()
        self.add_line(
            f"subgraph: {kind}", CALLS[kind].format(result=result, x=source, bodies=", ".join(bodies))
        )
        self.values.append((result, shape))

    def add_body(self, kind: str, shape: Shape) -> str:
        """Add a function that makes a tensor of the same shape of one tensor, and return its name."""
        function = self.fresh("body")
        lines = ["@subgraphs['invoke_subgraph']"] if kind == "invoke_subgraph" else []
        lines.append(f"def {function}(t):")
        for name in self.draw(st.lists(st.sampled_from(KEEPING), max_size=2)):
            made = drawn(name, shape, self.pick)
            lines += [f"    t = {made[0].format(x='t')}"] if made else []
        number = self.add_op(is_plain=True)
        self.functions += [
            *lines,
            f"    return {ops.call(self.ops[number], f'op{number}', 't', 't')}",
        ]
        return function


# Maps each kind of subgraph to the line that calls it.
CALLS = {
    "cond": "{result} = torch.cond({x}.sum() > 0, {bodies}, ({x},))",
    "map": "{result} = subgraphs['map']({bodies}, {x})",
    "while_loop": "{result} = subgraphs['while_loop'](lambda i, t: i < 2, lambda i, t: (i + 1, {bodies}(t).contiguous()), "
    "(torch.zeros((), dtype=torch.int64), {x}.contiguous()))[1]",
    "scan": "{result} = subgraphs['scan'](lambda c, t: ({bodies}(c), t + 1), {x}[0].contiguous(), {x})[1]",
    "checkpoint": "{result} = subgraphs['checkpoint']({bodies}, {x}, use_reentrant=False)",
    "invoke_subgraph": "{result} = {bodies}({x})",
}


def _reads(line: str, name: str) -> bool:
    """Whether a line of a model reads the value of that name."""
    _, separator, expression = line.partition(" = ")
    return re.search(rf"\b{name}\b", expression if separator else line) is not None


@st.composite
def graphs(draw: Draw, subgraphs: Sequence[str]) -> Graph:
    """Draw a graph; ``subgraphs`` are the kinds of subgraphs that the installed PyTorch has."""
    return Drawing(draw, subgraphs).graph()


def each_of(
    count: int, subgraphs: Sequence[str], check: Callable[[Graph], None], shrunk: int = 3
) -> Iterator[tuple[int, Exception | None]]:
    """Call ``check`` with ``count`` graphs, and yield the seed of each and what was raised for it.

    Each graph comes from a seed of its own: one run of Hypothesis would draw most of its graphs as small changes of
    earlier ones.

    Args:
        count: How many.
        subgraphs: The kinds of subgraphs that the installed PyTorch has.
        check: Raises AssertionError where a graph shows what it must not.
        shrunk: For so many of the first errors, what is yielded is what was raised for the smallest graph that
            Hypothesis finds to raise it, which takes as long as some hundred graphs.
    """
    met: set[str] = set()

    def once(graph: Graph) -> None:
        # Every run of Hypothesis begins with the same smallest graph.
        text = json.dumps(graph)
        if text not in met:
            check(graph)
            met.add(text)

    for number in range(count):
        options = settings(
            max_examples=2,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink] if shrunk > 0 else [Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        try:
            seed(number)(options(given(graphs(subgraphs))(once)))()
        except Exception as error:
            shrunk -= 1
            yield number, error
        else:
            yield number, None
