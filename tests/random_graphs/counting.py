"""Says in words what a graph is made of, and counts it.  Needs no PyTorch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import ops
from .feeds import FEEDS
from .strategies import CALLS, DEFAULT_CONSTRAINTS, LAYOUTS, Graph

if TYPE_CHECKING:
    from .ways import Outcome

# Names the kinds of what a graph is made of, and what each can be.
PARTS: dict[str, Sequence[str]] = {
    "tag": ("no tag", *ops.TAGS),
    "output": (*ops.RETURNS, *ops.REFUSED),
    "argument": ("first of a Tensor[]", "Tensor(a!)", *ops.ARGUMENTS),
    "beside its kernel": (*ops.HAS[1:], "gradient", "another overload"),
    "feed": (*FEEDS, "added", "cloned"),
    "subgraph": tuple(CALLS),
    "input": LAYOUTS,
    "compile": (
        "dynamic sizes",
        "backward",
        "implicit_fallbacks=False",
        *(f"custom_op_default_layout_constraint={name}" for name in DEFAULT_CONSTRAINTS if name),
        "op called twice",
        "built and run",
    ),
}


def parts_of(graph: Graph) -> set[tuple[str, str]]:
    """Return the parts of ``graph``, each with its kind."""
    found: set[tuple[str, str]] = set()
    for op in graph["ops"]:
        found |= {("tag", tag) for tag in op["tags"] or ["no tag"]}
        found.add(("output", op["returns"]))
        found |= {("argument", argument) for argument in op["arguments"]}
        flags = {
            ("argument", "first of a Tensor[]"): op["takes"] == "Tensor[]",
            ("argument", "Tensor(a!)"): op["mutates"],
            ("beside its kernel", op["has"]): bool(op["has"]),
            ("beside its kernel", "gradient"): op["grad"],
            ("beside its kernel", "another overload"): op["overload_of"] is not None,
        }
        found |= {part for part, is_so in flags.items() if is_so}
    for name in graph["names"]:
        kind, _, value = name.partition(": ")
        if kind in ("feed", "subgraph"):
            found.add((kind, value))
    found |= {("input", given["layout"]) for given in graph["inputs"]}
    default = graph["default_constraint"]
    flags = {
        ("compile", "dynamic sizes"): graph["dynamic"],
        ("compile", "backward"): graph["backward"],
        ("compile", "implicit_fallbacks=False"): not graph["implicit_fallbacks"],
        ("compile", f"custom_op_default_layout_constraint={default}"): bool(default),
        ("compile", "op called twice"): "call again" in graph["names"],
        ("compile", "built and run"): graph["built"],
    }
    return found | {part for part, is_so in flags.items() if is_so}


class Counts:
    """What graphs were made of, and how they came out.

    Attributes:
        unstable: The graphs in which two compiles of stock differ: the number of each, what differs, and the graph.
        once: The same of those in which a way differs in one of two compiles only.
    """

    def __init__(self) -> None:
        self.graphs = 0
        # Of each part: how many graphs had it, and how many of those stock compiled and ran.
        self.drawn: Counter[tuple[str, str]] = Counter()
        self.compiled: Counter[tuple[str, str]] = Counter()
        # Of each way: how many graphs were the same as in stock, by what is compared; and what the hooks counted.
        self.same: dict[str, Counter[str]] = {}
        self.errors: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.unstable: list[dict[str, Any]] = []
        self.once: list[dict[str, Any]] = []

    def add(self, graph: Graph, outcome: Outcome) -> None:
        """Count one graph and what came of it."""
        seen, stock, parts = outcome.seen, outcome.seen["stock"], parts_of(graph)
        self.graphs += 1
        if outcome.unstable:
            differing = {"stock again": outcome.unstable}
            self.unstable.append({"number": self.graphs, "differing": differing, "graph": graph})
        if outcome.once:
            self.once.append({"number": self.graphs, "differing": outcome.once, "graph": graph})
        self.drawn.update(parts)
        if "undefined" in stock:
            self.errors["cannot be defined"] += 1
        elif stock["error"]:
            self.errors[stock["error"][0]] += 1
        else:
            self.compiled.update(parts)
            self.totals["compiled"] += 1
            self.totals["wrappers"] += len(stock["code"])
            self.totals["tensors handed to kernels"] += sum(len(handed) for _, handed in stock["strides"])
            self.totals["guards"] += len(stock["guards"])
        for way, other in seen.items():
            if way == "stock":
                continue
            counter = self.same.setdefault(way, Counter())
            counter["graphs"] += 1
            counter["same"] += way not in outcome.differing
            counter["same code"] += other.get("code") == stock.get("code")
            counter["equal to eager"] += other.get("equal") is True
            counter.update(f"other {name}" for name in outcome.differing.get(way, ()))
            for name in ("texts", "cut"):
                counter[name] += other.get(name, 0)
            counter["fallbacks"] += len(other.get("fallbacks", ()))
