"""On an NVIDIA GPU, where Inductor writes Triton, what is compiled is what stock PyTorch makes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from lowering_hooks.cli import demo
from lowering_hooks.cli.compile_process import WORKER_FOLDER

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

DEVICE = "cuda"
WORKER = Path(__file__).with_name("fidelity_worker.py")


def test_fidelity(run, tmp_path) -> None:
    """Every case of test_fidelity.py compiles on the GPU as in stock."""
    found = {}
    for mode in ("stock", "hooked"):
        output = tmp_path / f"{mode}.json"
        run(WORKER, mode, str(output), str(WORKER_FOLDER), DEVICE)
        found[mode] = json.loads(output.read_text())["cases"]
    assert any("triton" in source for case in found["stock"].values() for source in case["code"])
    assert found["hooked"].keys() == found["stock"].keys()
    for name, stock in found["stock"].items():
        for what in ("code", "strides", "constraints", "guards", "error", "equal"):
            assert found["hooked"][name][what] == stock[what], (name, what)


def test_the_demo() -> None:
    """The demo's compiles end on the GPU, equal to eager and identical to stock's."""
    outcome = demo.run(layers=12, deadline=60, progress=io.StringIO(), device=DEVICE)
    assert outcome.ok, str(outcome)
