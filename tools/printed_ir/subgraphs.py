"""Graphs with an op that takes a graph, such as ``torch.cond``, or that wraps other ops."""

from __future__ import annotations

from typing import Any

import torch

from .building import (
    SIZE,
    Act,
    Ops,
    UnavailableError,
    chain,
    compiled,
    configured,
    define,
    needed,
    new,
    tensor,
    with_scalars,
)
from .graphs import plain


def cond(ops: Ops, layers: int) -> Act:
    branch = needed("torch._higher_order_ops.cond", "cond")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return branch(ops.flag(r), lambda x: ops.late(x), lambda x: ops.one(x), (x,))

    return compiled(forward, tensor())


def chain_in_cond(ops: Ops, layers: int) -> Act:
    branch = needed("torch._higher_order_ops.cond", "cond")

    def forward(x: Any) -> Any:
        return branch(ops.flag(x), lambda x: ops.late(chain(ops, x, layers)[0]), lambda x: ops.one(x), (x,))

    return compiled(forward, tensor())


def while_loop(ops: Ops, layers: int) -> Act:
    loop = needed("torch._higher_order_ops.while_loop", "while_loop")

    def forward(x: Any, i: Any) -> Any:
        x, r = chain(ops, x, layers)

        def body(i: Any, x: Any) -> Any:
            return i + 1, ops.late(x)

        return loop(lambda i, x: i < 3, body, (i, x)), r

    return compiled(forward, tensor(), torch.zeros((), dtype=torch.int64))


def chain_in_while_loop(ops: Ops, layers: int) -> Act:
    loop = needed("torch._higher_order_ops.while_loop", "while_loop")

    def forward(x: Any, i: Any) -> Any:
        def body(i: Any, x: Any) -> Any:
            return i + 1, ops.late(chain(ops, x, layers)[0])

        return loop(lambda i, x: i < 3, body, (i, x))

    return compiled(forward, tensor(), torch.zeros((), dtype=torch.int64))


def scan(ops: Ops, layers: int) -> Act:
    scanned = needed("torch._higher_order_ops.scan", "scan")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return scanned(lambda carry, x: (ops.late(carry), ops.one(x)), x[0], r)

    return with_scalars(compiled(forward, tensor()))


def associative_scan(ops: Ops, layers: int) -> Act:
    scanned = needed("torch._higher_order_ops.associative_scan", "associative_scan")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        # In the generic mode the function is vmapped, for which a custom op would need a rule.
        return ops.late(scanned(lambda a, b: a + b, x, 0, combine_mode="generic")), r

    return compiled(forward, tensor())


def associative_scan_pointwise(ops: Ops, layers: int) -> Act:
    scanned = needed("torch._higher_order_ops.associative_scan", "associative_scan_op")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return scanned(lambda a, b: (a + b,), (x,), ()), r

    return compiled(forward, tensor())


def map_(ops: Ops, layers: int) -> Act:
    mapped = needed("torch._higher_order_ops.map", "map")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return mapped(lambda row: ops.late(row), x), r

    return with_scalars(compiled(forward, tensor()))


def invoke_subgraph(ops: Ops, layers: int) -> Act:
    region = needed("torch._higher_order_ops.invoke_subgraph", "mark_compile_region")

    @region
    def nested(x: Any, r: Any) -> Any:
        return ops.late(x), ops.one(r)

    def forward(x: Any) -> Any:
        x, r = nested(*chain(ops, x, layers))
        return nested(x, r)

    return compiled(forward, tensor())


def chain_in_invoke_subgraph(ops: Ops, layers: int) -> Act:
    region = needed("torch._higher_order_ops.invoke_subgraph", "mark_compile_region")

    @region
    def nested(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), r

    def forward(x: Any) -> Any:
        return nested(nested(x)[0])

    return compiled(forward, tensor())


def flex_attention(ops: Ops, layers: int) -> Act:
    attention = needed("torch.nn.attention.flex_attention", "flex_attention")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(attention(x, r, ops.one(x), score_mod=lambda score, *place: score * 2))

    return compiled(forward, tensor(1, 1, *SIZE))


def effects(ops: Ops, layers: int) -> Act:
    register = needed("torch._higher_order_ops.effects", "_register_effectful_op")
    kinds = needed("torch._higher_order_ops.effects", "_EffectType")
    tell = define("tell(Tensor x) -> Tensor", new)
    try:
        register(tell, kinds.ORDERED)
    except Exception as error:
        raise UnavailableError(f"an op cannot be given an effect like this: {error}") from None

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        tell(r)
        return ops.late(tell(x)), r

    return compiled(forward, tensor())


def failing_effect(ops: Ops, layers: int) -> Act:
    register = needed("torch._higher_order_ops.effects", "_register_effectful_op")
    kinds = needed("torch._higher_order_ops.effects", "_EffectType")
    register(ops.late, kinds.ORDERED)
    return plain(ops, layers)


def control_deps(ops: Ops, layers: int) -> Act:
    order = needed("torch._inductor.fx_passes.control_dependencies", "preserve_node_ordering")
    ordered_set = needed("torch.utils._ordered_set", "OrderedSet")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), ops.one(r)

    def ordered(graph: Any) -> None:
        (late,) = graph.find_nodes(op="call_function", target=ops.late)
        (one,) = graph.find_nodes(op="call_function", target=ops.one)
        order(graph, {late: ordered_set([one])})

    return configured(compiled(forward, tensor()), post_grad_custom_post_pass=ordered)
