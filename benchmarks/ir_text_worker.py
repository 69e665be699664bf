"""One process of ``ir_text.py``: reads a JSON object from ``sys.argv[1]``, and prints one of measurements."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# At each depth of the stack, one text is repeated for so many seconds of the processor, but at least and at
# most so often.
SECONDS, FEWEST, MOST = 0.006, 2, 100
# The texts are hooked and put back so often, in turn.
TURNS = 3
# So many texts, or seconds of texts, are written before those that are timed: CPython specializes code that
# has run some times, and does so anew where a class has changed.
WARM_UP, WARM_UP_SECONDS = 25, 0.02
# Texts begin from all these steps down the stack, which together cover one of its chunks (results.py): a text
# that comes across the end of a chunk has memory mapped and unmapped, which takes half as long as a small
# text.
STACK_DEPTHS = range(0, 18, 3)
# What takes a microsecond or two is called so often in one round, and timed in so many rounds.
CALLS, ROUNDS = 500, 40


def move_type_versions(count: int) -> None:
    """Make ``count`` classes and look an attribute up on each.

    CPython's cache of such look-ups has 4096 places.  A class's place follows from its version, a number that
    is counted up at the class's first look-up.  So all classes that are used after this get other places.
    """
    for number in range(count):
        getattr(type(f"Unused{number}", (), {}), "nothing", None)


def fastest_text(node: Any) -> float:
    """Return the seconds of the fastest of several texts of ``node``, from several depths of the stack."""
    end, count = time.process_time() + WARM_UP_SECONDS, 0
    while count < WARM_UP and time.process_time() < end:
        str(node)
        count += 1
    return min(deeper(step, _fastest_text, node) for step in STACK_DEPTHS)


def _fastest_text(node: Any) -> float:
    fastest, end, count = float("inf"), time.process_time() + SECONDS, 0
    while count < FEWEST or (count < MOST and time.process_time() < end):
        start = time.perf_counter()
        str(node)
        fastest = min(fastest, time.perf_counter() - start)
        count += 1
    return fastest


def fastest_call(function: Callable[[], Any]) -> float:
    """Return the seconds of one call, of the fastest round."""
    return min(_round(function) for _ in range(ROUNDS)) / CALLS


def _round(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        function()
    return time.perf_counter() - start


def in_turns(measure: Callable[[], float]) -> dict[str, float]:
    """Return the fastest that ``measure`` finds as stock, and hooked."""
    found: dict[str, list[float]] = {"stock": [], "auto": []}
    for turn in range(TURNS):
        for variant in ("stock", "auto") if turn % 2 else ("auto", "stock"):
            lowering_hooks.bounded_ir("auto" if variant == "auto" else False)
            found[variant].append(measure())
    lowering_hooks.bounded_ir("auto")
    return {variant: min(values) for variant, values in found.items()}


def text_seconds(variant: str, late: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Measure the text of a small chain's last node."""
    (node,) = args
    found: dict[str, Any] = {"characters": len(str(node)), "seconds": fastest_text(node)}
    if variant == "auto":
        found["in_turns"] = in_turns(lambda: fastest_text(node))
    return found


def bounded_seconds(late: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Measure the text of a deep chain's last node, which passes the limit and is cut."""
    (node,) = args
    text = str(node)
    assert "lowering-hooks cut" in text
    return {"characters": len(text), "seconds": _fastest_text(node)}


def node_seconds(late: Any, args: Any, kwargs: Any) -> dict[str, float]:
    """Measure the creation of a node, as stock and hooked."""
    (x,) = args
    device, dtype, ranges = x.get_device(), x.get_dtype(), list(x.get_size())

    def make() -> Any:
        return ir.Pointwise(device=device, dtype=dtype, inner_fn=make, ranges=ranges)

    return in_turns(lambda: fastest_call(make))


def added_seconds() -> dict[str, float]:
    """Measure what our function adds to the text of a node, with texts that take no time."""

    class Operand:
        def __str__(self) -> str:
            return "operand"

    class Node:
        def __str__(self) -> str:
            operand = self.operand
            for _ in range(CALLS):
                str(operand)
            return "node"

    def measured() -> Iterator[float]:
        operand, node = Operand(), Node()
        node.operand = operand
        yield fastest_call(lambda: str(operand))
        yield min(_seconds(node) for _ in range(ROUNDS)) / CALLS

    stock = list(measured())
    writer = Writer(Records())
    writer.mode = "auto"
    for kind in (Operand, Node):
        kind.__str__ = writer.wrap(kind.__str__)
    outermost, nested = (hooked - bare for bare, hooked in zip(stock, measured(), strict=True))
    return {"outermost": outermost, "nested": nested}


def _seconds(node: Any) -> float:
    start = time.perf_counter()
    str(node)
    return time.perf_counter() - start


def install_seconds() -> float:
    """Return the seconds of the first hooking of the texts in this process, where nothing is hooked yet."""
    writer = Writer(Records())
    start = time.perf_counter()
    assert not BoundedIR.problems(ir)
    hook = BoundedIR(ir, writer)
    hook.install()
    seconds = time.perf_counter() - start
    hook.remove()
    return seconds


def main(spec: dict[str, Any]) -> dict[str, Any]:
    variant = spec["variant"]
    found: dict[str, Any] = {"install": install_seconds()} if variant == "stock" else {}
    lowering_hooks.allow("described")
    assert lowering_hooks.status().bounded_ir == ("auto" if variant == "auto" else False)

    def look_at(depth: int, look: Callable[..., Any]) -> Any:
        return arguments_of(chain(depth)[1], torch.randn(4, 6), look=look)

    found["small"] = {
        depth: look_at(depth, lambda *seen: text_seconds(variant, *seen)) for depth in spec["small"]
    }
    if variant == "auto":
        found["bounded"] = {depth: look_at(depth, bounded_seconds) for depth in spec["bounded"]}
        found["node"] = look_at(0, node_seconds)
        found["added"] = added_seconds()
    return found


if __name__ == "__main__":
    spec = json.loads(sys.argv[1])
    move_type_versions(spec["classes"])  # before any class of PyTorch or SymPy is used
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import torch
    import torch._inductor.graph
    from lowered import arguments_of, chain
    from results import deeper
    from torch._inductor import ir

    import lowering_hooks
    from lowering_hooks.hooks import BoundedIR, Writer
    from lowering_hooks.records import Records

    print(json.dumps(main(spec)))
