"""Whether PyTorch is there, and which."""

from __future__ import annotations

import sys
import types

from lowering_hooks.inductor.versions import torch_is_there, torch_version


def test_a_module_without_a_spec(monkeypatch) -> None:
    """A PyTorch that somebody has put into ``sys.modules`` is there, though Python knows no spec of it."""
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    assert torch_is_there()
    vars(sys.modules["torch"])["__version__"] = "2.12.1"
    assert torch_version() == "2.12.1"


def test_a_finder_that_raises(monkeypatch) -> None:
    """PyTorch is there if it is loaded."""

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "torch":
                raise RuntimeError("no import of torch here")

    monkeypatch.setattr(sys, "meta_path", [Finder()])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not torch_is_there()
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    assert torch_is_there()


def test_a_module_that_cannot_be_imported(monkeypatch) -> None:
    """It is not there where its import is forbidden."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not torch_is_there()
