"""The wrapper around call_function, on a small stand-in for Inductor whose every step can be watched."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
import types

import pytest

from lowering_hooks import call_function
from lowering_hooks.call_function import CallFunctionHook
from lowering_hooks.inductor import GRAPH, Inductor, name_of
from lowering_hooks.namespaces import Namespaces
from lowering_hooks.records import Records


class Overload:
    def __init__(self, name: str) -> None:
        self.namespace, _, self.op = name.partition("::")

    def name(self) -> str:
        return f"{self.namespace}::{self.op}"

    def __str__(self) -> str:
        return f"{self.namespace}.{self.op}.default"


class Stand:
    """A stand-in for the loaded Inductor, with its hook."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, detail: str = "args") -> None:
        lowerings: dict[object, object] = {}

        class OperatorIssue(RuntimeError):
            @staticmethod
            def operator_str(target, args, kwargs):
                """Inductor's own text."""
                return f"stock text of {target}"

        class GraphLowering:
            def call_function(self, target, args, kwargs):
                """Lower one node."""
                self.texts.append(OperatorIssue.operator_str(target, args, kwargs))
                for inner in args:
                    inner()
                self.texts.append(OperatorIssue.operator_str(target, args, kwargs))
                lowerings[target] = "fallback"
                return target

            def __init__(self):
                self.texts = []

        self.graph_class, self.issue = GraphLowering, OperatorIssue
        self.lowerings = lowerings
        self.call_function = vars(GraphLowering)["call_function"]
        self.operator_str = vars(OperatorIssue)["operator_str"]
        inductor = Inductor(
            torch=types.SimpleNamespace(_ops=types.SimpleNamespace(OpOverload=Overload)),
            graph=types.SimpleNamespace(GraphLowering=GraphLowering, FALLBACK_ALLOW_LIST={"lib::listed"}),
            lowering=types.SimpleNamespace(lowerings=lowerings),
            exc=types.SimpleNamespace(OperatorIssue=OperatorIssue),
        )
        self.graph = inductor.graph
        monkeypatch.setitem(__import__("sys").modules, GRAPH, inductor.graph)
        self.records = Records()
        self.namespaces = Namespaces(frozenset({"lib"}))
        self.hook = CallFunctionHook(inductor, self.namespaces, self.records, detail)
        self.hook.install()

    def texts(self, target, *inner):
        graph = self.graph_class()
        assert graph.call_function(target, inner, {}) is target
        assert threading.get_ident() not in self.hook._last_texts
        return graph.texts


OURS = "  target: lib.op.default"


@pytest.fixture
def stand(monkeypatch):
    return Stand(monkeypatch)


def test_the_text_of_an_allowed_op_is_bounded_and_of_others_stock(stand) -> None:
    assert stand.texts(Overload("lib::op")) == [OURS, OURS]
    assert stand.texts(Overload("other::op")) == ["stock text of other.op.default"] * 2
    assert stand.texts("lib::not_an_overload") == ["stock text of lib::not_an_overload"] * 2


def test_the_wrapper_looks_like_what_it_wraps(stand) -> None:
    wrapper = stand.graph_class.call_function
    assert wrapper is not stand.call_function
    assert wrapper.__wrapped__ is stand.call_function
    assert wrapper.__name__ == "call_function"
    assert wrapper.__qualname__ == stand.call_function.__qualname__
    assert wrapper.__doc__ == "Lower one node."
    assert inspect.signature(wrapper) == inspect.signature(stand.call_function)
    assert stand.issue.operator_str.__doc__ == "Inductor's own text."
    assert isinstance(vars(stand.issue)["operator_str"], staticmethod)


def test_a_nested_op_is_described_by_its_own_namespace(stand) -> None:
    graph = stand.graph_class()
    inner = stand.graph_class()
    outer_op, inner_op = Overload("lib::op"), Overload("other::op")
    graph.call_function(outer_op, (lambda: inner.call_function(inner_op, (), {}),), {})
    assert all(text.startswith(OURS) for text in graph.texts)
    assert inner.texts == ["stock text of other.op.default"] * 2

    graph, inner = stand.graph_class(), stand.graph_class()
    graph.call_function(inner_op, (lambda: inner.call_function(outer_op, (), {}),), {})
    assert graph.texts == ["stock text of other.op.default"] * 2
    assert inner.texts == [OURS, OURS]


def test_an_exception_passes_and_no_text_is_kept(stand) -> None:
    def fail():
        raise ArithmeticError("inside")

    for name in ("lib::op", "other::op"):
        with pytest.raises(ArithmeticError, match="inside"):
            stand.graph_class().call_function(Overload(name), (fail,), {})
        assert stand.hook._last_texts == {}


def test_threads_do_not_see_each_others_op(stand) -> None:
    inside, done = threading.Event(), threading.Event()
    results = {}

    def allowed():
        def wait():
            inside.set()
            assert done.wait(60)

        results["lib"] = stand.texts(Overload("lib::op"), wait)

    def other():
        assert inside.wait(60)
        results["other"] = stand.texts(Overload("other::op"))
        done.set()

    threads = [threading.Thread(target=f) for f in (allowed, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(text.startswith(OURS) for text in results["lib"])
    assert results["other"] == ["stock text of other.op.default"] * 2


def test_a_text_that_a_log_handler_asks_for_later_is_bounded_as_well(stand) -> None:
    assert stand.issue.operator_str(Overload("lib::op"), (), {}) == OURS
    assert stand.issue.operator_str(Overload("other::op"), (), {}) == "stock text of other.op.default"


def test_detail_full_is_inductors_own_text(monkeypatch) -> None:
    stand = Stand(monkeypatch, detail="full")
    assert stand.texts(Overload("lib::op")) == ["stock text of lib.op.default"] * 2
    assert stand.records.report().ops[0].texts == 1  # asked for twice, built once


def test_a_text_is_built_once_however_often_it_is_asked_for(stand, monkeypatch) -> None:
    built = []
    monkeypatch.setattr(
        call_function, "operator_text", lambda target, *_: built.append(target) or str(target)
    )
    op = Overload("lib::op")
    assert stand.texts(op) == [str(op)] * 2
    assert built == [op]
    stand.texts(op)  # another call, other arguments
    assert built == [op, op]
    stand.issue.operator_str(op, (), {})  # outside of any call nothing is kept
    stand.issue.operator_str(op, (), {})
    assert len(built) == 4


@pytest.mark.parametrize("detail", ["args", "graph", "full"])
def test_an_error_carries_the_bounded_text_whatever_the_detail(monkeypatch, detail) -> None:
    stand = Stand(monkeypatch, detail)

    class LoweringError(stand.issue):
        def __init__(self, target):
            super().__init__(f"failed\n{self.operator_str(target, (), {})}")

    assert str(LoweringError(Overload("lib::op"))) == f"failed\n{OURS}"
    assert str(LoweringError(Overload("other::op"))) == "failed\nstock text of other.op.default"


@pytest.mark.parametrize("detail", ["args", "graph", "full"])
def test_a_text_that_nobody_will_see_is_short_whatever_the_detail(monkeypatch, detail) -> None:
    stand = Stand(monkeypatch, detail)
    stand.graph.log = logging.getLogger("test of a text that nobody will see")
    stand.graph.log.setLevel(logging.WARNING)
    assert stand.texts(Overload("lib::op")) == [OURS] * 2
    assert stand.records.report().ops[0].shown is False
    stand.graph.log.setLevel(logging.INFO)
    stand.texts(Overload("lib::op"))
    assert stand.records.report().ops[0].shown is True


def test_a_namespace_that_loses_seconds_is_hinted_at_once(stand, monkeypatch, caplog) -> None:
    clock = iter(range(0, 1000, 2))  # every text takes 2 s
    monkeypatch.setattr(call_function.time, "perf_counter", lambda: next(clock))
    for _ in range(5):
        stand.texts(Overload("slow::op"))
        stand.texts(Overload("lib::op"))
        stand.texts("a_plain_function")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("lowering_hooks", "WARNING")
    for part in (
        "6.0 s",
        "slow.op.default",
        "lowering_hooks.allow('slow')",
        "LOWERING_HOOKS_NAMESPACES=slow",
    ):
        assert part in record.getMessage()


def test_remove_leaves_the_very_objects_that_stood_there(stand) -> None:
    stand.hook.remove()
    assert vars(stand.graph_class)["call_function"] is stand.call_function
    assert vars(stand.issue)["operator_str"] is stand.operator_str
    stand.hook.remove()
    assert vars(stand.graph_class)["call_function"] is stand.call_function


def test_remove_leaves_a_later_wrapper_in_place_and_passes_its_calls_on(stand) -> None:
    ours = stand.graph_class.call_function

    @functools.wraps(ours)
    def theirs(self, target, args, kwargs):
        return ours(self, target, args, kwargs)

    stand.graph_class.call_function = theirs
    assert stand.hook.displaced_by() is None  # it calls us, as can be seen
    (conflict,) = stand.hook.conflicts()
    assert f"{__name__}." in conflict
    assert "theirs" in conflict
    assert stand.texts(Overload("lib::op")) == [OURS, OURS]
    stand.hook.remove()
    assert stand.graph_class.call_function is theirs
    stand.records.reset()
    assert stand.texts(Overload("lib::op")) == ["stock text of lib.op.default"] * 2
    assert stand.records.report().ops == (), "a removed hook still counts"


def test_who_displaced_us_is_named(stand) -> None:
    def theirs(self, target, args, kwargs):
        return target

    stand.graph_class.call_function = theirs
    assert stand.hook.displaced_by() == name_of(theirs)
    assert name_of(theirs).startswith(f"{__name__}.")
    assert name_of(theirs).endswith("theirs")
    stand.hook.remove()
    assert stand.graph_class.call_function is theirs


def test_a_replaced_operator_str_is_named(stand) -> None:
    def bounded(target, args, kwargs):
        return ""

    stand.issue.operator_str = staticmethod(bounded)
    assert stand.hook.displaced_by() == name_of(bounded)
    stand.hook.remove()
    assert stand.issue.operator_str is bounded
    assert vars(stand.graph_class)["call_function"] is stand.call_function


def test_the_wrapper_of_another_copy_of_the_package_is_taken_over(stand) -> None:
    again = CallFunctionHook(stand.hook._inductor, stand.namespaces, stand.records, "args")
    again.install()
    assert stand.graph_class.call_function.__wrapped__ is stand.call_function
    assert stand.texts(Overload("lib::op")) == [OURS, OURS]
    again.remove()
    assert vars(stand.graph_class)["call_function"] is stand.call_function
    assert stand.issue.operator_str(Overload("lib::op"), (), {}) == "stock text of lib.op.default"


def test_the_report_counts_implicit_fallbacks_and_the_time_of_their_texts(stand) -> None:
    for name in ("lib::op", "lib::listed", "other::op"):
        stand.texts(Overload(name))
    known = Overload("lib::known")
    stand.lowerings[known] = "a real lowering"
    stand.graph_class().call_function(known, (), {})
    report = stand.records.report()
    fallbacks = {op.op: op.fallbacks for op in report.ops}
    assert fallbacks == {"lib.op.default": 1, "lib.listed.default": 0, "lib.known.default": 0}
    assert report.ops[0].texts == 1  # asked for twice, built once
    assert report.ops[0].seconds > 0
    assert report.seconds == sum(op.seconds for op in report.ops)
    assert "lib.op.default" in str(report)
    stand.records.reset()
    assert stand.records.report().ops == ()
    assert "no op" in str(stand.records.report())


def test_what_is_met_while_a_known_op_is_lowered_makes_no_fallback_of_it(stand) -> None:
    known, met = Overload("lib::known"), Overload("lib::met")
    stand.lowerings[known] = "a real lowering"
    stand.texts(known, lambda: stand.lowerings.setdefault(met, "as another thread would"))
    stand.texts(known, lambda: stand.lowerings.pop(met))
    assert [op.fallbacks for op in stand.records.report().ops] == [0]
    stand.texts(met, lambda: stand.lowerings.setdefault(Overload("lib::another"), "likewise"))
    assert {op.op: op.fallbacks for op in stand.records.report().ops} == {
        "lib.known.default": 0,
        "lib.met.default": 1,
    }


def test_a_text_says_where_only_of_the_op_that_is_lowered(stand) -> None:
    stand.graph_class.current_node = types.SimpleNamespace(name="node_of_lib", meta={})
    stand.graph.log = logging.getLogger("test of where a text comes from")
    stand.graph.log.setLevel(logging.INFO)
    op, late = Overload("lib::op"), Overload("lib::late")
    asked = []
    graph = stand.graph_class()
    graph.call_function(op, (lambda: asked.append(stand.issue.operator_str(late, (), {})),), {})
    assert "node_of_lib" in graph.texts[0]
    assert asked == ["  target: lib.late.default"]


def test_an_allow_list_that_raises_does_not_stop_a_compile(stand) -> None:
    class Hostile:
        def __contains__(self, name):
            raise RuntimeError("not now")

    stand.hook._inductor.graph.FALLBACK_ALLOW_LIST = Hostile()
    assert stand.texts(Overload("lib::op")) == [OURS, OURS]


def test_a_namespace_allowed_for_a_block_is_described_in_it(stand) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(stand.namespaces.allowing(["other"]))
        assert stand.texts(Overload("other::op")) == ["  target: other.op.default"] * 2
    assert stand.texts(Overload("other::op")) == ["stock text of other.op.default"] * 2
    stand.namespaces.allow(["*"])
    assert stand.texts(Overload("aten::op")) == ["  target: aten.op.default"] * 2
