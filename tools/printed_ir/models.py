"""All models by their names: what builds each one, and how it makes Inductor print IR."""

from __future__ import annotations

from collections.abc import Callable

from . import compilers, errors, graphs, subgraphs
from .building import Act, Model, Ops

# Each graph makes two models: in one the lowering of its last op fails, in the other everything goes well, and
# Inductor writes its logs.
GRAPHS: dict[str, tuple[Callable[[Ops, int], Act], str]] = {
    "plain": (graphs.plain, "`torch.compile`"),
    "dynamic": (graphs.dynamic_shapes, "`torch.compile(dynamic=True)`"),
    "views": (graphs.views, "views between the layers"),
    "pointwise": (graphs.pointwise, "pointwise ops and reductions between the layers"),
    "lists": (graphs.lists, "an op that takes and returns a list of tensors"),
    "backward": (graphs.backward, "the backward graph"),
    "compiled_autograd": (graphs.compiled_autograd, "compiled autograd"),
    "cond": (subgraphs.cond, "`torch.cond` behind the layers"),
    "chain_in_cond": (subgraphs.chain_in_cond, "the layers in a branch of `torch.cond`"),
    "while_loop": (subgraphs.while_loop, "`while_loop` behind the layers"),
    "chain_in_while_loop": (subgraphs.chain_in_while_loop, "the layers in the body of a `while_loop`"),
    "scan": (subgraphs.scan, "`scan` behind the layers"),
    "associative_scan": (subgraphs.associative_scan, "`associative_scan`, generic, behind the layers"),
    "map": (subgraphs.map_, "`map` behind the layers"),
    "invoke_subgraph": (subgraphs.invoke_subgraph, "`invoke_subgraph` behind the layers"),
    "chain_in_invoke_subgraph": (subgraphs.chain_in_invoke_subgraph, "the layers in an `invoke_subgraph`"),
    "effects": (subgraphs.effects, "`with_effects`: an op with an effect, behind the layers"),
    "control_deps": (subgraphs.control_deps, "`control_deps`, put in by a pass"),
    "mutation": (graphs.mutation, "an op that changes its argument (`auto_functionalized`)"),
    "mutation_of_an_input": (graphs.mutation_of_an_input, "an input of the graph that is written to"),
    "triton_kernel": (graphs.triton_kernel, "a user's Triton kernel, on CPU tensors"),
    "freezing": (compilers.freezing, "freezing, with a linear layer"),
    "autotuning": (compilers.autotuning, "max-autotune of a linear layer, with C++ templates"),
    "cpp_template": (compilers.cpp_template, "a linear layer as a C++ template"),
    "cpp_wrapper": (compilers.cpp_wrapper, "`cpp_wrapper`"),
    "aot_inductor": (compilers.aot_inductor, "`aoti_compile_and_package`"),
    "standalone": (compilers.standalone, "`standalone_compile`"),
    "compile_fx": (compilers.compile_fx, "`compile_fx`, called with a graph"),
}

MODELS: dict[str, Model] = {}
for _name, (_build, _reached) in GRAPHS.items():
    MODELS[f"{_name}-error"] = Model(_build, "error", f"{_reached}; the lowering of the last op fails")
    MODELS[f"{_name}-log"] = Model(_build, "log", f"{_reached}; logs at DEBUG")
MODELS |= {
    "plain-files": Model(graphs.plain, "files", "`TORCH_COMPILE_DEBUG=1`, `TORCH_TRACE`"),
    "pointwise-files": Model(
        graphs.pointwise, "files", "the same, with pointwise ops and reductions between the layers"
    ),
    "chain_in_cond-files": Model(
        subgraphs.chain_in_cond, "files", "the same, the layers in a branch of `torch.cond`"
    ),
    "suppressed": Model(compilers.suppressed, "error", "`suppress_errors`: the error becomes a warning"),
    "repro_after": Model(
        compilers.repro_after, "error", '`repro_after="aot"`: the error sets off the minifier'
    ),
    # In scalar code its template does not exist; where it has vectors, its C++ takes a minute to compile.
    "flex_attention": Model(
        subgraphs.flex_attention,
        "raises",
        "`flex_attention` behind the layers, without vector instructions",
        "flex_attention",
    ),
    "failing_effect": Model(subgraphs.failing_effect, "error", "the op whose lowering fails has an effect"),
    "associative_scan_pointwise": Model(
        subgraphs.associative_scan_pointwise, "raises", "`associative_scan` that CPU has no code for", "scan"
    ),
    "late_aten_op": Model(
        errors.late_aten_op, "log", "an aten op without a lowering, behind the layers; logs at DEBUG"
    ),
    "failing_aten_op": Model(errors.failing_aten_op, "error", "the lowering of an aten op fails"),
    "no_implicit_fallbacks": Model(
        errors.no_implicit_fallbacks,
        "raises",
        "`implicit_fallbacks=False` and an op without a lowering",
        "missing",
    ),
    "ir_in_the_message": Model(
        errors.ir_in_the_message, "raises", '`NotImplementedError(f"... {x}")` in a lowering'
    ),
    "ir_as_the_message": Model(
        errors.ir_as_the_message, "raises", "`AssertionError(x)` in a lowering", "AssertionError"
    ),
    "tuple_of_ir_as_the_message": Model(
        errors.tuple_of_ir_as_the_message,
        "raises",
        "`AssertionError((0, x, ...))` in a lowering",
        "AssertionError",
    ),
    "view_without_a_reindexer": Model(
        errors.view_without_a_reindexer,
        "raises",
        "a view of a plugin's own that lacks a method",
        "PluginView",
    ),
    "many_arguments": Model(
        errors.many_arguments, "error", "a lowering fails that has every layer among its arguments"
    ),
    "kernel_of_a_plugin": Model(
        errors.kernel_of_a_plugin,
        "raises",
        "a plugin's own class of IR, which the scheduler does not know",
        "NotImplementedError",
    ),
    "other_offset_in_cond": Model(
        errors.other_offset_in_cond,
        "raises",
        "the branches of `torch.cond` differ in their offsets",
        "AssertionError",
    ),
    "straight_chain": Model(
        errors.straight_chain, "error", "five times as many ops with one output each; the last one fails"
    ),
    "straight_chain-log": Model(
        errors.straight_chain, "log", "five times as many ops with one output each; logs at DEBUG"
    ),
    "locals_of_a_traceback": Model(
        errors.locals_of_a_traceback,
        "error",
        "`TracebackException(capture_locals=True)`, as test runners and error trackers do",
    ),
}
