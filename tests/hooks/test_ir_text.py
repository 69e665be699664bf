"""bounded_ir(): a node's own text names what stands behind it, and nothing but that text changes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._inductor.graph
from lowered import arguments_of, chain
from torch._inductor import ir

import lowering_hooks
from lowering_hooks.hooks.ir_text import BoundedIR
from lowering_hooks.hooks.writing import Writer
from lowering_hooks.records import Records


@pytest.fixture(autouse=True)
def as_by_default():
    lowering_hooks.allow("described")  # the compiles below end in an error
    yield
    lowering_hooks.apply()
    lowering_hooks.bounded_ir("auto")


def texts() -> dict[tuple[type, str], object]:
    """Return what makes the text of each IR class."""
    kinds, pending = set(), [ir.IRNode]
    while pending:
        kind = pending.pop()
        kinds.add(kind)
        pending += type.__subclasses__(kind)
    return {(kind, name): vars(kind).get(name) for kind in kinds for name in ("__str__", "__repr__")}


def test_one_node_in_full() -> None:
    """Those behind it are written by name."""

    def look(late, args, kwargs):
        with_us = str(args[0])
        lowering_hooks.bounded_ir(False)
        stock = str(args[0])
        lowering_hooks.bounded_ir()
        return with_us, stock

    lowering_hooks.bounded_ir()
    with_us, stock = arguments_of(chain(1)[1], torch.randn(4, 6), look=look)
    assert "MultiOutput(" in with_us
    assert "<buf0 FallbackKernel>" in with_us
    assert "size=[4, 6]" in with_us
    assert "FallbackKernel(" in stock
    assert "<buf0" not in stock


def test_length_is_linear_in_depth() -> None:
    """It grows no faster, where Inductor's own text doubles with each layer."""

    def look(late, args, kwargs):
        return len(str(args[0])), len(repr(args[0]))

    lowering_hooks.bounded_ir()
    ten, hundred = (arguments_of(chain(depth)[1], torch.randn(4, 6), look=look) for depth in (10, 100))
    # Linear on 2.0, where a node's origins are those of all behind it.
    assert all(0 < after <= 10 * before for before, after in zip(ten, hundred, strict=True))


def test_what_has_no_name_is_written_in_full() -> None:
    """Nothing else would tell what it is."""

    def look(late, args, kwargs):
        bounded = str(args[0])
        lowering_hooks.bounded_ir(False)
        return bounded, str(args[0])

    lowering_hooks.bounded_ir()
    bounded, stock = arguments_of(lambda late, x: late(torch.sin(x) + 1), torch.randn(4, 6), look=look)
    assert bounded == stock
    assert "Pointwise(" in stock


def test_a_cycle_has_an_end() -> None:
    """Inductor's own text of it has none."""

    class Ring(ir.IRNode):
        def __init__(self, name: str) -> None:
            self.name = name

        def __str__(self) -> str:
            return f"Ring({self.name}, next={self.next})"

        __repr__ = __str__
        __hash__ = object.__hash__

    first, second = Ring("first"), Ring("second")
    first.next, second.next = second, first
    lowering_hooks.bounded_ir(False)
    with pytest.raises(RecursionError):
        str(first)
    lowering_hooks.bounded_ir()
    assert str(first) == repr(first) == "Ring(first, next=<second Ring>)"


def test_a_text_that_takes_more() -> None:
    """What it takes beside the node is passed on."""

    class Loops(ir.IRNode):
        def __str__(self, names: tuple[str, ...] = ("ranges",)) -> str:
            return f"names={names}"

        __hash__ = object.__hash__

    class Reduction(Loops):
        def __str__(self) -> str:  # type: ignore[override]
            return Loops.__str__(self, names=("ranges", "type"))  # type: ignore[call-arg]

        __hash__ = object.__hash__

    lowering_hooks.bounded_ir()
    assert str(object.__new__(Loops)) == "names=('ranges',)"
    assert str(object.__new__(Reduction)) == "names=('ranges', 'type')"


def test_it_puts_back_the_very_functions() -> None:
    """Whichever call ends it; and begins again as it was asked for last."""
    lowering_hooks.bounded_ir(False)
    before = texts()
    for take_back in (lambda: lowering_hooks.bounded_ir(False), lowering_hooks.remove):
        status = lowering_hooks.bounded_ir()
        assert status.bounded_ir is True
        assert "bounded IR      on" in str(status)
        assert texts() != before
        assert lowering_hooks.bounded_ir() == status
        assert take_back().bounded_ir is False
        assert texts() == before
    assert lowering_hooks.apply().bounded_ir is True, "as was asked for last"
    lowering_hooks.bounded_ir(False)
    assert lowering_hooks.apply().bounded_ir is False
    assert texts() == before


def test_it_is_no_strategy_and_needs_none() -> None:
    """It stands where nothing else is hooked."""
    lowering_hooks.remove()
    status = lowering_hooks.bounded_ir()
    assert (status.state, status.bounded_ir) == ("removed", True)
    status = lowering_hooks.apply("none")
    assert (status.state, status.bounded_ir) == ("inactive", True)


def test_what_somebody_puts_over_it_stays(monkeypatch) -> None:
    """Ours passes on what it is called with."""
    lowering_hooks.bounded_ir(False)
    bounded = BoundedIR(ir, Writer(Records()))
    bounded.install()
    wrapper = vars(ir.TensorBox.__mro__[1]).get("__str__") or vars(ir.IRNode)["__str__"]
    owner = next(kind for kind in ir.TensorBox.__mro__ if vars(kind).get("__str__") is wrapper)

    def theirs(node: object) -> str:
        return f"theirs, and {wrapper(node)}"

    monkeypatch.setattr(owner, "__str__", theirs)
    bounded.remove()
    assert vars(owner)["__str__"] is theirs
    monkeypatch.undo()
    owner.__str__ = wrapper.__wrapped__


@pytest.fixture
def bounded(stand) -> Iterator[BoundedIR]:
    """The hook in the stand-in for Inductor, which bounds every text."""
    writer = Writer(Records())
    writer.mode = True
    hook = BoundedIR(stand.ir, writer)
    hook.install()
    yield hook
    hook.remove()


def is_wrapped(kind: type, name: str = "__str__") -> bool:
    return hasattr(vars(kind)[name], "__wrapped__")


def writing(kind: type) -> type:
    """Give a class a text of its own, as a decorator does."""
    for name in ("__str__", "__repr__"):
        setattr(kind, name, lambda node: "its own")
    return kind


def test_an_init_subclass_of_inductors(stand) -> None:
    """It is called, with the keywords of the class, and stands again in the end."""
    made = []

    def init_subclass(cls: type, **keywords: object) -> None:
        made.append((cls.__name__, keywords))

    root = stand.ir.IRNode
    root.__init_subclass__ = own = classmethod(init_subclass)
    hook = BoundedIR(stand.ir, Writer(Records()))
    hook.install()
    kind = type("Late", (root,), {"__str__": lambda node: ""}, label="given")
    assert made == [("Late", {"label": "given"})]
    assert is_wrapped(kind)
    hook.remove()
    assert vars(root)["__init_subclass__"] is own


def test_a_layout(bounded) -> None:
    """A layout, which is of an IR class up to 2.5, writes its own text: it is no node."""
    texts = {"__str__": lambda node: "its own"}
    assert is_wrapped(type("Buffer", (bounded.root,), texts))
    assert not is_wrapped(type("FixedLayout", (bounded.root,), texts))


def test_the_text_of_a_layout_in_a_node(bounded) -> None:
    """A block that puts what a node inherits from a layout into its class has changed nothing."""
    layout = type("FixedLayout", (bounded.root,), {"__str__": lambda node: "of the layout"})
    kind: Any = type("Kind", (layout,), {})
    str(bounded.root())
    kind.__str__ = kind.__str__
    assert bounded.conflicts() == ()
    bounded.wrap_all()
    assert not is_wrapped(kind)
    assert str(kind()) == "of the layout"


def test_an_inductor_without_a_constructor_of_nodes(bounded) -> None:
    """A text that a decorator gave to a class is wrapped before the next text, where nothing tells of nodes."""
    assert "__post_init__" not in vars(bounded.root)
    kind = writing(type("Late", (bounded.root,), {}))
    assert not is_wrapped(kind)
    str(bounded.root())
    assert is_wrapped(kind)


def test_a_class_after_the_end(bounded) -> None:
    """What somebody put over the hook still calls it: a class that is made then keeps its texts."""
    root = bounded.root
    ours = vars(root)["__init_subclass__"]

    def theirs(cls: type) -> None:
        ours.__get__(None, cls)()

    root.__init_subclass__ = classmethod(theirs)  # type: ignore[assignment]
    bounded.remove()
    kind = type("Late", (root,), {"__str__": lambda node: ""})
    assert not is_wrapped(kind)


class Sealed(type):
    """Makes classes whose attributes nobody sets."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise AttributeError(name)


def test_a_class_that_cannot_be_wrapped(bounded) -> None:
    """It is made, and writes its own text, now or once a decorator has given it one."""
    at_once = Sealed("AtOnce", (bounded.root,), {"__str__": lambda node: "its own"})
    later = Sealed("Later", (bounded.root,), {})
    type.__setattr__(later, "__str__", lambda node: "its own")
    str(bounded.root())  # before which later classes are wrapped
    assert str(at_once()) == str(later()) == "its own"
    assert not is_wrapped(at_once)
    assert not is_wrapped(later)
    assert is_wrapped(type("Other", (bounded.root,), {"__str__": lambda node: ""}))


def test_a_text_that_others_made_of_ours(bounded) -> None:
    """It has the attributes of our wrapper, as functools.wraps copies them, and is theirs for all that."""
    kinds: list[Any] = [
        type(name, (bounded.root,), {"__str__": lambda node: "its own"}) for name in ("Own", "Other")
    ]
    own, other = kinds
    str(bounded.root())

    def theirs(node: object) -> str:
        return "theirs"

    functools.update_wrapper(theirs, vars(own)["__str__"])
    other.__str__ = theirs
    assert bounded.conflicts() == (), "for all that can be seen it calls ours"
    del theirs.__wrapped__  # type: ignore[attr-defined]
    assert len(bounded.conflicts()) == 1
    bounded.remove()
    assert vars(other)["__str__"] is theirs


def test_a_text_without_a_truth_value(bounded) -> None:
    """What makes a text may be an object of any kind, and is bounded like another."""

    class Odd:
        def __bool__(self) -> bool:
            raise RuntimeError("neither true nor false")

        def __call__(self) -> str:
            return "its own"

    kind = type("Kind", (bounded.root,), {"__str__": Odd()})
    str(bounded.root())
    assert str(kind()) == "its own"
    assert is_wrapped(kind)
    assert bounded.conflicts() == ()


def test_the_conflict_that_apply_ends(bounded) -> None:
    """It is the one that is told, where another class takes no text at all."""

    def a_text(node: object) -> str:
        return "its own"

    def the_text_of_others(node: object) -> str:
        return "theirs"

    # The name keeps the class alive: one that the collector has taken is in no count.
    first: Any = Sealed("First", (bounded.root,), {"__str__": a_text})
    second: Any = type("Second", (bounded.root,), {"__str__": a_text})
    str(bounded.root())  # so that neither counts as new
    bounded.wrap_all()
    second.__str__ = the_text_of_others
    (conflict,) = bounded.conflicts()
    assert "the_text_of_others replaced the text of Second, which is not bounded" in conflict
    assert conflict.endswith("(IR classes in all: 2); lowering_hooks.apply() bounds what stands now")
    assert vars(first)["__str__"] is a_text


def test_a_wrapper_under_another_name(bounded) -> None:
    """One that others have put under the other name of its class as well goes from both."""

    def own(node: object) -> str:
        return "its own"

    kind: Any = type("Kind", (bounded.root,), {"__str__": own, "__repr__": lambda node: "another"})
    str(bounded.root())
    kind.__repr__ = kind.__str__
    bounded.remove()
    assert vars(kind)["__str__"] is vars(kind)["__repr__"] is own


def test_each_graph_is_looked_at_once(stand) -> None:
    """A text that others have put back is bounded again with the first op of a graph, outside of one with each."""
    writer = Writer(Records())
    hook = BoundedIR(stand.ir, writer)
    hook.install()
    kind: Any = type("Kind", (stand.ir.IRNode,), {"__str__": lambda node: "its own"})
    str(stand.ir.IRNode())
    wrapper = vars(kind)["__str__"]

    def is_bounded_again() -> bool:
        kind.__str__ = wrapper.__wrapped__
        for prepare in writer.before_operators:
            prepare()
        return is_wrapped(kind)

    assert [is_bounded_again() for _ in range(2)] == [True, True]
    for _ in range(2):
        stand.virtualized.V.graph = stand.graph.GraphLowering()
        stand.virtualized.V.graph.current_node = "a node"
        assert [is_bounded_again() for _ in range(2)] == [True, False]
    hook.remove()
    assert writer.before_operators == []


def test_a_graph_that_cannot_be_remembered(bounded, stand) -> None:
    """It is looked at for each text of an op, which nothing is raised out of."""

    class Graph:
        __slots__ = ("current_node",)

    stand.virtualized.V.graph = Graph()
    stand.virtualized.V.graph.current_node = "a node"
    kind: Any = type("Kind", (stand.ir.IRNode,), {"__str__": lambda node: "its own"})
    str(stand.ir.IRNode())
    own = vars(kind)["__str__"].__wrapped__
    for _ in range(2):
        kind.__str__ = own
        for prepare in bounded._writer.before_operators:
            prepare()
        assert is_wrapped(kind)


@pytest.mark.parametrize("mode", [True, "auto", False])
def test_a_text_with_arguments(stand, mode) -> None:
    """The text of a node may take arguments, as that of Inductor's computations up to 2.5: it is given them."""

    class Loops(stand.ir.IRNode):
        def __str__(self, names=("x",), *, end="") -> str:
            inner = self.inner.__str__(names, end="!") if self.inner else ""
            return f"Loops({', '.join(names)}{inner}{end})"

        __repr__ = __str__

    inner: Any = Loops()
    outer: Any = Loops()
    inner.inner, outer.inner = None, inner
    writer = Writer(Records())
    hook = BoundedIR(stand.ir, writer)
    hook.install()
    writer.mode = mode
    text = vars(Loops)["__str__"]
    assert str(outer) == "Loops(xLoops(x!))"
    assert outer.__str__(("y", "z"), end=".") == "Loops(y, zLoops(y, z!).)"
    hook.remove()
    writer.mode = False
    assert text(outer) == "Loops(xLoops(x!))"  # for those who still hold it


class Told(ir.IRNode):
    def __str__(self) -> str:
        return "told"

    __hash__ = object.__hash__


def test_a_text_that_was_put_back_over_ours(monkeypatch) -> None:
    """By a block that began before us: the status tells it, and apply() bounds it again."""
    assert str(object.__new__(Told)) == "told"  # so that the class does not count as new
    original = vars(Told)["__str__"].__wrapped__
    Told.__str__ = original
    (conflict,) = lowering_hooks.status().conflicts
    assert "__str__ replaced the text of Told, which is not bounded (IR classes in all: 1)" in conflict
    assert lowering_hooks.apply().conflicts == ()
    assert vars(Told)["__str__"].__wrapped__ is original
    # The text of an op, such as that of an error, is bounded whether anybody has looked at the status or not.
    Told.__str__ = original
    torch._inductor.exc.OperatorIssue.operator_str("other", (), {})
    assert vars(Told)["__str__"].__wrapped__ is original
    assert lowering_hooks.status().conflicts == ()


def test_a_text_that_calls_ours(monkeypatch) -> None:
    """It is no conflict, and is not wrapped again."""
    wrapper = vars(Told)["__str__"]
    monkeypatch.setattr(Told, "__str__", theirs := lambda node: f"theirs, and {wrapper(node)}")
    assert lowering_hooks.status().conflicts == ()
    lowering_hooks.apply()
    assert Told.__str__ is theirs


def test_a_text_that_was_put_into_a_derived_class() -> None:
    """A block reads it there and puts it back there: it goes with the others."""

    class Base(ir.IRNode):
        def __str__(self) -> str:
            return "base"

        __hash__ = object.__hash__

    class Derived(Base):
        pass

    own = vars(Base)["__str__"].__wrapped__
    Derived.__str__ = Derived.__str__
    assert vars(Derived)["__str__"] is vars(Base)["__str__"]
    assert lowering_hooks.status().conflicts == ()
    lowering_hooks.bounded_ir(False)
    assert vars(Base)["__str__"] is vars(Derived)["__str__"] is own


def test_a_hook_of_subclasses_that_was_put_back() -> None:
    """A block that reads the class method puts back a bound one, which is told of no other class."""
    assert "__init_subclass__" in vars(ir.IRNode)
    ir.IRNode.__init_subclass__ = ir.IRNode.__init_subclass__  # type: ignore[method-assign]

    class Late(ir.IRNode):
        def __str__(self) -> str:
            return "late"

        __hash__ = object.__hash__

    Late.__repr__ = lambda self: "as a decorator gives it"  # type: ignore[method-assign]
    assert str(object.__new__(Late)) == "late"
    assert vars(Late)["__str__"].__wrapped__
    assert vars(Late)["__repr__"].__wrapped__
    lowering_hooks.bounded_ir(False)
    assert "__init_subclass__" not in vars(ir.IRNode)


@pytest.mark.parametrize(
    ("enabled", "error"), [(1, TypeError), ("yes", ValueError), ("AUTO", ValueError), (None, TypeError)]
)
def test_what_is_no_mode_is_named(enabled, error) -> None:
    """Nothing changes then."""
    with pytest.raises(
        error, match=f"invalid value {enabled!r} for bounded_ir\\(\\): expected one of 'auto', True, False"
    ):
        lowering_hooks.bounded_ir(enabled)
    assert lowering_hooks.status().bounded_ir == "auto"
