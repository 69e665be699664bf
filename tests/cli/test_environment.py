"""The environment of a process that compiles does not depend on the user's settings."""

from __future__ import annotations

import os

import pytest

from lowering_hooks.cli.environment import settings, uncached

UNCACHED = {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_AUTOGRAD_CACHE": "0"}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch) -> dict[str, str]:
    """Replace the environment of this process by a small one."""
    small = {"HOME": "/home", "LOWERING_HOOKS_STRATEGY": "none", "TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}
    monkeypatch.setattr(os, "environ", small)
    return small


@pytest.mark.parametrize(
    "name",
    ["LOWERING_HOOKS", "TORCH_LOGS", "TORCH_COMPILE_DEBUG", "TORCHDYNAMO_DISABLE", "TORCHINDUCTOR_X", "CI"],
)
def test_not_passed_on(surroundings, name) -> None:
    """A variable that changes a compile is not passed on, unless the caller keeps it."""
    surroundings[name] = "1"
    assert name not in uncached("cache")
    assert uncached("cache", keep=[name])[name] == "1"


def test_the_rest_is_passed_on(surroundings) -> None:
    """Every other variable is passed on, but for those that the caller clears."""
    passed_on = {name: value for name, value in surroundings.items() if name != "LOWERING_HOOKS_STRATEGY"}
    assert uncached("cache") == passed_on | settings("cache")
    assert "HOME" not in uncached("cache", clear=("HO",))


def test_every_graph_is_lowered(tmp_path) -> None:
    """The caches are off in every environment, so that Inductor lowers each graph anew."""
    for found in (uncached(tmp_path), uncached(tmp_path, quick=False), settings(tmp_path)):
        assert found.items() >= (UNCACHED | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}).items()


def test_a_quick_process() -> None:
    """A quick process has no pool of compile workers, and writes scalar code."""
    quick, whole = settings("cache"), settings("cache", quick=False)
    assert quick.items() - whole.items() == {
        ("TORCHINDUCTOR_COMPILE_THREADS", "1"),
        ("TORCHINDUCTOR_VEC_ISA_OK", "0"),
    }


def test_loading_by_pytorch_can_be_forbidden() -> None:
    """A caller can forbid that PyTorch loads the package, also where it clears PyTorch's variables."""
    assert uncached("cache", autoload=False)["TORCH_DEVICE_BACKEND_AUTOLOAD"] == "0"
    assert uncached("cache", clear=("TORCH_",), autoload=False)["TORCH_DEVICE_BACKEND_AUTOLOAD"] == "0"
