"""Installed means applied: in every process that imports torch, without anybody importing lowering_hooks."""

from __future__ import annotations

import concurrent.futures
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from compile_one import compile_hooked
from fresh_process import DEADLINE, environment
from run_after import run_after

TESTS = Path(__file__).parent
INDUCTOR = "torch._inductor.graph"
INSTALL_OR_END = (
    "; install lowering-hooks again with what it needs, or set LOWERING_HOOKS=0 to end this message\n"
)
COULD_NOT = "lowering-hooks could not be imported; PyTorch runs as if it were not installed"


@pytest.fixture
def loads_backends() -> None:
    """Skip the test where PyTorch loads no entry points."""
    from installed import SERIES

    if SERIES < (2, 5):
        pytest.skip("PyTorch loads entry points from 2.5 on")


@pytest.mark.parametrize(
    ("group", "function"),
    [("torch.backends", "torch_backend"), ("vllm.general_plugins", "vllm_plugin")],
)
def test_both_groups_name_us(group, function) -> None:
    """Each has one entry point of ours."""
    import _lowering_hooks_autoload

    (entry,) = (entry for entry in entry_points(group=group) if entry.name == "lowering_hooks")
    assert entry.load() is getattr(_lowering_hooks_autoload, function)


def imports_torch_then_inductor() -> None:
    importlib.import_module("torch")
    assert INDUCTOR not in sys.modules
    assert sys.modules["lowering_hooks"].status().state == "pending"
    importlib.import_module(INDUCTOR)
    assert sys.modules["lowering_hooks"].status().state == "active"


@pytest.mark.usefixtures("loads_backends")
def test_import_torch_applies_it(run) -> None:
    """In silence, and without importing Inductor."""
    done = run(imports_torch_then_inductor, TORCH_DEVICE_BACKEND_AUTOLOAD="1")
    assert done.stdout == ""
    assert "lowering" not in done.stderr


@pytest.mark.usefixtures("loads_backends")
@pytest.mark.parametrize(
    ("value", "autoload"), [(" Off ", "1"), ("on", "0")], ids=["our variable", "PyTorch's variable"]
)
@pytest.mark.fresh_process(LOWERING_HOOKS="{value}", TORCH_DEVICE_BACKEND_AUTOLOAD="{autoload}")
def test_import_torch_can_be_told_not_to(value, autoload) -> None:
    """By either variable; the module of the entry points can be imported all the same."""
    import torch  # noqa: F401

    assert "lowering_hooks" not in sys.modules
    import _lowering_hooks_autoload  # noqa: F401


def loads_the_plugin_of_vllm() -> None:
    for _ in range(3):
        for entry in entry_points(group="vllm.general_plugins"):
            assert entry.load()() is None
    assert "torch" not in sys.modules
    import lowering_hooks

    assert {"_C", "_moe_C", "vllm", "vllm_aiter"} <= lowering_hooks.allowed_namespaces()


def test_the_plugin_of_vllm(run) -> None:
    """It allows vLLM's kernels, may be called again, prints nothing and does not import PyTorch."""
    done = run(loads_the_plugin_of_vllm)
    assert done.stdout == done.stderr == ""


@pytest.mark.fresh_process(LOWERING_HOOKS="0")
def test_the_plugin_of_vllm_switched_off() -> None:
    """It imports nothing of ours."""
    import _lowering_hooks_autoload

    _lowering_hooks_autoload.vllm_plugin()
    assert "lowering_hooks" not in sys.modules


def test_the_kernels_of_vllm() -> None:
    """Their namespaces are names that can be allowed."""
    import lowering_hooks
    from lowering_hooks.compat.namespaces import VLLM_KERNELS

    assert lowering_hooks.allow(*VLLM_KERNELS) > VLLM_KERNELS


def calls_both_entry_points_without(broken: str) -> None:
    sys.modules[broken] = None  # importing it raises ModuleNotFoundError
    import _lowering_hooks_autoload

    for _ in range(2):
        _lowering_hooks_autoload.torch_backend()
        _lowering_hooks_autoload.vllm_plugin()


@pytest.mark.parametrize("broken", ["lowering_hooks.compat", "lowering_hooks"])
def test_what_cannot_be_imported(run, broken) -> None:
    """It costs one warning and nothing else."""
    done = run(calls_both_entry_points_without, broken)
    assert done.stderr.count(COULD_NOT) == 1
    assert len(done.stderr.splitlines()) == 1


def compiles_without_us() -> None:
    sys.modules["lowering_hooks.compat"] = None
    import torch

    x = torch.randn(3)
    assert torch.equal(torch.compile(lambda x: x * 2)(x), x * 2)


@pytest.mark.usefixtures("loads_backends")
def test_a_compile_without_us(run) -> None:
    """Where we cannot be imported, ``import torch`` and a compile work, with one warning."""
    done = run(compiles_without_us, TORCH_DEVICE_BACKEND_AUTOLOAD="1")
    assert done.stderr.count(COULD_NOT) == 1
    assert done.stderr.count("lowering_hooks") <= 1


def hooks_without(broken: str, ours_first: bool) -> None:
    sys.modules[broken] = None
    first, then = ("lowering_hooks", INDUCTOR) if ours_first else (INDUCTOR, "lowering_hooks")
    importlib.import_module(first)
    importlib.import_module(then)
    import lowering_hooks

    for _ in range(2):
        status = lowering_hooks.status()
        assert status.state == "inactive"
        assert "ModuleNotFoundError" in status.reason
    del sys.modules[broken]
    assert lowering_hooks.apply().state == "active"


@pytest.mark.parametrize("broken", ["lowering_hooks.hooks", "lowering_hooks.hooks.ir_text"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_what_cannot_be_imported_later(run, run_beside_inductor, broken, ours_first) -> None:
    """A part that is imported once Inductor is there costs one warning, too."""
    done = (run if ours_first else run_beside_inductor)(hooks_without, broken, ours_first)
    assert done.stderr.count("PyTorch runs as without lowering-hooks: ModuleNotFoundError") == 1
    assert done.stderr.endswith(INSTALL_OR_END)


def hooks_without_packaging() -> None:
    sys.modules["packaging.version"] = None
    import lowering_hooks

    waits = lowering_hooks.status()
    assert waits.state == "pending"
    assert "the version of PyTorch cannot be read: ModuleNotFoundError" in waits.reason
    import torch._inductor.graph  # noqa: F401

    status = lowering_hooks.status()
    assert status.state == "inactive"
    assert "ModuleNotFoundError" in status.reason


def test_without_packaging(run) -> None:
    """Nothing is hooked, and one warning says so."""
    done = run(hooks_without_packaging)
    assert done.stderr.count("runs as without lowering-hooks") == done.stderr.count("packaging.version") == 1
    assert done.stderr.endswith(INSTALL_OR_END)


def fails_to_apply() -> None:
    def fail(self: object) -> None:
        raise AttributeError("no such thing")

    def break_it() -> None:
        sys.modules["lowering_hooks.manager"].Manager.request = fail  # type: ignore[attr-defined]

    run_after("lowering_hooks.manager", break_it)
    importlib.import_module("lowering_hooks")
    importlib.import_module("wave")


def test_what_cannot_be_applied(run) -> None:
    """No import fails, and one warning says so."""
    done = run(fails_to_apply)
    says = "lowering-hooks could not be applied; PyTorch runs as if it were not installed"
    assert done.stderr.count(says) == 1
    assert "AttributeError: no such thing" in done.stderr


LACKS = "sys.meta_path lacks the finder of lowering-hooks"


def fixes_the_list_of_finders() -> None:
    sys.meta_path = tuple(sys.meta_path)  # type: ignore[assignment]
    import lowering_hooks

    for _ in range(2):
        status = lowering_hooks.apply()
        assert (status.state, status.bounded_ir) == ("pending", "pending")
        assert LACKS in status.reason
    # Old series load libraries with Inductor that put finders of their own into the list.
    sys.meta_path = list(sys.meta_path)
    importlib.import_module(INDUCTOR)
    sys.meta_path = tuple(sys.meta_path)  # type: ignore[assignment]
    assert lowering_hooks.apply().state == "active"
    assert LACKS not in lowering_hooks.status().reason


def test_a_list_that_takes_no_finder(run) -> None:
    """No import fails, one warning and the status say what to do, and apply() does it."""
    done = run(fixes_the_list_of_finders)
    assert done.stderr.count("nothing is hooked") == done.stderr.count(LACKS) == 1
    assert "lowering_hooks.apply()" in done.stderr


def empties_the_list_of_finders() -> None:
    import lowering_hooks

    ours, *others = sys.meta_path
    assert lowering_hooks.status().state == "pending"
    assert LACKS not in lowering_hooks.status().reason
    sys.meta_path[:] = others
    assert LACKS in lowering_hooks.status().reason
    assert LACKS not in lowering_hooks.apply().reason
    assert sys.meta_path == [ours, *others]
    sys.meta_path[:] = others
    lowering_hooks.bounded_ir(False)
    assert LACKS not in lowering_hooks.apply("none").reason


def test_a_finder_that_is_taken_out(run) -> None:
    """The status says so as long as something waits for it, and apply() puts it back."""
    assert run(empties_the_list_of_finders).stderr == ""


def works_in_a_folder_that_is_gone(folder: str) -> None:
    os.chdir(folder)
    Path(folder).rmdir()
    import lowering_hooks

    assert lowering_hooks.status().state == "pending"


def test_a_report_that_has_no_folder(run, tmp_path) -> None:
    """Where nothing tells what its path is relative to, no import fails, and one warning says so."""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = run(works_in_a_folder_that_is_gone, str(folder), LOWERING_HOOKS_REPORT="report.json")
    says = "lowering-hooks will write no report to LOWERING_HOOKS_REPORT='report.json'"
    assert done.stderr.count(says) == 1
    assert "FileNotFoundError" in done.stderr


def test_imported_alone(run) -> None:
    """The package imports next to nothing: no PyTorch above all."""
    # In a string, since pytest, which the module of a function imports, has imported most of these.
    run(
        "import sys, lowering_hooks\n"
        "assert not {'torch', 'importlib.metadata', 'asyncio', 'inspect', 'packaging'} & set(sys.modules)\n"
        "assert not any(name.startswith('lowering_hooks.hooks') for name in sys.modules)\n"
    )


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.fresh_process(TORCH_DEVICE_BACKEND_AUTOLOAD="1")
def test_children_are_hooked(method) -> None:
    """However multiprocessing starts them, alone or in a pool."""
    context = multiprocessing.get_context(method)
    child = context.Process(target=compile_hooked)
    child.start()
    child.join()
    assert child.exitcode == 0
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(compile_hooked).result()


@pytest.mark.fresh_process(TORCH_DEVICE_BACKEND_AUTOLOAD="1", TORCHINDUCTOR_COMPILE_THREADS="2")
def test_inductors_own_processes() -> None:
    """A compile that Inductor gives to processes of its own is hooked."""
    compile_hooked()


def test_every_rank_of_torchrun(cache, tmp_path) -> None:
    """A deep tensor-parallel model compiles in each of them, hooked and equal to eager."""
    worker = TESTS / "tensor_parallel_worker.py"
    variables = environment(
        cache,
        TORCH_DEVICE_BACKEND_AUTOLOAD="1",
        LOWERING_HOOKS_NAMESPACES="tensor_parallel",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(worker), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        cwd=tmp_path,
        env=variables,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    ops = [f"tensor_parallel.{name}.default" for name in ("add_norm", "all_reduce", "late")]
    expected = {"ranks": 2, "applied": True, "state": "active", "ops": ops, "equal": True}
    assert ranks == [expected, expected]
