"""The text of an op: who gets it in full, and what is counted; on a stand-in for Inductor."""

from __future__ import annotations

import copy
import functools
import logging
import pickle
import sys
import types
from typing import Any

import pytest

from lowering_hooks.describe.graph import MAX_ERROR_NODES
from lowering_hooks.hooks import BoundedIR, Writer, operator_text
from lowering_hooks.hooks.operator_text import OperatorText
from lowering_hooks.inductor.modules import loaded
from lowering_hooks.namespaces import Namespaces
from lowering_hooks.records import Records

ADVICE = "; LOWERING_HOOKS_DETAIL=graph shows them"


class Kit:
    """The hook of the text of ops, whose original writes the arguments, and that of the texts of nodes."""

    def __init__(self, stand, detail="args") -> None:
        self.stand, self.issue = stand, stand.exc.OperatorIssue
        self.issue.operator_str = staticmethod(lambda target, args, kwargs: f"{target}: {args} {kwargs}")
        self.records = Records()
        self.writer = Writer(self.records)
        self.writer.mode = "auto"
        self.texts = BoundedIR(stand.ir, self.writer)
        self.texts.install()
        namespaces = Namespaces(frozenset({"lib"}))
        self.hook = OperatorText(loaded(), namespaces, self.records, detail, self.writer)
        self.hook.install()
        self.op, self.other = (getattr(stand.torch.ops, name).op.default for name in ("lib", "other"))
        self.node = type("Node", (stand.ir.IRNode,), {})

    def chain(self, length):
        node = None
        for i in range(length):
            node, behind = self.node(), node
            node.name, node.inputs = f"buf{i}", [behind] if behind is not None else []
        return node

    def text(self, target, *args) -> str:
        return self.issue.operator_str(target, args, {})


@pytest.fixture
def kit(stand):
    return Kit(stand)


@pytest.fixture
def kit_with(stand):
    """Make the hook with a detail."""
    return lambda detail: Kit(stand, detail)


def test_the_extent(kit) -> None:
    """It is told of what stands behind the arguments, with the setting that has it shown."""
    assert kit.text(kit.op, kit.chain(3)).endswith(f"  behind them 3 nodes, 2 kernels deep{ADVICE}")
    assert "behind them" not in kit.text(kit.op, kit.chain(1))


def test_an_op_that_is_not_allowed(kit) -> None:
    """Where its text is too long even with names, it is as short, without an advice that would not help."""
    text = kit.text(kit.other, kit.chain(3), "x" * 200_000)
    assert text.startswith("  target: other.op.default\n  args[0]: buf2 Node(")
    assert "\n  behind them 3 nodes, 2 kernels deep\n... lowering-hooks cut this text" in text
    assert kit.text(kit.other, 1) == "other.op.default: (1,) {}"


@pytest.mark.parametrize("mode", ["auto", True, False])
def test_a_text_that_is_no_string(kit, mode) -> None:
    """What another library returns instead, such as an object that Inductor formats, is passed on."""
    lazy = object()
    kit.hook.remove()
    kit.issue.operator_str = staticmethod(lambda target, args, kwargs: lazy)
    kit.writer.mode = mode
    kit.hook = OperatorText(loaded(), Namespaces(frozenset({"lib"})), kit.records, "full", kit.writer)
    kit.hook.install()
    assert kit.text(kit.other, 1) is lazy
    assert kit.text(kit.op, 1) is lazy


@pytest.mark.parametrize("length", [5, MAX_ERROR_NODES + 50])
def test_the_graph(kit_with, length) -> None:
    """A log line has every node; an error has the nearest."""
    kit = kit_with("graph")
    node = kit.chain(length)
    shown = min(length, MAX_ERROR_NODES)
    assert kit.text(kit.op, node).count(" Node(") == shown + 1  # and the argument
    lowering = kit.stand.graph.GraphLowering()
    kit.stand.graph.log.setLevel(logging.INFO)
    kit.node.__call__ = lambda self: None
    lowering.call_function(kit.op, (node,), {})
    assert lowering.texts[0].count(" Node(") == length + 1


def test_the_graph_in_a_lazy_log_line(stand, monkeypatch) -> None:
    """From PyTorch 2.13 on it is the log record that asks."""

    class Asks:
        def __init__(self, func, *args) -> None:
            self.func, self.args = func, args

        def __str__(self) -> str:
            return self.func(*self.args)

    class LazyString(Asks):
        def __str__(self) -> str:
            return self.func(*self.args)

    lazy: Any = types.ModuleType("torch._logging")
    lazy.LazyString = LazyString
    monkeypatch.setitem(sys.modules, "torch._logging", lazy)
    kit = Kit(stand, "graph")
    asked = kit.issue.operator_str, kit.op, (kit.chain(MAX_ERROR_NODES + 50),), {}
    assert str(LazyString(*asked)).count(" Node(") == MAX_ERROR_NODES + 51
    assert str(Asks(*asked)).count(" Node(") == MAX_ERROR_NODES + 1


def test_inductors_own_text_of_an_allowed_op(kit_with) -> None:
    """With DETAIL=full it is counted once, whether it was cut or not."""
    kit = kit_with("full")
    assert kit.text(kit.op, 1) == "lib.op.default: (1,) {}"
    (op,) = kit.records.report().ops
    assert (op.texts, op.cut, op.stock_characters) == (1, 0, len("lib.op.default: (1,) {}"))
    kit.records.reset()
    assert "lowering-hooks cut this text" in kit.text(kit.op, "x" * 200_000)
    (op,) = kit.records.report().ops
    assert (op.texts, op.cut) == (1, 1)


def test_the_seconds(kit, monkeypatch) -> None:
    """They are those that the text took."""
    times = iter([10.0, 12.5])
    monkeypatch.setattr(operator_text, "time", types.SimpleNamespace(perf_counter=lambda: next(times)))
    kit.text(kit.op)
    assert kit.records.report().seconds == 2.5


@pytest.mark.parametrize("log", [None, types.SimpleNamespace(isEnabledFor=lambda level: 1 / 0)])
def test_a_log_that_cannot_be_asked(kit, log) -> None:
    """The text is written as if it were logged."""
    kit.stand.graph.log = log
    lowering = kit.stand.graph.GraphLowering()
    lowering.call_function(kit.op, (lambda: None,), {})
    assert "args[0]" in lowering.texts[0]
    assert kit.records.report().ops[0].shown is True


def test_an_operator_str_that_is_a_class_method(kit) -> None:
    """The hook says that it cannot replace it, and does not begin to."""
    kit.hook.remove()
    kit.issue.operator_str = classmethod(lambda cls, target, args, kwargs: "")
    says = "torch._inductor.exc.OperatorIssue.operator_str is not a static method"
    assert OperatorText.problems(loaded()) == (says,)
    with pytest.raises(TypeError, match=says):
        OperatorText(loaded(), Namespaces(frozenset()), kit.records, "args", kit.writer)


def test_copies_and_pickles(kit) -> None:
    """It is copied and pickled as a function is: log records hold it."""
    standing = kit.issue.operator_str
    assert copy.copy(standing) is copy.deepcopy(standing) is standing
    pickled = pickle.dumps(standing)
    assert pickle.loads(pickled) is standing
    kit.hook.remove()
    assert pickle.loads(pickled) is kit.issue.operator_str is not standing


def test_what_others_put_in_its_place(kit) -> None:
    """What does not call the replacement displaces it; what does has wrapped it."""
    assert (kit.hook.displaced_by(), kit.hook.conflicts()) == (None, ())
    ours = kit.issue.operator_str
    kit.issue.operator_str = staticmethod(lambda target, args, kwargs: "theirs")
    assert kit.hook.displaced_by().endswith("<lambda>")
    assert kit.hook.conflicts() == ()
    kit.issue.operator_str = staticmethod(functools.wraps(ours)(lambda *args: ours(*args)))
    assert kit.hook.displaced_by() is None
    (conflict,) = kit.hook.conflicts()
    assert conflict.endswith("wrapped OperatorIssue.operator_str after lowering-hooks did")
