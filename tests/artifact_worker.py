"""Compiles a model ahead of time and writes down the files of its package.  Run as a script by the tests.

``python artifact_worker.py MODE KIND OUTPUT.json DEMO_FOLDER``, where MODE is ``stock`` or ``hooked`` and KIND is
``standalone_compile`` or ``aot_inductor``.  It imports lowering_hooks only where it is hooked.  So the caller
names the folder of the demo's modules: importing the package to find it would hook what is to be stock.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
import torch._inductor.compile_fx
from torch.library import Library

sys.path.insert(0, sys.argv[4])

from demo_decoder import decoder, define_ops, tensors

NAMESPACE = "artifact"
LAYERS = 3


def files_in(folder: Path) -> dict[str, str]:
    """Return the text of each source file below a folder by its name, without the compiled ones."""
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


def main(mode: str, kind: str, output: str) -> None:
    fallbacks = 0
    if mode == "hooked":
        import lowering_hooks

        lowering_hooks.allow(NAMESPACE)
        assert lowering_hooks.apply("call_function").state == "active"
    torch.manual_seed(0)
    library = Library(NAMESPACE, "DEF")
    ops = define_ops(library, "demo", [])
    model, inputs = decoder(ops, LAYERS), list(tensors())
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
    main(*sys.argv[1:4])
