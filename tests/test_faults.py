"""Whatever is wrong with the PyTorch that is there: a compile works as in stock, and one WARNING says what is wrong.

Each case breaks, in a fresh process, what we touch and what Inductor itself can do without.  test_hooking.py has
those where both strategies, or one that was asked for, cannot be used.
"""

from __future__ import annotations

import pytest
from snippets import COMPILE_HERE, COMPILE_ONE, KEEP_MESSAGES

BEGIN = (
    KEEP_MESSAGES
    + COMPILE_ONE
    + """
import sys, torch._inductor.graph
graph, lowering, exc = (sys.modules[f"torch._inductor.{name}"] for name in ("graph", "lowering", "exc"))
"""
)

CHECK = """
import lowering_hooks
for _ in range(2):
    status = lowering_hooks.status()
assert status.state == {state!r}, status
assert status.strategy == {strategy!r}, status
assert len(warnings()) == {warnings}, messages
compile_one("op")
lowering_hooks.report(), lowering_hooks.remove(), lowering_hooks.apply(), lowering_hooks.status()
"""

FALLS_BACK = {"state": "active", "strategy": "set_proxy", "warnings": 1}
AS_EVER = {"state": "active", "strategy": "call_function", "warnings": 0}

FAULTS = {
    "operator_str renamed": (
        "exc.OperatorIssue.text = exc.OperatorIssue.operator_str; del exc.OperatorIssue.operator_str",
        FALLS_BACK,
    ),
    "operator_str takes more": (
        (
            "f = exc.OperatorIssue.operator_str\n"
            "exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs, style=None: f(target, args, kwargs))"
        ),
        AS_EVER,
    ),
    "operator_str cannot be called": (
        (
            "f = exc.OperatorIssue.operator_str\n"
            "exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs, style: f(target, args, kwargs))"
        ),
        FALLS_BACK,
    ),
    "exc missing": ("del sys.modules['torch._inductor.exc']", FALLS_BACK),
    "exc empty": ("sys.modules['torch._inductor.exc'] = type(exc)('torch._inductor.exc')", FALLS_BACK),
    "call_function takes more": (
        (
            "f = graph.GraphLowering.call_function\n"
            "graph.GraphLowering.call_function = lambda self, target, args, kwargs, more=None: f(self, target, args, kwargs)"
        ),
        AS_EVER,
    ),
    "call_function with other names": (
        (
            "f = graph.GraphLowering.call_function\n"
            "graph.GraphLowering.call_function = lambda self, t, a, k: f(self, t, a, k)"
        ),
        AS_EVER,
    ),
    "call_function that does not ask for the text": (
        (
            "f = graph.GraphLowering.call_function\n"
            "graph.GraphLowering.call_function = lambda self, *all: [f][0](self, *all)"
        ),
        AS_EVER,
    ),
    "an error with a text of its own": (
        "exc.LoweringException.operator_str = staticmethod(lambda target, args, kwargs: 'own')",
        AS_EVER,
    ),
    "allow list frozen": (
        "graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = frozenset(lowering.FALLBACK_ALLOW_LIST)",
        AS_EVER,
    ),
    "two allow lists": ("lowering.FALLBACK_ALLOW_LIST = set(lowering.FALLBACK_ALLOW_LIST)", AS_EVER),
    "version no string": ("torch.__version__ = 7", FALLS_BACK),
    "version unreadable": ("torch.__version__ = 'main@abc'", FALLS_BACK),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_compile_works_as_in_stock(run_beside_inductor, fault: str) -> None:
    code, expected = FAULTS[fault]
    run_beside_inductor(BEGIN + code + CHECK.format(**expected))


# What each strategy looks at, as an attribute of a module.  PyTorch's own code reads those of other modules than
# graph and exc there as well: they are as ever again when something is compiled.
LOOKED_AT = {
    "auto": [
        "graph.GraphLowering",
        "graph.log",
        "graph.FALLBACK_ALLOW_LIST",
        "lowering.lowerings",
        "exc.OperatorIssue",
        "exc.LoweringException",
        "ir.IRNode",
        "torch._ops.OpOverload",
    ],
    "set_proxy": [
        "graph.FALLBACK_ALLOW_LIST",
        "lowering.FALLBACK_ALLOW_LIST",
        "lowering.add_layout_constraint",
        "lowering.tag_to_layout_constraint",
        "torch.Tag",
    ],
}


@pytest.mark.parametrize(
    ("strategy", "name"), [(strategy, name) for strategy, names in LOOKED_AT.items() for name in names]
)
def test_a_compile_works_whatever_a_name_has_become(run_beside_inductor, strategy, name) -> None:
    module, _, attribute = name.rpartition(".")
    run_beside_inductor(
        BEGIN
        + f"""
from torch._inductor import ir

def missing(module):
    raise AttributeError({attribute!r})
def raising(module):
    raise RuntimeError({attribute!r})
def of_another_type(module):
    return 7
def standing():
    issue = sys.modules["torch._inductor.exc"].OperatorIssue
    return vars(graph.GraphLowering)["call_function"], vars(issue)["operator_str"], graph.FALLBACK_ALLOW_LIST

stock, kind = standing(), type({module})
logging.getLogger("torch._inductor").setLevel(logging.INFO)  # so that the text is built
for look in (missing, raising, of_another_type):
    messages.clear()
    # The module's own code looks into its dictionary, and finds what was there.
    {module}.__class__ = type("Broken", (kind,), {{{attribute!r}: property(look)}})
    import lowering_hooks
    status = lowering_hooks.status()
    lowering_hooks.bounded_ir()
    if {module!r} not in ("graph", "exc"):
        {module}.__class__ = kind
    compile_one(look.__name__)
    {module}.__class__ = kind
    print(look.__name__, status, messages)
    assert status.state in ("active", "inactive"), status
    # The second is for bounded_ir, which was asked for beside it.
    assert (status.state == "inactive") <= len(warnings()) <= 1 + ({name!r} == "ir.IRNode"), messages
    lowering_hooks.remove()
    lowering_hooks.bounded_ir(False)
    assert standing() == stock
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("lowering_hooks")]:
        del sys.modules[loaded]
""",
        LOWERING_HOOKS_STRATEGY=strategy,
    )


@pytest.mark.parametrize("missing", ["torch._inductor", "torch._inductor.graph"])
def test_a_torch_without_inductor_is_left_as_it_is(run, missing: str) -> None:
    without = f"import sys; sys.modules[{missing!r}] = None\n"  # importing it raises ModuleNotFoundError
    if run(without + "import torch", check=False).returncode:
        pytest.skip(f"stock cannot be imported without {missing} on this series")
    done = run(
        without
        + """
import _lowering_hooks_autoload
_lowering_hooks_autoload.torch_backend()
import torch, lowering_hooks
assert torch.ones(2).sum() == 2
for status in (lowering_hooks.status(), lowering_hooks.apply("set_proxy"), lowering_hooks.apply()):
    assert status.state == "pending" and "not imported yet" in status.reason, status
assert lowering_hooks.remove().state == "removed"
from lowering_hooks.cli import main
assert main(["status"]) == 0
assert main(["check"]) == 1
"""
    )
    assert "Inductor could not be imported: ModuleNotFoundError" in done.stdout
    assert "NOT checked" in done.stdout
    assert done.stderr == ""


def test_a_forked_process_does_not_wait_for_locks_that_nobody_holds_any_more(run) -> None:
    run(
        COMPILE_HERE
        + COMPILE_ONE
        + """
import os, signal, threading, torch._inductor.compile_fx, lowering_hooks
manager = lowering_hooks._manager
held, done = threading.Event(), threading.Event()
def hold():
    with manager._lock, manager.records._adding_up:
        held.set()
        done.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    lowering_hooks.allow("mylib")
    compile_one("op", "mylib")
    lowering_hooks.remove()
    lowering_hooks.apply()
    assert [op.op for op in lowering_hooks.report().ops] == ["mylib.op.default"]
    assert lowering_hooks.status().state == "active"
    os._exit(0)
status = os.waitpid(child, 0)[1]
done.set()
holder.join()
assert status == 0, status
"""
    )


def test_at_the_end_of_the_interpreter_it_still_answers(run) -> None:
    done = run(
        COMPILE_HERE
        + COMPILE_ONE
        + """
import atexit, lowering_hooks
compile_one("early")  # PyTorch itself cannot begin with it at the end

class Late:
    def __init__(self, manager):
        self.manager = manager
    def __del__(self):  # when modules are taken apart
        self.manager.status()
        self.manager.remove()
late = Late(lowering_hooks._manager)
cycle = [late]
cycle.append(cycle)
atexit.register(compile_one, "late")
atexit.register(lambda: print(lowering_hooks.status().state))
""",
    )
    assert done.stdout == "active\n"
    assert "Error" not in done.stderr


def test_a_subinterpreter_starts_with_it(run) -> None:
    done = run(
        """
        try:
            import _interpreters as interpreters  # Python >=3.13
        except ImportError:
            import _xxsubinterpreters as interpreters
        import _lowering_hooks_autoload
        _lowering_hooks_autoload.torch_backend()
        number = interpreters.create()
        found = interpreters.run_string(
            number, "import _lowering_hooks_autoload; _lowering_hooks_autoload.torch_backend(); print('started')"
        )
        assert found is None, found
        interpreters.destroy(number)
        """
    )
    assert done.stdout == "started\n"
    assert len(done.stderr.splitlines()) <= 1, done.stderr
