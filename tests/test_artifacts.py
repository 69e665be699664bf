"""What is compiled ahead of time, and packed, is what stock PyTorch packs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch._inductor
from installed import DEMO_IS_EQUAL

from lowering_hooks.cli.compile_process import WORKER_FOLDER

WORKER = Path(__file__).parent / "artifact_worker.py"


@pytest.mark.parametrize(
    ("kind", "function"),
    [("standalone_compile", "standalone_compile"), ("aot_inductor", "aoti_compile_and_package")],
)
def test_files_of_an_artifact(run, tmp_path, kind: str, function: str) -> None:
    """The files of an artifact are those that stock writes, to the byte."""
    if not hasattr(torch._inductor, function):
        pytest.skip(f"there is no torch._inductor.{function} on this series")
    found = {}
    for mode in ("stock", "hooked"):
        output = tmp_path / f"{mode}.json"
        # A new cache for each, since what is saved is what was cached; in one place, since its path is in the files.
        cache = tmp_path / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        variables = {
            "TORCHINDUCTOR_CACHE_DIR": str(cache),
            "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
            "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
        }
        run(WORKER, mode, kind, str(output), str(WORKER_FOLDER), **variables)
        found[mode] = json.loads(output.read_text())
    stock, hooked = found["stock"], found["hooked"]
    assert any("experts" in text for text in stock["files"].values()), list(stock["files"])
    assert hooked["files"] == stock["files"]
    assert hooked["result"] == stock["result"]
    assert hooked["equal"] is stock["equal"] is DEMO_IS_EQUAL
    assert hooked["fallbacks"] == 4, "nothing was carried by us: there is nothing to compare"
