"""Compiles a model ahead of time and writes down what it is packed into.  Run as a script by the tests.

``python artifact_worker.py MODE KIND OUTPUT.json PACKAGE_FOLDER``, with MODE ``stock`` or ``hooked`` and KIND
``standalone_compile`` or ``aot_inductor``.  Imports lowering_hooks only where it is hooked.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
import torch._inductor.compile_fx
from torch.library import Library

NAMESPACE = "artifact"
LAYERS = 3


def files_in(folder: Path) -> dict[str, str]:
    """Return the source files below a folder, by name; compiled ones are left out."""
    return {
        path.name: path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".py", ".cpp", ".h", ".json")
    }


def standalone_compile(model: Any, inputs: list[Any], folder: Path) -> tuple[Any, dict[str, str]]:
    traced = torch.fx.experimental.proxy_tensor.make_fx(lambda *xs: (model(*xs),), tracing_mode="fake")(
        *inputs
    )
    artifact = torch._inductor.standalone_compile(traced, inputs)
    artifact.save(path=str(folder), format="unpacked")
    return artifact(*inputs), files_in(folder)


def aot_inductor(model: Any, inputs: list[Any], folder: Path) -> tuple[Any, dict[str, str]]:
    class Module(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            return model(*inputs)

    exported = torch.export.export(Module(), tuple(inputs))
    package = torch._inductor.aoti_compile_and_package(exported, package_path=str(folder / "model.pt2"))
    with zipfile.ZipFile(package) as packed:
        packed.extractall(folder / "unpacked")
    return torch._inductor.aoti_load_package(package)(*inputs), files_in(folder / "unpacked")


def module_at(path: Path) -> Any:
    """Import a file; ``torch.export`` of 2.7 wants to find the functions it traces in a module of that name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main(mode: str, kind: str, output: str, package: str) -> None:
    # Named by the caller, since importing the package to find it would hook what is to be stock.
    demo = module_at(Path(package) / "cli" / "worker" / "demo_worker.py")
    demo.NAMESPACE = NAMESPACE
    fallbacks = 0
    if mode == "hooked":
        import lowering_hooks

        lowering_hooks.allow(NAMESPACE)
        assert lowering_hooks.apply("call_function").state == "active"
    torch.manual_seed(0)
    library = Library(NAMESPACE, "DEF")
    ops = demo.define_ops(library, "demo", [])
    model, inputs = demo.decoder(ops, LAYERS, False), demo.tensors()
    expected = model(*inputs)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        result, files = {"standalone_compile": standalone_compile, "aot_inductor": aot_inductor}[kind](
            model, inputs, Path(folder)
        )
    if mode == "hooked":
        fallbacks = sum(op.fallbacks for op in lowering_hooks.report().ops)
    (result,) = torch.utils._pytree.tree_leaves(result)
    equal = torch.allclose(result, expected, atol=1e-4, rtol=1e-4)
    found = {"files": files, "result": result.tolist(), "equal": equal, "fallbacks": fallbacks}
    Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
