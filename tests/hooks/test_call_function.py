"""The hooks of the call_function strategy, on a stand-in for Inductor whose every step can be watched."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
import sys
import threading
import types
from typing import TYPE_CHECKING

import pytest
from stand_in import load, stand_in

from lowering_hooks.compat import call_function_problems
from lowering_hooks.hooks import Hook, Writer, make_hook, problems_of
from lowering_hooks.hooks.mark import peeled
from lowering_hooks.inductor.modules import loaded, name_of
from lowering_hooks.namespaces import Namespaces
from lowering_hooks.records import Records

if TYPE_CHECKING:
    from lowering_hooks.settings import Detail


class Stand:
    """The stand-in, with its hook."""

    def __init__(self, detail: Detail = "args") -> None:
        modules = load()
        self.graph, self.lowerings, self.ir = modules.graph, modules.lowering.lowerings, modules.ir
        self.virtualized, self.overload = modules.virtualized, modules._ops.OpOverload
        self.graph_class, self.issue = modules.graph.GraphLowering, modules.exc.OperatorIssue
        self.error = modules.exc.LoweringException
        self.call_function = vars(self.graph_class)["call_function"]
        self.operator_str = vars(self.issue)["operator_str"]
        self.records = Records()
        self.namespaces = Namespaces(frozenset({"lib"}))
        self.hook = self.new_hook(detail)
        self.hook.install()
        self.log(logging.INFO)

    def new_hook(self, detail: Detail = "args") -> Hook:
        inductor = loaded()
        assert inductor is not None
        writer = Writer(self.records)
        return make_hook("call_function", inductor, self.namespaces, self.records, detail, writer)

    def log(self, level: int) -> None:
        self.graph.log.setLevel(level)

    def lower(self, target, *inner, name="node"):
        """Lower one node, and return the GraphLowering that did."""
        graph = self.graph_class()
        graph.graph_id = 3
        graph.current_node = types.SimpleNamespace(name=name, target=target, meta={})
        before, self.virtualized.V.graph = self.virtualized.V.graph, graph
        try:
            assert graph.call_function(target, inner, {}) is target
        finally:
            self.virtualized.V.graph = before
        return graph

    def texts(self, target, *inner):
        return self.lower(target, *inner).texts

    def fallbacks(self):
        return {op.op: op.fallbacks for op in self.records.report().ops}


OURS = "  target: lib.op.default\n  node: node of graph 3"


@pytest.fixture
def stand():
    with stand_in():
        yield Stand()


@pytest.fixture
def stand_with():
    """Make the stand-in with a detail."""
    with stand_in():
        yield Stand


def test_texts_of_allowed_ops_are_bounded(stand) -> None:
    """Every other op, and what is no op, has Inductor's own text."""
    assert stand.texts(stand.overload("lib::op")) == [OURS]
    assert stand.texts(stand.overload("other::op")) == ["stock text of other.op.default"]
    assert stand.texts("lib::not_an_overload") == ["stock text of lib::not_an_overload"]


def test_a_target_that_cannot_be_read(stand) -> None:
    """What is not known to be of an allowed namespace takes Inductor's own way."""

    class Unreadable(stand.overload):
        @property
        def namespace(self):
            raise RuntimeError("not now")

        @namespace.setter
        def namespace(self, value):
            pass

        def name(self):
            return "lib::op"

        def __str__(self):
            return "unreadable"

    stand.namespaces.allow(["*"])
    assert stand.texts(Unreadable("lib::op")) == ["stock text of unreadable"]
    assert stand.records.report().ops == ()


def test_the_look_of_the_wrapper(stand) -> None:
    """Name, documentation and signature are the original's."""
    wrapper = stand.graph_class.call_function
    assert wrapper is not stand.call_function
    assert wrapper.__wrapped__ is stand.call_function
    assert wrapper.__name__ == "call_function"
    assert wrapper.__qualname__ == stand.call_function.__qualname__
    assert wrapper.__doc__ == "Lower one node."
    assert inspect.signature(wrapper) == inspect.signature(stand.call_function)
    assert stand.issue.operator_str.__doc__ == "Inductor's own text."
    assert isinstance(vars(stand.issue)["operator_str"], staticmethod)


def test_a_nested_op(stand) -> None:
    """It is described by its own namespace: a lowering may lower a subgraph."""
    outer, inner = stand.overload("lib::op"), stand.overload("other::op")
    found = []
    (text,) = stand.texts(outer, lambda: found.extend(stand.texts(inner)))
    assert text.startswith("  target: lib.op.default\n")
    assert found == ["stock text of other.op.default"]

    outer, inner = stand.overload("other::outer"), stand.overload("lib::inner")
    found.clear()
    assert stand.texts(outer, lambda: found.extend(stand.texts(inner))) == [
        "stock text of other.outer.default"
    ]
    assert found == [OURS.replace("op", "inner")]


def test_an_exception_passes(stand) -> None:
    """What a lowering raises comes out as it went in."""

    def fail():
        raise KeyError("inside")

    for name in ("lib::op", "other::op"):
        with pytest.raises(KeyError, match="inside"):
            stand.texts(stand.overload(name), fail)
    assert stand.fallbacks() == {"lib.op.default": 1, "other.op.default": 1}


def test_threads_do_not_see_each_others_op(stand) -> None:
    """Two compiles at once each get their own text."""
    inside, done = threading.Event(), threading.Event()
    results = {}
    # In PyTorch V.graph is of a thread; here the node in progress is nobody's.
    call = lambda op, *inner: [stand.graph_class(), op, inner]  # noqa: E731

    def allowed():
        def wait():
            inside.set()
            assert done.wait(60)

        graph, op, args = call(stand.overload("lib::op"), wait)
        graph.call_function(op, args, {})
        results["lib"] = graph.texts

    def other():
        assert inside.wait(60)
        graph, op, args = call(stand.overload("other::op"))
        graph.call_function(op, args, {})
        results["other"] = graph.texts
        done.set()

    threads = [threading.Thread(target=f) for f in (allowed, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results["lib"][0].startswith("  target: lib.op.default\n")
    assert results["other"] == ["stock text of other.op.default"]


def test_a_text_asked_for_later(stand) -> None:
    """It is bounded as well: a log handler may keep its records, and nothing is kept between two texts."""
    op = stand.overload("lib::op")
    assert stand.issue.operator_str(op, (), {}) == "  target: lib.op.default"
    assert stand.issue.operator_str(op, (1,), {}) == "  target: lib.op.default\n  args[0]: 1"
    assert stand.issue.operator_str(op, (2,), {"k": 3}).endswith("args[0]: 2\n  kwargs['k']: 3")
    assert stand.issue.operator_str(stand.overload("other::op"), (), {}) == "stock text of other.op.default"


def test_a_place_is_only_that_of_the_op(stand) -> None:
    """A text asked for while another op is lowered names no node."""
    late = stand.overload("lib::late")
    asked = []
    texts = stand.texts(
        stand.overload("lib::op"), lambda: asked.append(stand.issue.operator_str(late, (), {}))
    )
    assert "node: node of graph 3" in texts[0]
    assert asked == ["  target: lib.late.default"]


def test_detail_full_is_inductors_own_text(stand_with) -> None:
    """Whoever asks; how long it may be is the business of bounded_ir."""
    stand = stand_with("full")
    assert stand.texts(stand.overload("lib::op")) == ["stock text of lib.op.default"]
    assert stand.issue.operator_str(stand.overload("lib::op"), (), {}) == "stock text of lib.op.default"


@pytest.mark.parametrize("detail", ["args", "graph"])
@pytest.mark.parametrize("asks", ["__init__", "of", "anything"])
def test_the_arguments_in_an_error(stand_with, detail, asks) -> None:
    """They are there, also where nobody wants the log line, and whatever the function is called that asks."""
    stand = stand_with(detail)
    stand.log(logging.WARNING)
    scope = {}
    exec(f"def {asks}(issue, target): return issue.operator_str(target, (1, 'two'), {{}})", scope)
    found = []
    op = stand.overload("lib::op")
    stand.lower(op, lambda: found.append(scope[asks](stand.issue, op)))
    (text,) = found
    assert text.splitlines()[1:3] == ["  args[0]: 1", "  args[1]: 'two'"]


@pytest.mark.parametrize("detail", ["args", "graph"])
def test_a_failing_lowering_is_described(stand_with, detail) -> None:
    """Its message has the cause and the bounded text."""
    stand = stand_with(detail)
    stand.log(logging.WARNING)

    def fail():
        raise ArithmeticError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose") as raised:
        stand.lower(stand.overload("lib::op"), fail)
    assert type(raised.value) is stand.error
    assert "target: lib.op.default\n  args[0]: <function" in str(raised.value)


@pytest.mark.parametrize("detail", ["args", "graph", "full"])
def test_a_text_that_nobody_sees_is_short(stand_with, detail) -> None:
    """Only where Inductor itself throws it away: its own call_function, on a series that builds it eagerly."""
    stand = stand_with(detail)
    stand.log(logging.WARNING)
    op = stand.overload("lib::op")
    assert stand.texts(op, lambda: None) == ["  target: lib.op.default"]
    (found,) = stand.records.report().ops
    assert (found.shown, found.stock_characters) == (False, 0)
    stand.log(logging.INFO)
    stand.lowerings.clear()
    assert "args[0]" in stand.texts(op, lambda: None)[0] or detail == "full"
    assert stand.records.report().ops[0].shown is True


def test_a_log_that_does_not_say_who_reads_it(stand) -> None:
    """The text is built as if it were logged."""
    stand.log(logging.WARNING)
    stand.graph.log = None
    assert "args[0]" in stand.texts(stand.overload("lib::op"), lambda: None)[0]


@pytest.mark.parametrize("version", ["2.13.0", "2.99.0"])
def test_a_lazy_series(stand_with, version) -> None:
    """It has no text that nobody sees, nor has one that nobody verified: whoever asks there may want it."""
    load().torch.__version__ = version
    stand = stand_with()
    stand.log(logging.WARNING)
    assert "args[0]" in stand.texts(stand.overload("lib::op"), lambda: None)[0]


def test_a_copy_of_call_function(stand) -> None:
    """It sees its texts: a plugin's own function may do with them what it likes."""
    stand.log(logging.WARNING)

    def call_function(self, target, args, kwargs):
        self.texts.append(stand.issue.operator_str(target, args, kwargs))
        return target

    stand.graph_class.call_function = call_function
    again = stand.new_hook()
    again.install()
    assert "args[0]" in stand.texts(stand.overload("lib::op"), lambda: None)[0]


def test_remove_leaves_the_very_objects(stand) -> None:
    """It puts back what stood there, and can be repeated."""
    for _ in range(2):
        stand.hook.remove()
        assert vars(stand.graph_class)["call_function"] is stand.call_function
        assert vars(stand.issue)["operator_str"] is stand.operator_str


def test_a_removed_text_hook_passes_calls_on(stand) -> None:
    """Somebody may have wrapped ours, or kept it."""
    ours = stand.issue.operator_str
    stand.hook.remove()
    assert ours(stand.overload("lib::op"), (), {}) == "stock text of lib.op.default"
    assert stand.records.report().ops == ()


def test_remove_leaves_a_later_wrapper(stand) -> None:
    """Theirs calls ours, which passes on what it is called with."""
    ours = stand.graph_class.call_function

    @functools.wraps(ours)
    def theirs(self, target, args, kwargs):
        return ours(self, target, args, kwargs)

    stand.graph_class.call_function = theirs
    assert stand.hook.displaced_by() is None  # it calls us, as can be seen
    (conflict,) = stand.hook.conflicts()
    assert f"{__name__}." in conflict
    assert "theirs" in conflict
    assert stand.texts(stand.overload("lib::op")) == [OURS]
    stand.hook.remove()
    assert stand.graph_class.call_function is theirs
    stand.records.reset()
    assert stand.texts(stand.overload("lib::again")) == ["stock text of lib.again.default"]
    assert stand.records.report().ops == (), "a removed hook still counts"


def test_a_wrapper_with_our_mark(stand) -> None:
    """It is not taken for ours: functools.wraps copies our mark."""
    ours = stand.graph_class.call_function
    theirs = functools.wraps(ours)(lambda self, target, args, kwargs: ours(self, target, args, kwargs))
    assert peeled(ours) is stand.call_function
    assert peeled(theirs) is theirs
    assert peeled(vars(stand.issue)["operator_str"]) is stand.operator_str
    stand.graph_class.call_function = theirs
    again = stand.new_hook()
    again.install()
    assert stand.graph_class.call_function.__wrapped__ is theirs


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: functools.wraps(f)(lambda self, *args: f(self, *args)),
        lambda f: (lambda g: lambda self, target, args, kwargs: g(self, target, args, kwargs))(f),
        lambda f: lambda self, target, args, kwargs, old=f: old(self, target, args, kwargs),
        lambda f: lambda self, target, args, kwargs, *, old=f: old(self, target, args, kwargs),
    ],
    ids=["wraps", "closure", "default", "keyword default"],
)
def test_a_wrapper_that_visibly_calls_ours(stand, wrap) -> None:
    """It does not displace us, whatever either of them is called."""
    ours = stand.graph_class.call_function
    ours.__name__ = "graphlowering_call"  # as it would be around somebody's function of that name
    stand.graph_class.call_function = wrap(ours)
    assert stand.hook.displaced_by() is None
    assert stand.texts(stand.overload("lib::op")) == [OURS]


def test_who_displaced_us_is_named(stand) -> None:
    """By the name in the code."""

    def theirs(self, target, args, kwargs):
        return target

    stand.graph_class.call_function = theirs
    assert stand.hook.displaced_by() == name_of(theirs)
    assert name_of(theirs).startswith(f"{__name__}.")
    assert name_of(theirs).endswith("theirs")
    stand.hook.remove()
    assert stand.graph_class.call_function is theirs


def test_a_reload_is_named(stand) -> None:
    """The class that is hooked is not the one that Inductor uses from then on."""
    importlib.reload(stand.graph)
    assert stand.hook.displaced_by() == "a reload of torch._inductor.graph"
    stand.hook.remove()


def test_the_parameters_of_inductor(stand) -> None:
    """Inductor's own function is wrapped by one of the same parameters, which is faster than any arguments."""
    code = stand.graph_class.call_function.__code__
    assert (code.co_argcount, code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)) == (4, 0)


def test_a_replaced_operator_str_is_named(stand) -> None:
    """The text hook is displaced by itself."""

    def bounded(target, args, kwargs):
        return ""

    stand.issue.operator_str = staticmethod(bounded)
    assert stand.hook.displaced_by() == name_of(bounded)
    stand.issue.operator_str = bounded  # no static method any more
    assert stand.hook.displaced_by() == name_of(bounded)
    stand.hook.remove()
    assert stand.issue.operator_str is bounded
    assert vars(stand.graph_class)["call_function"] is stand.call_function


def test_a_text_that_takes_more(stand) -> None:
    """It is given what only the owner knows of."""
    stand.hook.remove()
    stand.issue.operator_str = staticmethod(lambda target, args, kwargs, *more, **named: f"{more} {named}")
    stand.new_hook().install()
    other = stand.overload("other::op")
    assert stand.issue.operator_str(other, (), {}, 1, style=2) == "(1,) {'style': 2}"


def test_a_text_that_is_no_string(stand_with) -> None:
    """It counts as a text without characters, whatever its length may be."""
    stand = stand_with("full")
    stand.hook.remove()
    stand.issue.operator_str = staticmethod(lambda target, args, kwargs: ("not", "a", "text"))
    stand.new_hook("full").install()
    assert stand.texts(stand.overload("lib::op")) == [("not", "a", "text")]
    (op,) = stand.records.report().ops
    assert (op.texts, op.stock_characters) == (1, 0)


def test_the_wrapper_of_another_copy(stand) -> None:
    """It is taken over: two copies of the package never wrap twice."""
    again = stand.new_hook()
    again.install()
    assert stand.graph_class.call_function.__wrapped__ is stand.call_function
    assert stand.texts(stand.overload("lib::op")) == [OURS]
    again.remove()
    assert vars(stand.graph_class)["call_function"] is stand.call_function
    assert stand.issue.operator_str(stand.overload("lib::op"), (), {}) == "stock text of lib.op.default"


@pytest.mark.parametrize(
    "theirs",
    [
        lambda stock: lambda self, t, a, k: stock(self, t, a, k),
        lambda stock: lambda self, target, args, kwargs, *, stream=None: stock(self, target, args, kwargs),
        lambda stock: lambda *args: stock(*args),
        lambda stock: lambda self, *args, **kwargs: stock(self, *args, **kwargs),
        lambda stock: lambda self, target, args, kwargs, *more: stock(self, target, args, kwargs),
        lambda stock: lambda self, target, args, kwargs, **more: stock(self, target, args, kwargs),
    ],
    ids=["other names", "more", "all by position", "everything", "varargs", "keywords"],
)
def test_the_parameters_of_others(stand, theirs) -> None:
    """What PyTorch could call can be called as before, with what only the owner knows of as well."""
    stand.hook.remove()
    original = theirs(stand.call_function)
    stand.graph_class.call_function = original
    again = stand.new_hook()
    assert again.problems(loaded()) == ()
    again.install()
    assert inspect.signature(stand.graph_class.call_function) == inspect.signature(original)
    op = stand.overload("lib::op")
    assert stand.texts(op) == [OURS]
    assert stand.fallbacks() == {"lib.op.default": 1}
    if "more" in inspect.signature(original).parameters:
        kinds = {parameter.kind for parameter in inspect.signature(original).parameters.values()}
        more = {"stream": 1} if inspect.Parameter.VAR_KEYWORD in kinds else {}
        assert stand.graph_class().call_function(op, (), {}, *(() if more else (1,)), **more) is op
    if "stream" in inspect.signature(original).parameters:
        assert stand.graph_class().call_function(op, (), {}, stream=1) is op
    if "t" in inspect.signature(original).parameters:
        assert stand.graph_class().call_function(t=op, a=(), k={}) is op


def test_a_descriptor(stand) -> None:
    """It is bound as it wants to be: a callable without __get__ is not given self, as Python does not."""

    class Plain:
        def __call__(self, target, args, kwargs, stream=None):
            return target

    for original in (Plain(), staticmethod(lambda target, args, kwargs, stream=None: target)):
        stand.hook.remove()
        stand.graph_class.call_function = original
        again = stand.new_hook()
        assert call_function_problems(stand.graph, loaded().exc) == ()
        again.install()
        op = stand.overload("lib::op")
        assert stand.graph_class().call_function(op, (), {}) is op
        assert stand.graph_class().call_function(op, (), {}, stream=1) is op
        again.remove()
        assert vars(stand.graph_class)["call_function"] is original


def test_a_function_that_wrapt_wrapped(stand) -> None:
    """It is given the instance apart from the arguments, as it wants to be."""
    wrapt = pytest.importorskip("wrapt")
    stand.hook.remove()
    calls = []

    def theirs(wrapped, instance, args, kwargs):
        calls.append(type(instance).__name__)
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(stand.graph, "GraphLowering.call_function", theirs)
    again = stand.new_hook()
    assert again.problems(loaded()) == ()
    again.install()
    assert stand.texts(stand.overload("lib::op")) == [OURS]
    assert calls == ["GraphLowering"]
    assert stand.fallbacks() == {"lib.op.default": 1}


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_text_that_wrapt_wrapped(stand, is_after) -> None:
    """It is asked as before, whoever came first: its proxy is no static method, and bears no mark of ours."""
    wrapt = pytest.importorskip("wrapt")
    asked = []

    def theirs(wrapped, instance, args, kwargs):
        asked.append(args[0])
        return f"theirs of {wrapped(*args, **kwargs)}"

    if not is_after:
        stand.hook.remove()
    wrapt.wrap_function_wrapper(stand.issue, "operator_str", theirs)
    wrapped = vars(stand.issue)["operator_str"]
    again = stand.new_hook()
    assert again.problems(loaded()) == ()
    again.install()
    op, other = stand.overload("lib::op"), stand.overload("other::op")
    assert stand.texts(op) == [OURS]
    assert stand.texts(other)[0].startswith("theirs of stock text of other.op.default")
    assert other in asked
    again.remove()
    assert vars(stand.issue)["operator_str"] is wrapped


def test_a_bare_text(stand) -> None:
    """The class and an error ask for it alike: of theirs behind ours, and of ours that was put back so."""
    op = stand.overload("lib::op")
    stand.issue.operator_str = stand.issue.operator_str
    assert stand.hook.displaced_by() is None
    assert stand.issue.operator_str(op, (), {}) == "  target: lib.op.default"
    assert str(stand.error(ValueError("why"), op, (), {})) == "why\n  target: lib.op.default"
    stand.hook.remove()
    assert vars(stand.issue)["operator_str"] is stand.operator_str
    stand.issue.operator_str = bare = stand.issue.operator_str
    again = stand.new_hook()
    again.install()
    assert str(stand.error(ValueError("why"), op, (), {})) == "why\n  target: lib.op.default"
    other = stand.overload("other::op")
    assert str(stand.error(ValueError("why"), other, (), {})) == "why\nstock text of other.op.default"
    again.remove()
    assert vars(stand.issue)["operator_str"] is bare


def test_a_text_that_visibly_calls_ours(stand) -> None:
    """It displaces nothing, and is told as a conflict."""
    ours = stand.issue.operator_str
    stand.issue.operator_str = staticmethod(lambda target, args, kwargs: ours(target, args, kwargs)[:30])
    assert stand.hook.displaced_by() is None
    (conflict,) = stand.hook.conflicts()
    assert conflict.startswith(f"{__name__}.")
    assert conflict.endswith("wrapped OperatorIssue.operator_str after lowering-hooks did")
    assert stand.issue.operator_str(stand.overload("lib::op"), (), {}) == "  target: lib.op.default"


def test_a_remove_while_an_op_is_lowered(stand) -> None:
    """The lowering that is in progress in another thread ends, and what follows in it is Inductor's own."""
    inside, removed = threading.Event(), threading.Event()
    texts = []

    def wait():
        inside.set()
        assert removed.wait(60)

    def lower_both():
        texts.extend(stand.texts(stand.overload("lib::slow"), wait))
        texts.extend(stand.texts(stand.overload("lib::late")))

    thread = threading.Thread(target=lower_both)
    thread.start()
    assert inside.wait(60)
    stand.hook.remove()
    removed.set()
    thread.join()
    assert texts[0].startswith("  target: lib.slow.default")
    assert texts[1:] == ["stock text of lib.late.default"]
    assert vars(stand.graph_class)["call_function"] is stand.call_function
    assert vars(stand.issue)["operator_str"] is stand.operator_str


def test_implicit_fallbacks_are_counted(stand) -> None:
    """Not those of the allow list, or of ops that have a lowering; and which namespaces were not allowed."""
    for name in ("lib::op", "lib::listed"):
        stand.lower(stand.overload(name))
    known = stand.overload("lib::known")
    stand.lowerings[known] = "a real lowering"
    stand.lower(known)
    report = stand.records.report()
    assert [(op.op, op.fallbacks, op.texts) for op in report.ops] == [("lib.op.default", 1, 1)]
    assert report.not_allowed == ()
    assert "without being allowed" not in str(report)
    for name in ("other::op", "other::two", "aten::op"):
        stand.lower(stand.overload(name))
    later = stand.records.report()
    assert [(op.op, op.fallbacks, op.texts, op.cut, op.allowed) for op in later.ops] == [
        ("lib.op.default", 1, 1, 0, True),
        ("other.op.default", 1, 0, 0, False),
        ("other.two.default", 1, 0, 0, False),
        ("aten.op.default", 1, 0, 0, False),
    ]
    assert later.not_allowed == ("aten", "other")
    assert "lowering_hooks.allow('aten', 'other')" in str(later)
    stand.namespaces.allow(["other"])
    assert stand.records.report(stand.namespaces.allows).not_allowed == ("aten",)
    assert (report.ops[0].graph, report.ops[0].node) == ("3", "node")
    assert report.ops[0].seconds > 0
    assert report.seconds == report.ops[0].seconds
    assert "lib.op.default" in str(report)


def test_what_has_the_name_of_an_op(stand) -> None:
    """It is not counted where it is no overload; an overload is looked for in the allow list without its own name."""

    class Other:
        namespace = "lib"

        def name(self):
            return "lib::other"

    other = Other()
    assert stand.texts(other) == [f"stock text of {other}"]
    stand.lower(stand.overload("lib::listed.out"))
    assert [op for op in stand.records.report().ops if op.fallbacks] == []


@pytest.mark.parametrize("takes", ["its own", "any"])
def test_a_lowering_that_is_added_meanwhile(stand, takes) -> None:
    """It makes no fallback of a known op: another thread may add one, and so may what is lowered inside."""
    if takes == "any":  # a function of others
        stand.hook.remove()
        stock = stand.call_function
        stand.graph_class.call_function = lambda self, *args: stock(self, *args)
        stand.new_hook().install()
    known, met = stand.overload("lib::known"), stand.overload("lib::met")
    stand.lowerings[known] = "a real lowering"
    stand.lower(known, lambda: stand.lowerings.setdefault(met, "as another thread would"))
    stand.lower(known, lambda: stand.lowerings.pop(met))
    assert stand.fallbacks() == {}
    # And one that comes after the op's own does not hide it.
    stand.lower(met, lambda: stand.lowerings.setdefault(stand.overload("lib::another"), "likewise"))
    assert stand.fallbacks() == {"lib.met.default": 1}


def test_an_allow_list_that_raises(stand) -> None:
    """A count is not worth a failed compile."""

    class Hostile:
        calls = 0

        def __contains__(self, name):
            self.calls += 1
            if self.calls > 1:  # the first is Inductor's own
                raise RuntimeError("not now")
            return False

    stand.graph.FALLBACK_ALLOW_LIST = Hostile()
    assert stand.texts(stand.overload("lib::op")) == [OURS]


def test_a_namespace_allowed_for_a_block(stand) -> None:
    """allowing() is seen by the hooks, "*" as well."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(stand.namespaces.allowing(["other"]))
        assert stand.texts(stand.overload("other::op"))[0].startswith("  target: other.op.default")
    with stand.namespaces.allowing(["*"]):
        assert stand.texts(stand.overload("any::op"))[0].startswith("  target: any.op.default")
    assert stand.texts(stand.overload("other::again")) == ["stock text of other.again.default"]
    stand.namespaces.allow(["*"])
    assert stand.texts(stand.overload("aten::op"))[0].startswith("  target: aten.op.default")


def test_an_op_with_an_effect_token(monkeypatch) -> None:
    """It is counted each time: Inductor makes a fallback in the lowering of with_effects, and keeps none."""
    effects = types.ModuleType("torch._higher_order_ops.effects")
    vars(effects)["with_effects"] = object()
    with stand_in():
        monkeypatch.setitem(sys.modules, effects.__name__, effects)
        stand = Stand()
        # What others put there takes any arguments.
        stand.hook.remove()
        original = stand.call_function

        def anything(self, *args):
            return args[0] if args[0] is effects.with_effects else original(self, *args)

        named = lambda self, *args, **named: args[0]  # noqa: E731
        for call_function in (lambda self, target, args, kwargs: target, anything, named):
            stand.graph_class.call_function = call_function
            hook = stand.new_hook()
            hook.install()
            stand.records.reset()
            lowering = stand.graph_class()
            known = stand.overload("lib::known")
            stand.lowerings[known] = "a real lowering"
            for op in (stand.overload("lib::op"), stand.overload("other::op"), known, "no op"):
                lowering.call_function(effects.with_effects, ("token", op, 1), {})
            for odd in ((), ("token",), None):
                lowering.call_function(effects.with_effects, odd, {})
            with contextlib.suppress(TypeError):
                lowering.call_function(effects.with_effects)
            assert stand.fallbacks() == {"lib.op.default": 1, "other.op.default": 1}
            assert stand.records.report().not_allowed == ("other",)
            if call_function is named:
                op = stand.overload("lib::by_name")
                lowering.call_function(effects.with_effects, ("token", op), kwargs={})
                assert stand.fallbacks()["lib.by_name.default"] == 1
                continue
            # An op that another one is called with is not lowered, and a removed hook counts nothing.
            with contextlib.suppress(TypeError):
                lowering.call_function(known, ("token", stand.overload("lib::argument")), {})
            ours = stand.graph_class.call_function
            hook.remove()
            ours(lowering, effects.with_effects, ("token", stand.overload("lib::late"), 1), {})
            assert stand.fallbacks() == {"lib.op.default": 1, "other.op.default": 1}


def test_without_effect_tokens(stand) -> None:
    """Where PyTorch has no with_effects, nothing is taken for it."""
    for _ in range(2):
        with contextlib.suppress(TypeError):  # of the stand-in, which calls the arguments
            stand.graph_class().call_function(None, ("token", stand.overload("lib::op")), {})
    assert stand.fallbacks() == {}


def test_what_keeps_each_strategy_from_being_used(stand, monkeypatch) -> None:
    """Each strategy is asked, and names what it needs and Inductor lacks."""
    inductor = loaded()
    assert problems_of("call_function", inductor) == problems_of("set_proxy", inductor) == ()
    monkeypatch.delattr(inductor.exc, "OperatorIssue")
    (problem,) = problems_of("call_function", inductor)
    assert problem.endswith("operator_str is not a static method")
    assert problems_of("set_proxy", inductor) == ()
