"""Hooking in fresh processes: when it is done, and with what it finds.  What needs no PyTorch is in test_applying.py.

The bodies import what they are about: the module itself imports neither PyTorch nor lowering-hooks.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import logging
import sys
import threading
import time

import pytest
from compile_one import compile_one
from messages import Messages
from run_after import run_after


def hooks_and_unhooks() -> None:
    import torch._inductor.graph  # noqa: F401

    import lowering_hooks

    assert lowering_hooks.status().state == "active"
    lowering_hooks.remove()


def imports_inductor() -> None:
    import torch._inductor.graph  # noqa: F401


def test_it_prints_nothing(run) -> None:
    """Neither hooking nor unhooking writes to the user's terminal."""
    done = run(hooks_and_unhooks)
    assert done.stdout == ""
    # On 2.0 Inductor itself says that there is no CUDA.
    assert done.stderr == "" or done.stderr == run(imports_inductor).stderr


@pytest.mark.fresh_process
def test_without_torch() -> None:
    """Where PyTorch is not installed, the package imports and says so."""
    original = importlib.metadata.version

    def version(name):
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return original(name)

    importlib.metadata.version = version
    sys.modules["torch"] = None  # import torch raises ModuleNotFoundError
    import lowering_hooks

    status = lowering_hooks.status()
    assert status.torch_version is None
    assert status.state == "inactive"
    assert "PyTorch is not installed" in str(status)


@pytest.mark.fresh_process
def test_imported_early() -> None:
    """Inductor is hooked by its own import, before anybody asks."""
    messages = Messages()
    import lowering_hooks

    status = lowering_hooks.status()
    assert (status.state, status.strategy) == ("pending", "call_function")
    import torch

    assert lowering_hooks.status().state == "pending"
    from torch._inductor.graph import GraphLowering

    assert GraphLowering.call_function.__wrapped__
    status = lowering_hooks.status()
    assert (status.state, status.strategy) == ("active", "call_function")
    assert torch.__version__ in status.reason
    assert status.torch_version == str(torch.__version__)
    (line,) = messages.infos()
    assert all(part in line for part in (torch.__version__, "call_function", "verified"))
    assert messages.warnings() == []
    compile_one()
    (op,) = lowering_hooks.report().ops
    assert (op.op, op.fallbacks) == ("vllm.op.default", 1)


@pytest.mark.fresh_process(beside_inductor=True)
def test_imported_late() -> None:
    """Where Inductor is loaded, it is hooked at once."""
    messages = Messages()
    assert "lowering_hooks" not in sys.modules
    from torch._inductor.graph import GraphLowering

    stock = GraphLowering.call_function
    import lowering_hooks

    assert GraphLowering.call_function.__wrapped__ is stock
    assert lowering_hooks.status().state == "active"
    assert len(messages.infos()) == 1
    compile_one()
    assert lowering_hooks.report().ops[0].fallbacks == 1


@pytest.mark.fresh_process
def test_imported_in_the_middle() -> None:
    """Applied while Inductor is being imported, it hooks the first compile without being asked."""
    import torch  # noqa: F401

    graphs = []

    def in_the_middle() -> None:
        import lowering_hooks  # noqa: F401

        graphs.append(hasattr(sys.modules["torch._inductor.graph"], "GraphLowering"))

    run_after("torch._inductor.lowering", in_the_middle)
    importlib.import_module("torch._inductor.graph")
    assert graphs == [False]
    compile_one()
    import lowering_hooks

    assert [op.fallbacks for op in lowering_hooks.report().ops] == [1]


@pytest.mark.fresh_process(beside_inductor=True, LOWERING_HOOKS="FALSE")
def test_switched_off() -> None:
    """Nothing is hooked, whatever is asked for afterwards, and nothing is said."""
    messages = Messages()
    from torch._inductor.graph import GraphLowering

    stock = GraphLowering.call_function
    import lowering_hooks

    for status in (lowering_hooks.status(), lowering_hooks.apply(), lowering_hooks.apply("set_proxy")):
        assert (status.state, status.strategy) == ("inactive", "none")
        assert status.reason == "switched off by LOWERING_HOOKS=FALSE"
    assert GraphLowering.call_function is stock
    assert messages.records == []


@pytest.mark.fresh_process(
    beside_inductor=True,
    LOWERING_HOOKS="on",
    LOWERING_HOOKS_NAMESPACES=" mylib, other,",
    LOWERING_HOOKS_STRATEGY="SET_PROXY",
    LOWERING_HOOKS_DETAIL="everything",
)
def test_variables_are_taken() -> None:
    """The good ones; a bad one costs one WARNING, and a compile works."""
    messages = Messages()
    import lowering_hooks

    status = lowering_hooks.status()
    assert status.strategy == "set_proxy"
    assert status.namespaces == {"vllm", "vllm_aiter", "mylib", "other"}
    assert lowering_hooks.apply().strategy == "set_proxy"
    assert lowering_hooks.apply("call_function").strategy == "call_function"
    compile_one()
    (warning,) = messages.warnings()
    assert "LOWERING_HOOKS_DETAIL='everything'" in warning


@pytest.mark.fresh_process
def test_threads_compile_while_others_call() -> None:
    """Eight threads compile for a minute, while others allow, apply, remove and look."""
    import torch
    import torch._dynamo
    import torch._inductor.compile_fx
    from torch._inductor.exc import OperatorIssue
    from torch._inductor.graph import GraphLowering

    stock = vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]
    import lowering_hooks

    library = torch.library.Library("mylib", "DEF")
    # Stock 2.10 and 2.11 die of a segmentation fault when several compile, in turns as well (the builds for CUDA,
    # without a GPU: 9 of 9 and, on Python 3.12, 3 of 3 without lowering-hooks, in FakeTensorMode.__enter__).
    count = 1 if torch.__version__.startswith(("2.10.", "2.11.")) else 8
    seconds = 60
    defining = threading.Lock()  # libraries are not made for several threads
    errors, compiled, done = [], [], threading.Event()

    def op(name, factor):
        library.define(f"{name}(Tensor x) -> Tensor")
        library.impl(name, lambda x: x * factor, "CPU")
        library.impl(name, lambda x: x.new_empty(x.shape), "Meta")
        return getattr(torch.ops.mylib, name).default

    def guarded(work, *args):
        try:
            work(*args)
        except BaseException as error:
            errors.append(repr(error))

    def compile_all(i):
        for j in itertools.count():
            if time.monotonic() > end:
                return
            with defining:
                custom = op(f"op_{i}_{j}", i + j + 2)
            x = torch.full((3, 4), float(i + 1))
            # A function of its own for each model: compiled code belongs to a code object.
            scope = {"op": custom, "__name__": "__main__"}
            exec(compile(f"def model(x): return op(op(x) + {i}) + {j}", f"model_{i}_{j}.py", "exec"), scope)
            try:
                result = torch.compile(scope["model"], fullgraph=True)(x)
            except RuntimeError as error:
                # Stock: "FX traces" is one flag for all threads (seen on 2.0 without lowering-hooks).
                if "using FX to symbolically trace" not in str(error):
                    raise
                continue
            assert torch.equal(result, scope["model"](x)), (i, j)
            compiled.append((i, j))

    def loop(work):
        while not done.is_set():
            work()
            time.sleep(0.005)  # or they leave the compiles no time at all

    def strategies():
        lowering_hooks.apply("set_proxy")
        lowering_hooks.apply("call_function")

    def allow():
        lowering_hooks.allow("mylib")
        lowering_hooks.disallow("mylib")

    def block():
        with lowering_hooks.allowing("mylib"):
            lowering_hooks.bounded_ir()
        lowering_hooks.bounded_ir(False)

    calls = (strategies, allow, block, lowering_hooks.remove, lowering_hooks.status, lowering_hooks.report)
    knobs = [threading.Thread(target=guarded, args=(loop, work)) for work in calls]
    threads = [threading.Thread(target=guarded, args=(compile_all, i)) for i in range(count)]
    end = time.monotonic() + seconds
    for thread in [*knobs, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in knobs:
        thread.join()
    assert errors == []
    assert {i for i, _ in compiled} == set(range(count))
    assert lowering_hooks.apply("call_function").state == "active"
    assert vars(GraphLowering)["call_function"].__wrapped__ is stock[0]
    lowering_hooks.remove()
    lowering_hooks.bounded_ir(False)
    assert (vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]) == stock


@pytest.mark.fresh_process(beside_inductor=True)
def test_an_op_with_an_effect_token() -> None:
    """A real one is counted at each call, as test_call_function.py has it of the stand-in."""
    from installed import SERIES

    if SERIES < (2, 4):
        pytest.skip("there are no ops with an effect token")
    import torch
    from torch._higher_order_ops import effects

    import lowering_hooks

    library = torch.library.Library("effectful", "DEF")
    library.define("tell(Tensor x) -> Tensor")
    library.impl("tell", lambda x: x * 2, "CPU")
    library.impl("tell", lambda x: x.new_empty(x.shape), "Meta")
    tell = torch.ops.effectful.tell.default
    effects._register_effectful_op(tell, effects._EffectType.ORDERED)
    x = torch.randn(3)
    assert torch.equal(torch.compile(lambda x: tell(x) + tell(x + 1))(x), x * 2 + (x + 1) * 2)
    report = lowering_hooks.report()
    # On 2.4 the ops that make and take the token fall back, too.
    (op,) = [op for op in report.ops if op.op == "effectful.tell.default"]
    assert (op.fallbacks, op.graph) == (2, "0")
    assert "effectful" in report.not_allowed


@pytest.mark.fresh_process(beside_inductor=True)
def test_the_process_beside_inductor() -> None:
    """It has imported Inductor and nothing of ours, and compiled nothing."""
    assert "torch._inductor.graph" in sys.modules
    assert not [name for name in sys.modules if "lowering_hooks" in name]
    assert not logging.getLogger("lowering_hooks").handlers
    import torch._dynamo.utils

    assert not torch._dynamo.utils.counters
