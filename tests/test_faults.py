"""Whatever is wrong with the PyTorch that is there: a compile works as in stock, and one WARNING says what is wrong.

Each case breaks, in a fresh process, what we touch and what Inductor itself can do without.  test_applying.py has
what the status and the WARNING say, on a stand-in.
"""

from __future__ import annotations

import logging
import os
import sys
import types

import pytest
from compile_one import compile_here, compile_one
from hostile import HostileSet
from messages import Messages


def inductor() -> types.SimpleNamespace:
    """Return the modules of the loaded Inductor that a fault may break."""
    names = ("exc", "graph", "ir", "lowering")
    return types.SimpleNamespace(**{name: sys.modules[f"torch._inductor.{name}"] for name in names})


def text_renamed(exc, graph, lowering) -> None:
    exc.OperatorIssue.text = exc.OperatorIssue.operator_str
    del exc.OperatorIssue.operator_str


def text_takes_more(exc, graph, lowering) -> None:
    stock = exc.OperatorIssue.operator_str
    exc.OperatorIssue.operator_str = staticmethod(
        lambda target, args, kwargs, style=None: stock(target, args, kwargs)
    )


def text_cannot_be_called(exc, graph, lowering) -> None:
    stock = exc.OperatorIssue.operator_str
    exc.OperatorIssue.operator_str = staticmethod(
        lambda target, args, kwargs, style: stock(target, args, kwargs)
    )


def text_of_a_class(exc, graph, lowering) -> None:
    stock = exc.OperatorIssue.operator_str
    exc.OperatorIssue.operator_str = classmethod(
        lambda cls, target, args, kwargs: stock(target, args, kwargs)
    )


def exc_missing(exc, graph, lowering) -> None:
    del sys.modules["torch._inductor.exc"]


def exc_empty(exc, graph, lowering) -> None:
    sys.modules["torch._inductor.exc"] = types.ModuleType("torch._inductor.exc")


def call_takes_more(exc, graph, lowering) -> None:
    stock = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, target, args, kwargs, more=None: stock(
        self, target, args, kwargs
    )


def call_with_other_names(exc, graph, lowering) -> None:
    stock = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, t, a, k: stock(self, t, a, k)


def call_that_hides_the_text(exc, graph, lowering) -> None:
    """As far as can be seen, it does not ask for the text."""
    stock = [graph.GraphLowering.call_function]
    graph.GraphLowering.call_function = lambda self, *all: stock[0](self, *all)


def error_with_its_own_text(exc, graph, lowering) -> None:
    exc.LoweringException.operator_str = staticmethod(lambda target, args, kwargs: "own")


def allow_list_frozen(exc, graph, lowering) -> None:
    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = frozenset(lowering.FALLBACK_ALLOW_LIST)


def allow_list_hostile(exc, graph, lowering) -> None:
    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = HostileSet(lowering.FALLBACK_ALLOW_LIST)


def two_allow_lists(exc, graph, lowering) -> None:
    lowering.FALLBACK_ALLOW_LIST = set(lowering.FALLBACK_ALLOW_LIST)


def both_contracts(exc, graph, lowering) -> None:
    text_of_a_class(exc, graph, lowering)
    two_allow_lists(exc, graph, lowering)


def version_no_string(exc, graph, lowering) -> None:
    vars(sys.modules["torch"])["__version__"] = 7


def version_unreadable(exc, graph, lowering) -> None:
    vars(sys.modules["torch"])["__version__"] = "main@abc"


def version_unverified(exc, graph, lowering) -> None:
    vars(sys.modules["torch"])["__version__"] = "2.99.0"


# The state, the strategy, and how many WARNINGs there are.
FALLS_BACK = ("active", "set_proxy", 1)
AS_EVER = ("active", "call_function", 0)
RUNS_AS_STOCK = ("inactive", "none", 1)

FAULTS = {
    text_renamed: FALLS_BACK,
    text_takes_more: AS_EVER,
    text_cannot_be_called: FALLS_BACK,
    text_of_a_class: FALLS_BACK,
    exc_missing: FALLS_BACK,
    exc_empty: FALLS_BACK,
    call_takes_more: AS_EVER,
    call_with_other_names: AS_EVER,
    call_that_hides_the_text: AS_EVER,
    error_with_its_own_text: AS_EVER,
    allow_list_frozen: AS_EVER,
    allow_list_hostile: AS_EVER,
    two_allow_lists: AS_EVER,
    both_contracts: RUNS_AS_STOCK,
    version_no_string: FALLS_BACK,
    version_unreadable: FALLS_BACK,
    version_unverified: FALLS_BACK,
}


@pytest.mark.fresh_process(beside_inductor=True)
@pytest.mark.parametrize(("fault", "expected"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_compile_works_as_in_stock(fault, expected) -> None:
    """The status tells what is hooked, one WARNING what is wrong, and nothing raises."""
    messages, found = Messages(), inductor()
    fault(found.exc, found.graph, found.lowering)
    import lowering_hooks

    for _ in range(2):
        status = lowering_hooks.status()
    assert (status.state, status.strategy, len(messages.warnings())) == expected, (status, messages.records)
    compile_one("op")
    lowering_hooks.report()
    lowering_hooks.remove()
    lowering_hooks.apply()
    lowering_hooks.status()


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


@pytest.mark.fresh_process(beside_inductor=True, LOWERING_HOOKS_STRATEGY="{strategy}")
@pytest.mark.parametrize(
    ("strategy", "name"), [(strategy, name) for strategy, names in LOOKED_AT.items() for name in names]
)
def test_whatever_a_name_has_become(strategy, name) -> None:
    """Missing, raising or of another type: a compile works, and what stood is put back."""
    messages, found = Messages(), inductor()
    path, _, attribute = name.rpartition(".")
    module = sys.modules[path if path.startswith("torch") else f"torch._inductor.{path}"]
    graph, kind = found.graph, type(module)

    def missing(module):
        raise AttributeError(attribute)

    def raising(module):
        raise RuntimeError(attribute)

    def of_another_type(module):
        return 7

    def standing():
        issue = sys.modules["torch._inductor.exc"].OperatorIssue
        return (
            vars(graph.GraphLowering)["call_function"],
            vars(issue)["operator_str"],
            graph.FALLBACK_ALLOW_LIST,
        )

    stock = standing()
    logging.getLogger("torch._inductor").setLevel(logging.INFO)  # so that the text is built
    for look in (missing, raising, of_another_type):
        messages.records.clear()
        # The module's own code looks into its dictionary, and finds what was there.
        module.__class__ = type("Broken", (kind,), {attribute: property(look)})
        import lowering_hooks

        status = lowering_hooks.status()
        lowering_hooks.bounded_ir()
        if path not in ("graph", "exc"):
            module.__class__ = kind
        compile_one(look.__name__)
        module.__class__ = kind
        print(look.__name__, status, messages.records)
        assert status.state in ("active", "inactive")
        # The second is for bounded_ir, which was asked for beside it.
        assert (status.state == "inactive") <= len(messages.warnings()) <= 1 + (name == "ir.IRNode")
        lowering_hooks.remove()
        lowering_hooks.bounded_ir(False)
        assert standing() == stock
        for loaded in [loaded for loaded in sys.modules if loaded.startswith("lowering_hooks")]:
            del sys.modules[loaded]


def imports_torch_without(missing: str) -> None:
    sys.modules[missing] = None  # importing it raises ModuleNotFoundError
    try:
        import torch  # noqa: F401
    except ImportError:
        pytest.skip(f"stock cannot be imported without {missing} on this series")


def starts_without(missing: str) -> None:
    sys.modules[missing] = None
    import _lowering_hooks_autoload

    _lowering_hooks_autoload.torch_backend()
    import torch

    import lowering_hooks

    assert torch.ones(2).sum() == 2
    for status in (lowering_hooks.status(), lowering_hooks.apply("set_proxy"), lowering_hooks.apply()):
        assert status.state == "pending"
        assert "not imported yet" in status.reason
    from lowering_hooks.cli import main

    assert main(["status"]) == 0
    assert lowering_hooks.remove().state == "removed"
    assert main(["status"]) == 0
    assert main(["check"]) == 3


@pytest.mark.parametrize("missing", ["torch._inductor", "torch._inductor.graph"])
def test_a_torch_without_inductor(run, missing) -> None:
    """It is left as it is, and the command line says why nothing is hooked."""
    run(imports_torch_without, missing)
    done = run(starts_without, missing)
    assert "Inductor could not be imported: ModuleNotFoundError" in done.stdout
    assert "state           pending" in done.stdout
    assert "NOT checked" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("lowering-hooks check compiles a small graph twice")


def compiles_at_its_end(as_stock: bool) -> None:
    compile_here()
    import atexit

    if not as_stock:
        import lowering_hooks

    compile_one("early")  # PyTorch itself cannot begin with it at the end

    class Late:
        def __init__(self, manager):
            self.manager = manager

        def __del__(self):
            if self.manager is not None:
                self.manager.status()
                self.manager.remove()
            os.write(1, b"deleted\n")

    cycle: list[object] = [Late(None if as_stock else lowering_hooks._manager)]
    cycle.append(cycle)
    vars(sys.modules[__name__])["kept"] = cycle  # until modules are taken apart
    atexit.register(compile_one, "late")
    if not as_stock:
        atexit.register(lambda: print(lowering_hooks.status().state))


def test_at_the_end_of_the_interpreter(run) -> None:
    """It still answers, and a compile still works."""
    from installed import SERIES  # imports PyTorch

    done = run(compiles_at_its_end, False)
    # Stock 2.1 to 2.3 keep what a module has to the very end.
    stock = run(compiles_at_its_end, True)
    assert done.stdout.splitlines() == ["active", *stock.stdout.splitlines()]
    if not (2, 1) <= SERIES <= (2, 3):
        assert "deleted" in stock.stdout
    assert "Error" not in done.stderr


def starts_a_subinterpreter() -> None:
    try:
        import _interpreters as interpreters  # Python >=3.13
    except ImportError:
        import _xxsubinterpreters as interpreters
    import _lowering_hooks_autoload

    _lowering_hooks_autoload.torch_backend()
    number = interpreters.create()
    code = "import _lowering_hooks_autoload; _lowering_hooks_autoload.torch_backend(); print('started')"
    found = interpreters.run_string(number, code)
    assert found is None
    interpreters.destroy(number)


def test_a_subinterpreter(run) -> None:
    """It starts with lowering-hooks; an import that it cannot do costs one line at most."""
    done = run(starts_a_subinterpreter)
    assert done.stdout == "started\n"
    assert len(done.stderr.splitlines()) <= 1
