"""Small models that reach the places where Inductor prints IR, each as deep as it is told to be.

``python docs/printed_ir_models.py NAME [LAYERS]`` compiles one of them with the PyTorch that runs it, and prints
one JSON object: how long that took, how it ended, and how much text was written.  Without arguments it lists
the names.  ``docs/make_printed_ir.py`` runs all of them.

What every model is made of is an op with two outputs, both of which the next one reads: the text of the IR
doubles from layer to layer.  Behind the last layer stands an op called ``late``.  In the models whose way is
``error`` its lowering fails on purpose, or something else does; in the others everything goes well, and
Inductor writes logs or files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

warnings.simplefilter("ignore")

import torch
import torch._dynamo  # which 2.0 does not import by itself

# Nobody allows this namespace.
NAMESPACE = "unlisted"
CAUSE = "this lowering fails on purpose"
DEFAULT_LAYERS = 60
SIZE = (16, 16)

Act = Callable[[], Any]
library = torch.library.Library(NAMESPACE, "DEF")


class UnavailableError(Exception):
    """Raised by a model that the installed PyTorch has no means for; says which."""


class Model(NamedTuple):
    """A model and the way in which it makes Inductor print.

    Attributes:
        build: Makes the model for a number of layers, and returns what compiles and runs it.
        way: ``error``, ``log`` (Inductor's loggers at DEBUG, with all their artifacts) or ``files``
            (``TORCH_COMPILE_DEBUG`` and ``TORCH_TRACE``).
        reached: How, in words for the page.
        cause: What a message must hold, whatever is cut.
    """

    build: Callable[[Ops, int], Act]
    way: str
    reached: str
    cause: str = CAUSE


class Ops:
    """Custom ops that Inductor meets for the first time.

    Args:
        failing: Whether the lowering of ``late`` fails.
    """

    def __init__(self, failing: bool) -> None:
        self.two = define(
            "two(Tensor x, Tensor r) -> (Tensor, Tensor)", lambda x, r: ((x + r).contiguous(), new(x))
        )
        self.one = define("one(Tensor x) -> Tensor", new)
        self.late = define("late(Tensor x) -> Tensor", new)
        self.flag = define(
            "flag(Tensor x) -> Tensor",
            lambda x: x.isfinite().all(),
            lambda x: x.new_empty((), dtype=torch.bool),
        )
        self.change = define("change(Tensor(a!) x) -> ()", add_one_to, lambda x: None)
        self.count = define(
            "count(Tensor x, Tensor i) -> Tensor", lambda x, i: i + 1, lambda x, i: i.new_empty(i.shape)
        )
        if failing:
            lower(self.late, fail)


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any] | None = None) -> Any:
    name = schema.partition("(")[0]
    library.define(schema)
    library.impl(name, kernel, "CPU")
    library.impl(name, fake or (lambda *args: like(args, kernel(*args))), "Meta")
    return getattr(getattr(torch.ops, NAMESPACE), name).default


def like(args: Any, result: Any) -> Any:
    """Return new tensors of the shapes that a kernel gave, so that no output aliases an argument."""
    if isinstance(result, tuple):
        return tuple(args[0].new_empty(r.shape) for r in result)
    return args[0].new_empty(result.shape)


def new(x: Any) -> Any:
    """Return a contiguous copy, as the other kernels do, whatever the strides of their arguments are."""
    return x.clone(memory_format=torch.contiguous_format)


def add_one_to(x: Any) -> None:
    x.add_(1)


def lower(op: Any, lowering: Callable[..., Any]) -> None:
    from torch._inductor.lowering import register_lowering

    register_lowering(op, type_promotion_kind=None)(lowering)


def fail(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError(CAUSE)


def chain(ops: Ops, x: Any, layers: int) -> tuple[Any, Any]:
    r = x
    for _ in range(layers):
        x, r = ops.two(x, r)
    return x, r


def tensor(*size: int, **options: Any) -> Any:
    torch.manual_seed(0)
    return torch.randn(*(size or SIZE), **options)


def compiled(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Act:
    return lambda: torch.compile(forward, fullgraph=True, **options)(*inputs)


def configured(act: Act, **settings: Any) -> Act:
    """Return ``act`` under settings of Inductor; a dot in a name is written as two underscores."""
    from torch._inductor import config

    def run() -> Any:
        with config.patch({name.replace("__", "."): value for name, value in settings.items()}):
            return act()

    for name in settings:
        place: Any = config
        for part in name.split("__"):
            if not hasattr(place, part):
                raise UnavailableError(f"no setting {name.replace('__', '.')}")
            place = getattr(place, part)
    return run


def with_scalars(act: Act) -> Act:
    """Return ``act`` with Dynamo capturing scalars, which PyTorch 2.8 makes loops of a scan with."""

    def run() -> Any:
        with torch._dynamo.config.patch(capture_scalar_outputs=True):
            return act()

    return run


def needed(module: str, name: str) -> Any:
    """Return something of PyTorch that not all releases have."""
    try:
        return getattr(__import__(module, fromlist=[name]), name)
    except (ImportError, AttributeError):
        raise UnavailableError(f"no {module}.{name}") from None


# Graphs, each for two ways: an error in it, and logs of it.


def plain(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), r

    return compiled(forward, tensor())


def dynamic_shapes(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), r

    return compiled(forward, tensor(), dynamic=True)


def views(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        r = x
        for _ in range(layers):
            x, r = ops.two(x.t(), r.reshape(-1).flip(0).view(SIZE))
        return ops.late(x[1:].unsqueeze(0).expand(3, SIZE[0] - 1, SIZE[1])), r

    return compiled(forward, tensor())


def pointwise(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        r = x
        for _ in range(layers):
            x, r = ops.two(x.sin() + r, r.softmax(-1))
        return ops.late(x.cos() * r), r

    return compiled(forward, tensor())


def lists(ops: Ops, layers: int) -> Act:
    many = define(
        "many(Tensor[] xs) -> Tensor[]",
        lambda xs: [x.clone() for x in xs],
        lambda xs: [x.new_empty(x.shape) for x in xs],
    )

    def forward(x: Any) -> Any:
        xs = [x, x]
        for _ in range(layers):
            xs = many(xs)
        return ops.late(xs[0]), xs[1]

    return compiled(forward, tensor())


def with_gradient(ops: Ops, layers: int) -> Callable[[Any, Any], Any]:
    """Return the layers behind ``late`` as a function whose backward calls these very ops."""
    below_autograd = torch._C._AutoDispatchBelowAutograd

    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, r: Any) -> Any:
            guard = below_autograd()  # no context manager in 2.0
            try:
                return ops.two(x, r)
            finally:
                del guard

        @staticmethod
        def backward(ctx: Any, x: Any, r: Any) -> Any:
            return ops.two(x, r)

    class Late(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, x: Any) -> Any:
            return ops.late(x)

    define("forward_late(Tensor x) -> Tensor", new)
    library.impl("two", Two.apply, "Autograd")
    library.impl("forward_late", Late.apply, "Autograd")
    forward_late = getattr(torch.ops, NAMESPACE).forward_late.default

    def forward(x: Any, r: Any) -> Any:
        x = forward_late(x)
        for _ in range(layers):
            x, r = ops.two(x, r)
        return x, r

    return forward


def backward(ops: Ops, layers: int) -> Act:
    forward = with_gradient(ops, layers)

    def run() -> None:
        x, r = torch.compile(forward, fullgraph=True)(tensor(requires_grad=True), tensor())
        (x.sum() + r.sum()).backward()

    return run


def compiled_autograd(ops: Ops, layers: int) -> Act:
    module = needed("torch._dynamo", "compiled_autograd")
    enable = getattr(module, "_enable", None) or module.enable
    forward = with_gradient(ops, layers)

    def run() -> None:
        x, r = torch.compile(forward, fullgraph=True, backend="aot_eager")(
            tensor(requires_grad=True), tensor()
        )
        with enable(lambda graph: torch.compile(graph, backend="inductor")):
            (x.sum() + r.sum()).backward()

    return run


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


def mutation(ops: Ops, layers: int) -> Act:
    needed("torch._higher_order_ops.auto_functionalize", "auto_functionalized")

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        ops.change(x)
        ops.change(r)
        return ops.late(x), r

    return compiled(forward, tensor())


def mutation_of_an_input(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        y, r = chain(ops, x, layers)
        x.copy_(y)
        return ops.late(y), r

    return compiled(forward, tensor())


def triton_kernel(ops: Ops, layers: int) -> Act:
    """Dynamo takes no Triton kernel without a GPU; Inductor, called with a graph, does not ask."""
    wrap = needed("torch.library", "wrap_triton")
    if not needed("torch.utils._triton", "has_triton_package")():
        raise UnavailableError("no Triton")
    from printed_ir_triton import add_one

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        out = torch.empty_like(x)
        wrap(add_one)[(1,)](x, out, 256, block=256)
        return [ops.late(out), r]

    return graph_compiled(forward)


class Linear(torch.nn.Module):
    def __init__(self, ops: Ops, layers: int, linears: int = 1) -> None:
        super().__init__()
        self.ops, self.layers = ops, layers
        self.linears = torch.nn.ModuleList(
            torch.nn.Linear(SIZE[1], SIZE[1], bias=False) for _ in range(linears)
        )

    def forward(self, x: Any) -> Any:
        r = x
        for layer in range(self.layers):
            x, r = self.ops.two(x, r)
            if self.layers - layer <= len(self.linears):
                x = self.linears[layer - self.layers](x)
        return self.ops.late(x), r


def without_gradient(act: Act) -> Act:
    def run() -> Any:
        with torch.no_grad():
            return act()

    return run


def freezing(ops: Ops, layers: int) -> Act:
    act = without_gradient(compiled(Linear(ops, layers).eval(), tensor()))
    return configured(act, freezing=True)


def autotuning(ops: Ops, layers: int) -> Act:
    act = without_gradient(compiled(Linear(ops, layers).eval(), tensor()))
    return configured(act, freezing=True, max_autotune=True, max_autotune_gemm_backends="ATEN,CPP")


def cpp_template(ops: Ops, layers: int) -> Act:
    """Autotuning with one choice, so that no timing decides what code there is."""
    act = without_gradient(compiled(Linear(ops, layers).eval(), tensor()))
    return configured(act, freezing=True, max_autotune=True, max_autotune_gemm_backends="CPP")


def cpp_wrapper(ops: Ops, layers: int) -> Act:
    return configured(plain(ops, layers), cpp_wrapper=True)


def exported(ops: Ops, layers: int) -> tuple[Any, Any]:
    export = needed("torch.export", "export")

    class Exported(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            x, r = chain(ops, x, layers)
            return ops.late(x), r

    return export(Exported(), (tensor(),)), (tensor(),)


def aot_inductor(ops: Ops, layers: int) -> Act:
    package = needed("torch._inductor", "aoti_compile_and_package")
    program, _ = exported(ops, layers)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            package(program, package_path=str(Path(folder, "model.pt2")))

    return run


def standalone(ops: Ops, layers: int) -> Act:
    compile_alone = needed("torch._inductor", "standalone_compile")
    program, inputs = exported(ops, layers)
    graph = (
        program.module(check_guards=False)
        if "check_guards" in program.module.__code__.co_varnames
        else program.module()
    )
    with contextlib.suppress(AttributeError):
        graph.graph.set_codegen(torch.fx.graph.CodeGen())
    return lambda: compile_alone(graph, list(inputs), dynamic_shapes="from_example_inputs")


def graph_compiled(forward: Callable[..., Any]) -> Act:
    from torch.fx.experimental.proxy_tensor import make_fx

    def run() -> Any:
        from torch._inductor.compile_fx import compile_fx

        return compile_fx(make_fx(forward, tracing_mode="fake")(tensor()), [tensor()])(tensor())

    return run


def compile_fx(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return [ops.late(x), r]

    return graph_compiled(forward)


def suppressed(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x), r

    def run() -> Any:
        config = torch._dynamo.config
        before, config.suppress_errors = config.suppress_errors, True
        try:
            return torch.compile(forward)(tensor())
        finally:
            config.suppress_errors = before

    return run


def repro_after(ops: Ops, layers: int) -> Act:
    act = plain(ops, layers)
    place: Any = torch._dynamo.config
    if not hasattr(place, "repro_after"):
        raise UnavailableError("no setting repro_after")

    def run() -> Any:
        before, place.repro_after = place.repro_after, "aot"
        try:
            return act()
        finally:
            place.repro_after = before

    return run


# Other errors.


def late_aten_op(ops: Ops, layers: int) -> Act:
    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return torch.ops.aten._upsample_bilinear2d_aa.default(
            x.view(1, 1, *SIZE), [7, 7], False, None, None
        ), r

    return compiled(forward, tensor())


def failing_aten_op(ops: Ops, layers: int) -> Act:
    lower(torch.ops.aten.cumsum.default, fail)

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return x.cumsum(0), r

    return compiled(forward, tensor())


def no_implicit_fallbacks(ops: Ops, layers: int) -> Act:
    from torch._inductor.lowering import make_fallback

    make_fallback(ops.two)
    return configured(plain(ops, layers), implicit_fallbacks=False)


def ir_in_the_message(ops: Ops, layers: int) -> Act:
    def late(x: Any) -> Any:
        raise NotImplementedError(f"late of {x}: {CAUSE}")

    lower(ops.late, late)
    return plain(ops, layers)


def ir_as_the_message(ops: Ops, layers: int) -> Act:
    def late(x: Any) -> Any:
        raise AssertionError(x)

    lower(ops.late, late)
    return plain(ops, layers)


def tuple_of_ir_as_the_message(ops: Ops, layers: int) -> Act:
    def late(x: Any) -> Any:
        raise AssertionError((0, x, x.data, [x, {"x": x}]))

    lower(ops.late, late)
    return plain(ops, layers)


def view_without_a_reindexer(ops: Ops, layers: int) -> Act:
    from torch._inductor import ir

    def late(x: Any) -> Any:
        class PluginView(ir.BaseView):
            def get_size(self) -> Any:
                return self.data.get_size()

        return ir.TensorBox(PluginView(data=x.data))

    lower(ops.late, late)

    def forward(x: Any) -> Any:
        x, r = chain(ops, x, layers)
        return ops.late(x) + 1, r

    return compiled(forward, tensor())


def kernel_of_a_plugin(ops: Ops, layers: int) -> Act:
    """A class of IR that the scheduler has never heard of, as a backend's plugin may have one."""
    from torch._inductor import ir
    from torch._inductor.virtualized import V

    def late(x: Any) -> Any:
        base = getattr(ir, "OperationBuffer", ir.Buffer)

        class PluginKernel(base):  # type: ignore[misc, valid-type]
            def __str__(self) -> str:
                return f"PluginKernel(inputs={self.plugin_inputs})"

            __repr__ = __str__

            def get_reads(self) -> Any:
                return set()

            def get_read_writes(self) -> Any:
                from torch._inductor import dependencies

                return dependencies.ReadWrites(set(), set(), set())

            def should_allocate(self) -> bool:
                return True

        layout = ir.FixedLayout(x.get_device(), x.get_dtype(), x.get_size(), list(x.get_stride()))
        kernel = PluginKernel(name=None, layout=layout)
        object.__setattr__(kernel, "plugin_inputs", [x])
        kernel.name = V.graph.register_buffer(kernel)
        if hasattr(V.graph, "register_operation"):
            V.graph.register_operation(kernel)
        return x

    lower(ops.late, late)
    return plain(ops, layers)


def other_offset_in_cond(ops: Ops, layers: int) -> Act:
    from torch._inductor import ir

    def shifted(x: Any) -> Any:
        x.realize()
        base = ir.ExternKernel.require_contiguous(x)
        layout = ir.FixedLayout(x.get_device(), x.get_dtype(), x.get_size(), list(x.get_stride()), 1)
        return ir.TensorBox(ir.ReinterpretView(data=base.data, layout=layout))

    lower(ops.one, shifted)
    branch = needed("torch._higher_order_ops.cond", "cond")

    def forward(x: Any) -> Any:
        def deep(x: Any) -> Any:
            return ops.one(chain(ops, x, layers)[0])

        return branch(ops.flag(x), deep, lambda x: ops.late(chain(ops, x, layers)[0]), (x,))

    return compiled(forward, tensor())


def many_arguments(ops: Ops, layers: int) -> Act:
    """A lowering that fails has all layers among its arguments."""
    join = define(
        "join(Tensor[] xs) -> Tensor", lambda xs: xs[0].clone(), lambda xs: xs[0].new_empty(xs[0].shape)
    )
    lower(join, fail)

    def forward(x: Any) -> Any:
        r, kept = x, []
        for _ in range(layers):
            x, r = ops.two(x, r)
            kept += [x, r]
        return join(kept)

    return compiled(forward, tensor())


def straight_chain(ops: Ops, layers: int) -> Act:
    """Five times as deep, without a second output: text that grows by a line a layer, and calls as deep as that."""

    def forward(x: Any) -> Any:
        for _ in range(5 * layers):
            x = ops.one(x)
        return ops.late(x)

    return compiled(forward, tensor())


def locals_of_a_traceback(ops: Ops, layers: int) -> Act:
    """What test runners and error trackers do: they write the locals of all frames of an error."""
    act = plain(ops, layers)

    def run() -> None:
        try:
            act()
        except Exception as error:
            chained = error.__cause__ or error
            shown = traceback.TracebackException.from_exception(chained, capture_locals=True)
            raise RuntimeError("".join(shown.format())) from None

    return run


GRAPHS: dict[str, tuple[Callable[[Ops, int], Act], str]] = {
    "plain": (plain, "`torch.compile`"),
    "dynamic": (dynamic_shapes, "`torch.compile(dynamic=True)`"),
    "views": (views, "views between the layers"),
    "pointwise": (pointwise, "pointwise ops and reductions between the layers"),
    "lists": (lists, "an op that takes and returns a list of tensors"),
    "backward": (backward, "the backward graph"),
    "compiled_autograd": (compiled_autograd, "compiled autograd"),
    "cond": (cond, "`torch.cond` behind the layers"),
    "chain_in_cond": (chain_in_cond, "the layers in a branch of `torch.cond`"),
    "while_loop": (while_loop, "`while_loop` behind the layers"),
    "chain_in_while_loop": (chain_in_while_loop, "the layers in the body of a `while_loop`"),
    "scan": (scan, "`scan` behind the layers"),
    "associative_scan": (associative_scan, "`associative_scan`, generic, behind the layers"),
    "map": (map_, "`map` behind the layers"),
    "invoke_subgraph": (invoke_subgraph, "`invoke_subgraph` behind the layers"),
    "chain_in_invoke_subgraph": (chain_in_invoke_subgraph, "the layers in an `invoke_subgraph`"),
    "effects": (effects, "`with_effects`: an op with an effect, behind the layers"),
    "control_deps": (control_deps, "`control_deps`, put in by a pass"),
    "mutation": (mutation, "an op that changes its argument (`auto_functionalized`)"),
    "mutation_of_an_input": (mutation_of_an_input, "an input of the graph that is written to"),
    "triton_kernel": (triton_kernel, "a user's Triton kernel, on CPU tensors"),
    "freezing": (freezing, "freezing, with a linear layer"),
    "autotuning": (autotuning, "max-autotune of a linear layer, with C++ templates"),
    "cpp_template": (cpp_template, "a linear layer as a C++ template"),
    "cpp_wrapper": (cpp_wrapper, "`cpp_wrapper`"),
    "aot_inductor": (aot_inductor, "`aoti_compile_and_package`"),
    "standalone": (standalone, "`standalone_compile`"),
    "compile_fx": (compile_fx, "`compile_fx`, called with a graph"),
}

MODELS: dict[str, Model] = {}
for _name, (_build, _reached) in GRAPHS.items():
    MODELS[f"{_name}-error"] = Model(_build, "error", f"{_reached}; the lowering of the last op fails")
    MODELS[f"{_name}-log"] = Model(_build, "log", f"{_reached}; logs at DEBUG")
MODELS |= {
    "plain-files": Model(plain, "files", "`TORCH_COMPILE_DEBUG=1`, `TORCH_TRACE`"),
    "pointwise-files": Model(
        pointwise, "files", "the same, with pointwise ops and reductions between the layers"
    ),
    "chain_in_cond-files": Model(chain_in_cond, "files", "the same, the layers in a branch of `torch.cond`"),
    "suppressed": Model(suppressed, "error", "`suppress_errors`: the error becomes a warning"),
    "repro_after": Model(repro_after, "error", '`repro_after="aot"`: the error sets off the minifier'),
    # In scalar code its template does not exist; where it has vectors, its C++ takes a minute to compile.
    "flex_attention": Model(
        flex_attention,
        "raises",
        "`flex_attention` behind the layers, without vector instructions",
        "flex_attention",
    ),
    "failing_effect": Model(failing_effect, "error", "the op whose lowering fails has an effect"),
    "associative_scan_pointwise": Model(
        associative_scan_pointwise, "raises", "`associative_scan` that CPU has no code for", "scan"
    ),
    "late_aten_op": Model(
        late_aten_op, "log", "an aten op without a lowering, behind the layers; logs at DEBUG"
    ),
    "failing_aten_op": Model(failing_aten_op, "error", "the lowering of an aten op fails"),
    "no_implicit_fallbacks": Model(
        no_implicit_fallbacks, "raises", "`implicit_fallbacks=False` and an op without a lowering", "missing"
    ),
    "ir_in_the_message": Model(
        ir_in_the_message, "raises", '`NotImplementedError(f"... {x}")` in a lowering'
    ),
    "ir_as_the_message": Model(
        ir_as_the_message, "raises", "`AssertionError(x)` in a lowering", "AssertionError"
    ),
    "tuple_of_ir_as_the_message": Model(
        tuple_of_ir_as_the_message, "raises", "`AssertionError((0, x, ...))` in a lowering", "AssertionError"
    ),
    "view_without_a_reindexer": Model(
        view_without_a_reindexer, "raises", "a view of a plugin's own that lacks a method", "PluginView"
    ),
    "many_arguments": Model(
        many_arguments, "error", "a lowering fails that has every layer among its arguments"
    ),
    "kernel_of_a_plugin": Model(
        kernel_of_a_plugin,
        "raises",
        "a plugin's own class of IR, which the scheduler does not know",
        "NotImplementedError",
    ),
    "other_offset_in_cond": Model(
        other_offset_in_cond,
        "raises",
        "the branches of `torch.cond` differ in their offsets",
        "AssertionError",
    ),
    "straight_chain": Model(
        straight_chain, "error", "five times as many ops with one output each; the last one fails"
    ),
    "straight_chain-log": Model(
        straight_chain, "log", "five times as many ops with one output each; logs at DEBUG"
    ),
    "locals_of_a_traceback": Model(
        locals_of_a_traceback,
        "error",
        "`TracebackException(capture_locals=True)`, as test runners and error trackers do",
    ),
}


# What is measured.


class Texts:
    """Counts what the loggers of PyTorch write.

    Args:
        cause: What one of the texts may hold.
    """

    def __init__(self, cause: str) -> None:
        self.cause, self.has_cause = cause, False
        self.total = 0
        self.largest = (0, "", "")

    def count(self, logger: str, text: str) -> None:
        self.total += len(text)
        self.has_cause = self.has_cause or self.cause in text
        self.largest = max(self.largest, (len(text), logger, text[:60]))

    def listen(self, everything: bool) -> None:
        """Replace the output of PyTorch's log handlers.  ``everything``: at DEBUG, with all artifacts."""
        if hasattr(torch, "_logging") and hasattr(torch._logging, "_internal"):
            internal = torch._logging._internal
            if everything:
                names = ["+inductor", "+aot"]
                loggers = internal.log_registry.artifact_log_qnames
                artifacts = {
                    name.rpartition(".__")[2] for name in loggers if name.startswith("torch._inductor")
                }
                os.environ["TORCH_LOGS"] = ",".join(names + sorted(artifacts))
            internal._init_logs()
            loggers = [
                logging.getLogger(name)
                for name in list(logging.Logger.manager.loggerDict)
                # torch.__trace writes what TORCH_TRACE asks for, into a file.
                if name.split(".")[0] == "torch" and name != "torch.__trace"
            ]
            for logger in loggers:
                for handler in logger.handlers:
                    handler.emit = self._emit(handler)  # type: ignore[method-assign]
            return
        import torch._dynamo.logging as dynamo_logging

        # 2.0 sets up its loggers anew at every compile.
        dynamo_logging.init_logging = lambda *args, **kwargs: None
        handler = logging.Handler()
        handler.emit = self._emit(handler)  # type: ignore[method-assign]
        for name in ("torch._dynamo", "torch._inductor", "torch._functorch"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(logging.DEBUG if everything else logging.WARNING)

    def _emit(self, handler: logging.Handler) -> Callable[[logging.LogRecord], None]:
        return lambda record: self.count(record.name, handler.format(record))


def output_of_files(folder: Path) -> tuple[int, int, str]:
    """Return the size of all files, and that and the name of the largest one."""
    sizes = [(file.stat().st_size, file.name) for file in folder.rglob("*") if file.is_file()]
    return sum(size for size, _ in sizes), *max(sizes, default=(0, ""))


def digests_of_code(cache: str) -> list[str]:
    """Return the digest of each generated source file, paths and what is made at random left out."""
    found: list[str] = []
    for file in sorted(Path(cache).rglob("*")):
        if file.suffix in (".py", ".cpp") and file.is_file():
            text = file.read_text(errors="replace").replace(cache, "CACHE")
            # Beside a frozen parameter stands its address.
            text = re.sub(r"\b[0-9a-f]{12}$", "ADDRESS", text, flags=re.MULTILINE)
            found.append(file.suffix + hashlib.sha256(text.encode()).hexdigest()[:16])
    return sorted(found)


# Functions that write IR, which are asked by others.
WRITERS = {"__str__", "__repr__", "str_helper", "_to_str", "common_repr"}


class Askers:
    """Finds out which functions of PyTorch ask for the text of IR."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    def watch(self) -> None:
        """Wrap the text methods of all classes of IR; only for runs without lowering-hooks."""
        from torch._inductor import ir

        seen: set[type] = set()
        pending: list[type] = [ir.IRNode, *([ir.Layout] if hasattr(ir, "Layout") else [])]
        while pending:
            kind = pending.pop()
            if kind in seen:
                continue
            seen.add(kind)
            pending += kind.__subclasses__()
            for name in ("__str__", "__repr__"):
                original = vars(kind).get(name)
                if callable(original):
                    setattr(kind, name, self._wrapped(original, issubclass(kind, ir.IRNode)))

    def _wrapped(self, original: Callable[..., str], is_node: bool) -> Callable[..., str]:
        def __str__(node: Any, *args: Any, **kwargs: Any) -> str:  # noqa: N807
            if is_node:
                self._ask()
            return original(node, *args, **kwargs)

        return __str__

    def _ask(self) -> None:
        frame: Any = sys._getframe(2)
        root = os.path.dirname(torch.__file__) + os.sep
        while frame is not None:
            file, name = frame.f_code.co_filename, frame.f_code.co_name
            # Comprehensions, what dataclasses generate, and logging stand for whoever called them; a text of a
            # node within that of another one stands for whoever asked for that.
            passed_on = name.startswith("<") or name == "wrapper" or file.startswith(root + "_logging")
            if file.startswith(root) and not passed_on and not (file.endswith("ir.py") and name in WRITERS):
                place = f"{file[len(root) :]}: {name}"
                self.found[place] = self.found.get(place, 0) + 1
                return
            frame = frame.f_back
        self.found["outside of PyTorch"] = self.found.get("outside of PyTorch", 0) + 1


def raised_in(error: BaseException) -> str:
    """Return the function of PyTorch that raised the error, the first one of its causes."""
    root = os.path.dirname(torch.__file__) + os.sep
    place = ""
    seen: BaseException | None = error
    while seen is not None:
        frames = [f for f in traceback.extract_tb(seen.__traceback__) if f.filename.startswith(root)]
        if frames:
            place = f"{frames[-1].filename[len(root) :]}: {frames[-1].name}"
        seen = seen.__cause__
    return place


@contextlib.contextmanager
def writing_files(folder: Path) -> Iterator[None]:
    """Have Inductor write all the files it can."""
    from torch._inductor import config

    os.environ["TORCH_COMPILE_DEBUG"] = "1"
    os.environ["TORCH_TRACE"] = str(folder / "trace")
    (folder / "trace").mkdir()
    os.chdir(folder)
    torch._dynamo.config.debug_dir_root = str(folder)  # PyTorch 2.0-2.15
    config.trace.enabled = True
    config.trace.debug_log = config.trace.info_log = True
    yield


def run_model(name: str, layers: int, askers: bool = False) -> dict[str, Any]:
    """Compile a model in this process, which must not have compiled anything before."""
    model = MODELS[name]
    from torch._inductor import config

    # Scalar code spares the process finding out what vector instructions there are; 2.0 has neither setting.
    if hasattr(config.cpp, "vec_isa_ok"):
        config.cpp.vec_isa_ok = False
    config.compile_threads = 1
    measured: dict[str, Any] = {"torch": str(torch.__version__), "layers": layers, "way": model.way}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        if model.way == "files":
            stack.enter_context(writing_files(folder))
        try:
            act = model.build(Ops(failing=model.way == "error"), layers)
        except UnavailableError as missing:
            return measured | {"unavailable": str(missing)}
        texts, asked = Texts(model.cause), Askers()
        texts.listen(everything=model.way in ("log", "files"))
        if askers:
            asked.watch()
        start = time.perf_counter()
        error: BaseException | None = None
        message = ""
        try:
            act()
        except Exception as raised:
            error = raised
            message = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        measured |= {
            "seconds": time.perf_counter() - start,
            "error": type(error).__name__ if error else "",
            "message": len(message),
            "raised_in": raised_in(error) if error else "",
            "cause": model.cause in message or texts.has_cause,
            "head": str(error)[:300] if error else "",
            "log": texts.total,
            "largest_log": texts.largest,
        }
        measured["files"], measured["largest_file"], measured["file"] = output_of_files(folder)
        if askers:
            measured["asked_by"] = asked.found
        if cache := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
            measured["code"] = digests_of_code(cache)
    return measured


def main(arguments: list[str]) -> int:
    if arguments == ["--list"]:
        print(json.dumps({name: model.reached for name, model in MODELS.items()}))
        return 0
    if not arguments or arguments[0] not in MODELS:
        print("\n".join(MODELS))
        return 2
    layers = int(arguments[1]) if len(arguments) > 1 else DEFAULT_LAYERS
    print(json.dumps(run_model(arguments[0], layers, askers="--askers" in arguments)))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.exit(main(sys.argv[1:]))
