"""One graph under other settings, and with other functions that compile it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
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
    graph_compiled,
    needed,
    tensor,
    without_gradient,
)
from .graphs import plain


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
        before = place.repro_after, place.debug_dir_root
        # The minifier writes what reproduces the error there, else into the folder it is called in.
        with tempfile.TemporaryDirectory() as folder:
            place.repro_after, place.debug_dir_root = "aot", folder
            try:
                return act()
            finally:
                place.repro_after, place.debug_dir_root = before

    return run
