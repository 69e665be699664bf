"""Whether ``import torch`` loads lowering-hooks, which the command line cannot see in its own process."""

from __future__ import annotations

import types

import pytest

from lowering_hooks.cli import loaded_by_torch
from lowering_hooks.cli.loaded_by_torch import line_of, why_torch_does_not_load_it

OURS = types.SimpleNamespace(module="_lowering_hooks_autoload")
OTHER = types.SimpleNamespace(module="torch_npu")


@pytest.mark.parametrize(
    ("version", "variables", "installed", "says"),
    [
        ("2.12.1", {"LOWERING_HOOKS": " Off"}, [OURS], "LOWERING_HOOKS= Off is set"),
        ("2.12.1", {"LOWERING_HOOKS": "1"}, [OURS], None),
        ("2.5.0+cu124", {}, [OTHER, OURS], None),
        ("2.15.0", {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}, [OURS], None),
        ("3.0", {}, [OURS], None),
        ("nightly", {}, [OURS], None),
        ("2.4.1+cu121", {}, [OURS], "PyTorch 2.4.1+cu121 loads no entry points"),
        ("2.12.1", {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}, [OURS], "TORCH_DEVICE_BACKEND_AUTOLOAD=0 is set"),
        ("2.12.1", {}, [OTHER], "no install of lowering-hooks is found"),
        (None, {}, [OURS], "PyTorch is not installed here"),
    ],
)
def test_what_keeps_it_from_being_loaded(monkeypatch, version, variables, installed, says) -> None:
    """Each is told with what to do about it."""
    monkeypatch.setattr(loaded_by_torch, "torch_version", lambda: version)
    monkeypatch.setattr(loaded_by_torch, "entry_points", lambda group: installed)
    for name in ("TORCH_DEVICE_BACKEND_AUTOLOAD", "LOWERING_HOOKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    problem = why_torch_does_not_load_it()
    assert problem is None if says is None else says in str(problem)
    assert line_of(problem).startswith(
        "import torch    loads lowering-hooks"
        if says is None
        else f"import torch    does not load lowering-hooks: {says}"
    )
