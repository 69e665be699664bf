"""Whether ``import torch`` loads lowering-hooks, which the command line cannot see in its own process."""

from __future__ import annotations

import types

import pytest

from lowering_hooks.cli import loaded_by_torch
from lowering_hooks.cli.loaded_by_torch import line_of, why_torch_does_not_load_it

OURS = types.SimpleNamespace(module="_lowering_hooks_autoload")
OTHER = types.SimpleNamespace(module="torch_npu")


@pytest.mark.parametrize(
    ("version", "setting", "installed", "says"),
    [
        ("2.5.0+cu124", None, [OTHER, OURS], None),
        ("2.15.0", "1", [OURS], None),
        ("3.0", None, [OURS], None),
        ("nightly", None, [OURS], None),
        ("2.4.1+cu121", None, [OURS], "PyTorch 2.4.1+cu121 loads no entry points"),
        ("2.12.1", "0", [OURS], "TORCH_DEVICE_BACKEND_AUTOLOAD=0 is set"),
        ("2.12.1", None, [OTHER], "no install of lowering-hooks is found"),
        (None, None, [OURS], "PyTorch is not installed here"),
    ],
)
def test_what_keeps_it_from_being_loaded(monkeypatch, version, setting, installed, says) -> None:
    """Each is told with what to do about it."""
    monkeypatch.setattr(loaded_by_torch, "torch_version", lambda: version)
    monkeypatch.setattr(loaded_by_torch, "entry_points", lambda group: installed)
    monkeypatch.delenv("TORCH_DEVICE_BACKEND_AUTOLOAD", raising=False)
    if setting is not None:
        monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", setting)
    problem = why_torch_does_not_load_it()
    assert problem is None if says is None else says in str(problem)
    assert line_of(problem).startswith(
        "import torch    loads lowering-hooks"
        if says is None
        else f"import torch    does not load lowering-hooks: {says}"
    )
