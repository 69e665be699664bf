"""Installed means applied: in every process that imports torch, without anybody importing lowering_hooks."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from conftest import DEADLINE, environment
from installed import SERIES
from snippets import COMPILE_ONE

import _lowering_hooks_autoload as autoload
import lowering_hooks
from lowering_hooks.compat.namespaces import VLLM_KERNELS

TESTS = Path(__file__).parent
loads_backends = pytest.mark.skipif(SERIES < (2, 5), reason="PyTorch loads entry points from 2.5 on")

COMPILE = (
    COMPILE_ONE
    + """
def compile_hooked():
    import torch
    if not hasattr(torch, "_import_device_backends"):
        import lowering_hooks  # PyTorch loads no entry points before 2.5
    compile_one("op")
    import sys
    lowering_hooks = sys.modules["lowering_hooks"]
    (op,) = lowering_hooks.report().ops
    assert (lowering_hooks.status().state, op.op, op.fallbacks) == ("active", "vllm.op.default", 1)
"""
)


@pytest.mark.parametrize(
    ("group", "function"),
    [("torch.backends", autoload.torch_backend), ("vllm.general_plugins", autoload.vllm_plugin)],
)
def test_both_groups_name_us(group, function) -> None:
    (entry,) = (entry for entry in entry_points(group=group) if entry.name == "lowering_hooks")
    assert entry.load() is function


@loads_backends
def test_import_torch_applies_it_in_silence_and_does_not_import_inductor(run) -> None:
    done = run(
        """
        import sys, torch
        assert "torch._inductor.graph" not in sys.modules
        assert sys.modules["lowering_hooks"].status().state == "pending"
        import torch._inductor.graph
        assert sys.modules["lowering_hooks"].status().state == "active"
        """,
        TORCH_DEVICE_BACKEND_AUTOLOAD="1",
    )
    assert done.stdout == ""
    assert "lowering" not in done.stderr


@loads_backends
@pytest.mark.parametrize(
    "variables",
    [{"LOWERING_HOOKS": " Off ", "TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}, {}],
    ids=["ours", "torch's"],
)
def test_import_torch_can_be_told_not_to(run, variables) -> None:
    run(
        """
        import sys, torch
        assert "lowering_hooks" not in sys.modules
        import _lowering_hooks_autoload
        """,
        **variables,
    )


def test_the_plugin_of_vllm_allows_its_kernels_and_may_be_called_again(run) -> None:
    done = run(
        """
        import sys
        from importlib.metadata import entry_points
        for _ in range(3):
            for entry in entry_points(group="vllm.general_plugins"):
                assert entry.load()() is None
        assert "torch" not in sys.modules
        import lowering_hooks
        assert {"_C", "_moe_C", "vllm", "vllm_aiter"} <= lowering_hooks.allowed_namespaces()
        """
    )
    assert done.stdout == done.stderr == ""
    run(
        """
        import sys, _lowering_hooks_autoload
        _lowering_hooks_autoload.vllm_plugin()
        assert "lowering_hooks" not in sys.modules
        """,
        LOWERING_HOOKS="0",
    )


def test_the_kernels_of_vllm_are_names_that_can_be_allowed() -> None:
    assert lowering_hooks.allow(*VLLM_KERNELS) > VLLM_KERNELS


@pytest.mark.parametrize("broken", ["lowering_hooks.compat", "lowering_hooks"])
def test_what_cannot_be_imported_costs_one_warning_and_nothing_else(run, broken) -> None:
    done = run(
        f"""
        import sys
        sys.modules[{broken!r}] = None
        import _lowering_hooks_autoload as autoload
        for _ in range(2):
            autoload.torch_backend()
            autoload.vllm_plugin()
        """
    )
    assert (
        done.stderr.count("lowering-hooks could not be imported; PyTorch runs as if it were not installed")
        == 1
    )
    assert len(done.stderr.splitlines()) == 1


@loads_backends
def test_import_torch_and_a_compile_work_where_we_cannot_be_imported(run) -> None:
    done = run(
        """
        import sys
        sys.modules["lowering_hooks.compat"] = None
        import torch
        x = torch.randn(3)
        assert torch.equal(torch.compile(lambda x: x * 2)(x), x * 2)
        """,
        TORCH_DEVICE_BACKEND_AUTOLOAD="1",
    )
    assert (
        done.stderr.count("lowering-hooks could not be imported; PyTorch runs as if it were not installed")
        == 1
    )
    assert done.stderr.count("lowering_hooks") <= 1


@pytest.mark.parametrize("broken", ["lowering_hooks.hooks", "lowering_hooks.hooks.ir_text"])
@pytest.mark.parametrize("first", ["lowering_hooks", "torch._inductor.graph"])
def test_what_cannot_be_imported_later_costs_one_warning(run, broken, first) -> None:
    done = run(
        f"""
        import sys
        sys.modules[{broken!r}] = None
        import {first}
        import lowering_hooks
        import torch._inductor.graph
        for _ in range(2):
            status = lowering_hooks.status()
            assert status.state == "inactive" and "ModuleNotFoundError" in status.reason, status
        del sys.modules[{broken!r}]
        assert lowering_hooks.apply().state == "active"
        """
    )
    assert done.stderr.count("PyTorch runs as without lowering-hooks: ModuleNotFoundError") == 1


def test_without_packaging_nothing_is_hooked_and_one_warning_says_so(run) -> None:
    done = run(
        """
        import sys
        sys.modules["packaging.version"] = None
        import lowering_hooks
        waits = lowering_hooks.status()
        assert waits.state == "pending"
        assert "the version of PyTorch cannot be read: ModuleNotFoundError" in waits.reason
        import torch._inductor.graph
        status = lowering_hooks.status()
        assert status.state == "inactive" and "ModuleNotFoundError" in status.reason
        """
    )
    assert done.stderr.count("runs as without lowering-hooks") == done.stderr.count("packaging.version") == 1


def test_imported_alone_it_imports_next_to_nothing(run) -> None:
    run(
        """
        import sys, lowering_hooks
        assert not {"torch", "importlib.metadata", "asyncio", "inspect", "packaging"} & set(sys.modules)
        assert not any(name.startswith("lowering_hooks.hooks") for name in sys.modules)
        """
    )


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_children_are_hooked(run, tmp_path, method) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        COMPILE
        + f"""
if __name__ == "__main__":
    import concurrent.futures, multiprocessing
    context = multiprocessing.get_context({method!r})
    child = context.Process(target=compile_hooked)
    child.start()
    child.join()
    assert child.exitcode == 0, child.exitcode
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(compile_hooked).result()
"""
    )
    run(script, TORCH_DEVICE_BACKEND_AUTOLOAD="1")


def test_a_compile_by_inductors_own_processes_is_hooked(run) -> None:
    run(
        COMPILE
        + """
if __name__ == "__main__":
    compile_hooked()
""",
        TORCH_DEVICE_BACKEND_AUTOLOAD="1",
        TORCHINDUCTOR_COMPILE_THREADS="2",
    )


def test_a_deep_tensor_parallel_model_compiles_in_every_rank_of_torchrun(cache, tmp_path) -> None:
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
        timeout=DEADLINE,
        cwd=tmp_path,
        env=variables,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    ops = [f"tensor_parallel.{name}.default" for name in ("add_norm", "all_reduce", "late")]
    expected = {"ranks": 2, "applied": True, "state": "active", "ops": ops, "equal": True}
    assert ranks == [expected, expected]
