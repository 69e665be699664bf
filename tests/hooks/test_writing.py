"""Texts under a limit: whole up to it, to the byte; bounded beyond it, whatever the nodes' own code does."""

from __future__ import annotations

import dataclasses
import functools
import gc
import logging
import sys
import threading
import weakref
from typing import Any

import pytest
import torch
import torch._inductor.graph
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import arguments_of, chain, stock
from torch._inductor import ir

import lowering_hooks
from lowering_hooks.hooks import writing
from lowering_hooks.hooks.limit import MAX_CHARACTERS, MAX_NODES
from lowering_hooks.telling import tell_the_rest

CUT = "... lowering-hooks cut this text of Inductor's: "
HOW = "LOWERING_HOOKS_BOUNDED_IR=off has it written whole"


@pytest.fixture(autouse=True)
def auto():
    lowering_hooks.allow("described")
    lowering_hooks.apply()
    lowering_hooks.bounded_ir("auto")
    lowering_hooks.reset_report()
    yield
    lowering_hooks.bounded_ir("auto")


class Node(ir.IRNode):
    """A node that writes its operands, as most of Inductor's do."""

    def __init__(self, name: str | None, *inputs: object, pad: str = "") -> None:
        self.__dict__.update(name=name, inputs=list(inputs), pad=pad)
        if name is None:
            del self.name

    def __str__(self) -> str:
        lines = [f"name={vars(self).get('name')}", f"pad={self.pad}", f"inputs={self.inputs}"]
        return f"{type(self).__name__}({', '.join(lines)})"

    __repr__ = __str__
    __hash__ = object.__hash__


class Indented(Node):
    def __str__(self) -> str:
        inner = "\n".join(map(str, self.inputs)).replace("\n", "\n  ")
        return f"Indented(\n  {vars(self).get('name')},\n  {inner}\n)"

    __repr__ = __str__


def ladder(depth: int, kind: type = Node, bottom: object = "x") -> Node:
    """A graph in which each node has its producer twice: 2 ** depth texts of the first."""
    node = kind("buf0", bottom)
    for i in range(1, depth):
        node = kind(f"buf{i}", node, node)
    return node


def is_cut(text: str) -> bool:
    return CUT in text.splitlines()[-1]


def test_a_short_text() -> None:
    """A text within the limit is Inductor's own."""
    node = ladder(8)
    assert str(node) == stock(str, node)
    assert repr([node, node]) == stock(repr, [node, node])


def test_a_cut_text() -> None:
    """A cut text names the nodes behind the node, and says how to have the text whole."""
    text = str(ladder(60))
    body, note = text.splitlines()
    assert body == "Node(name=buf59, pad=, inputs=[<buf58 Node>, <buf58 Node>])"
    assert note.startswith(CUT)
    assert f"it has more than {MAX_CHARACTERS:,} characters; {HOW}" in note


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("nested", [False, True], ids=["of its own", "of a nested node"])
def test_the_limit_is_met_to_the_character(extra, nested) -> None:
    """A text is whole up to the very last character of the limit, and cut beyond it."""

    def make(pad: int) -> Node:
        inner = Node("buf0", pad="x" * pad)
        return Node("buf1", inner) if nested else inner

    node = make(MAX_CHARACTERS - len(stock(str, make(0))) + extra)
    whole = stock(str, node)
    assert len(whole) == MAX_CHARACTERS + extra
    assert (str(node) == whole) is (extra <= 0)
    assert len(str(node)) <= MAX_CHARACTERS


def test_a_long_text_of_its_own() -> None:
    """A node whose own text is too long is described in a line."""
    for node in (Node("buf0", pad="x" * 200_000), Node("buf1", *[Node(f"buf{i}") for i in range(20_000)])):
        text = str(node)
        assert text.startswith(f"{node.name} Node(")
        assert is_cut(text)
        assert len(text) < 1000


def test_nodes_without_a_name() -> None:
    """Nodes without a name are written in full as long as they are few."""
    few = Node(None, Node(None, Node(None, ladder(60))))
    assert str(few).count("Node(") == 3
    assert "<buf59 Node>" in str(few)
    many = Node(None)
    for _ in range(60):
        many = Node(None, many, many, pad="x" * 500)
    assert "inputs=[<Node>, <Node>]" in str(many)
    assert len(str(many)) < 1000


# Nodes as they come: by kind, and by the numbers of their operands among those that were made before.
GRAPHS = st.lists(
    st.tuples(
        st.sampled_from(["Node", "Indented", "TensorBox", "dataclass"]),
        st.lists(st.integers(0, 30), max_size=3),
        st.integers(0, 3000),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@dataclasses.dataclass(eq=False)
class Generated(ir.IRNode):
    name: str
    inputs: list
    pad: str


def node_of(kind, inputs, pad, is_named, number):
    name = f"buf{number}" if is_named else None
    if kind == "TensorBox" and inputs:
        box = ir.TensorBox.__new__(ir.TensorBox)
        vars(box).update(data=inputs[0])
        return box
    if kind == "dataclass":
        found = Generated.__new__(Generated)
        found.__dict__.update(name=name, inputs=inputs, pad="x" * pad)
        return found
    return (Indented if kind == "Indented" else Node)(name, *inputs, pad="x" * pad)


def length(node, known) -> int:
    """Return the length of the text that stock writes, without writing it, or anything above a million."""
    if id(node) not in known:
        operands = [vars(node)["data"]] if type(node) is ir.TensorBox else node.inputs
        behind = sum(length(operand, known) for operand in operands)
        known[id(node)] = behind if behind > 1_000_000 else len(stock(str, node))
    return known[id(node)]


@settings(max_examples=60, deadline=None)
@given(graph=GRAPHS)
def test_random_graphs(graph) -> None:
    """Over random graphs a text is stock's up to the limit, and no longer than that beyond it."""
    nodes: list = []
    for kind, operands, pad, is_named in graph:
        inputs = [nodes[-1 - i % len(nodes)] for i in operands] if nodes else []
        nodes.append(node_of(kind, inputs, pad, is_named, len(nodes)))
    known: dict[int, int] = {}
    for node in nodes:
        written = {write: write(node) for write in (str, repr)}
        if length(node, known) <= MAX_CHARACTERS:
            assert written == {write: stock(write, node) for write in (str, repr)}
        for text in written.values():
            assert len(text) <= MAX_CHARACTERS
            assert is_cut(text) is (known[id(node)] > MAX_CHARACTERS)


def test_real_nodes() -> None:
    """The text of a node that Inductor made is stock's up to the limit."""

    def look(late, args, kwargs):
        return str(args[0]), repr(args[0]), stock(str, args[0]), stock(repr, args[0])

    for depth in range(6):
        one, two, stock_one, stock_two = arguments_of(chain(depth)[1], torch.randn(4, 6), look=look)
        for text, own in ((one, stock_one), (two, stock_two)):
            assert (text == own) if len(own) <= MAX_CHARACTERS else is_cut(text)


# --- who swallows the stop, and what is left behind ------------------------------------------------------------


def nothing_is_left() -> bool:
    text = writing._thread.text
    return (text.is_written, text.node) == (False, None)


class SwallowsAll(Node):
    """Its own text goes on whatever happens in those of its operands."""

    calls = 0

    def __str__(self) -> str:
        type(self).calls += 1
        texts = []
        for operand in self.inputs:
            try:
                texts.append(str(operand))
            except BaseException:
                texts.append("?")
        return f"SwallowsAll({', '.join(texts)})"

    __repr__ = __str__


class SwallowsExceptions(Node):
    def __str__(self) -> str:
        try:
            return Node.__str__(self)
        except Exception:
            return "swallowed"

    __repr__ = __str__


class Clips(Node):
    """Its text is short, and takes as many texts of others as a long one."""

    def __str__(self) -> str:
        return f"Clips({''.join(map(str, self.inputs))[:20]})"

    __repr__ = __str__


def test_swallowed_stop() -> None:
    """A class that swallows the exception which stops a text is given no more texts."""
    SwallowsAll.calls = 0
    text = str(ladder(60, SwallowsAll))
    assert is_cut(text)
    # The whole attempt asks for a node for every 12 characters at most, and the bounded one for two.
    assert SwallowsAll.calls < MAX_CHARACTERS / 12
    assert nothing_is_left()


def test_except_exception() -> None:
    """`except Exception` does not swallow the exception that stops a text."""
    text = str(ladder(60, SwallowsExceptions))
    assert is_cut(text)
    assert "swallowed" not in text
    assert nothing_is_left()


def test_nodes_that_clip() -> None:
    """A graph of nodes that clip each other's texts comes to an end."""
    text = str(ladder(60, Clips))
    assert f"it asks for the texts of more than {MAX_NODES:,} nodes; {HOW}" in text
    short = ladder(10, Clips)
    assert str(short) == stock(str, short)


class Raises(Node):
    error: BaseException = ArithmeticError("of its own")

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__


@pytest.mark.parametrize("error", [ArithmeticError("of its own"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_text_raises_is_raised(monkeypatch, error) -> None:
    """An exception that a text raises reaches the caller as it is."""
    monkeypatch.setattr(Raises, "error", error)
    for node in (Raises("buf0"), Node("buf1", Node("buf2", Raises("buf0")))):
        with pytest.raises(type(error)) as raised:
            str(node)
        assert raised.value is error
        assert raised.value.__context__ is None
        assert nothing_is_left()
        assert str(ladder(3)) == stock(str, ladder(3))


def test_what_is_raised_and_replaced_does_not_count() -> None:
    """A node that failed half way leaves no characters behind."""

    class Half(Node):
        def __str__(self) -> str:
            str(Node("buf9", pad="x" * 50_000))
            raise ArithmeticError

        __repr__ = __str__

    class Replaces(Node):
        def __str__(self) -> str:
            try:
                return str(self.inputs[0])
            except ArithmeticError:
                return "replaced"

        __repr__ = __str__

    node = Node("buf1", *[Replaces("buf2", Half("buf3")) for _ in range(10)])
    assert str(node) == stock(str, node)


def test_context_of_an_error(monkeypatch) -> None:
    """An error that is raised while a text is cut has the context that it has in stock."""

    class Late(Node):
        def __str__(self) -> str:
            inner = str(self.inputs)
            if "<" in inner:
                raise ArithmeticError("in the bounded text")
            return inner

        __repr__ = __str__

    with pytest.raises(ArithmeticError) as raised:
        str(Late("buf1", ladder(60)))
    assert raised.value.__context__ is None
    assert nothing_is_left()


def test_no_string() -> None:
    """A `__str__` that returns no string raises the error that it raises in stock."""

    class Returns(Node):
        def __str__(self):
            return 7

        __repr__ = __str__

    for node in (Returns("buf0"), Node("buf1", Returns("buf0"))):
        with pytest.raises(TypeError, match="returned non-string"):
            str(node)
        assert nothing_is_left()


def test_too_deep() -> None:
    """A text that is too deep for Python's recursion limit is bounded."""
    node = Node("buf0")
    for i in range(1, 2000):
        node = Node(f"buf{i}", node)
    with pytest.raises(RecursionError):
        stock(str, node)
    text = str(node)
    assert text.splitlines()[0] == "Node(name=buf1999, pad=, inputs=[<buf1998 Node>])"
    assert text.splitlines()[1] == f"{CUT}it is too deep for Python's recursion limit"


def test_frames() -> None:
    """Each nested text takes one more frame than stock's, and nothing else of Python's limit."""

    def frames(depth: int) -> int:
        class Counts(Node):
            def __str__(self) -> str:
                frame, found = sys._getframe(), 0
                while frame is not None:
                    frame, found = frame.f_back, found + 1
                return str(found)

            __repr__ = __str__

        node = Counts("buf0")
        for i in range(depth):
            node = Node(f"buf{i + 1}", node)
        own, ours = (
            int("".join(filter(str.isdigit, text.split("[")[-1]))) for text in (stock(str, node), str(node))
        )
        return ours - own

    assert frames(20) - frames(10) == 10


def test_threads_write_texts_of_their_own() -> None:
    """Threads that write texts at the same time do not disturb each other."""
    deep, shallow = ladder(60), ladder(5)
    expected = str(deep), stock(str, shallow)
    found: list[object] = []

    def write() -> None:
        found.extend((str(deep), str(shallow)) for _ in range(20))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 80


def test_a_text_in_another_thread() -> None:
    """A text that asks another thread for texts is bounded, and so is what that thread writes."""

    class Elsewhere(Node):
        def __str__(self) -> str:
            found: list[str] = []
            thread = threading.Thread(target=lambda: found.extend(map(str, self.inputs)))
            thread.start()
            thread.join()
            return f"Elsewhere({found})"

        __repr__ = __str__

    text = str(Node("buf1", Elsewhere("buf0", ladder(60))))
    assert "<buf58 Node>" in text
    assert len(text) < 2000


def test_a_stale_text() -> None:
    """A text raises no stop that nobody would catch.

    An exception that comes between the last two steps of a text leaves a stale one behind.
    """
    text = writing._thread.text
    for known in ({"nodes": MAX_NODES}, {"characters": MAX_CHARACTERS - 1}, {"nodes": 0, "characters": 0}):
        text.is_written = True
        for name, value in known.items():
            setattr(text, name, value)
        for _ in range(20):  # however many it takes until the stale text is over
            str(ladder(12))
        assert is_cut(str(ladder(60)))
        assert str(ladder(5)) == stock(str, ladder(5))
        assert nothing_is_left()


def test_a_text_leaves_no_reference_behind() -> None:
    """A cut text leaves no reference to its node behind."""
    node = ladder(60)
    str(node)
    reference = weakref.ref(node)
    del node
    gc.collect()
    assert reference() is None


def test_limits_change_at_any_time() -> None:
    """The bounding of texts can be switched while a text is being written."""

    class Switches(Node):
        def __str__(self) -> str:
            return stock(Node.__str__, self)

        __repr__ = __str__

    assert str(Switches("buf1", ladder(3))) == stock(str, Switches("buf1", ladder(3)))
    assert nothing_is_left()


# --- classes made later ----------------------------------------------------------------------------------------


def late(kind: type) -> object:
    node = object.__new__(kind)
    vars(node).update(name="buf0", inputs=[])
    for i in range(1, 60):
        above = object.__new__(kind)
        vars(above).update(name=f"buf{i}", inputs=[node, node])
        node = above
    return node


def handwritten(base: type = ir.IRNode) -> type:
    class Late(base):
        def __str__(self) -> str:
            return f"Late({self.inputs})"

        __repr__ = __str__

    return Late


def generated() -> type:
    @dataclasses.dataclass(eq=False)
    class Late(ir.IRNode):
        inputs: list

    return Late


def by_a_mixin() -> type:
    class Texts:
        inputs: list[object]

        def __str__(self) -> str:
            return f"Late({self.inputs})"

        __repr__ = __str__

    class Late(Texts, ir.IRNode):
        pass

    return Late


def by_no_function() -> type:
    class Late(ir.IRNode):
        __str__ = functools.partialmethod(lambda self, label: f"{label}({self.inputs})", "Late")
        __repr__ = __str__

    return Late


def of_a_late_class() -> type:
    base: Any = handwritten()

    class Late(base):
        def __str__(self) -> str:
            return f"Later{super().__str__()}"

        __repr__ = __str__

    return Late


def of_inductors_class() -> type:
    return handwritten(ir.ExternKernel)


LATE = [handwritten, generated, by_a_mixin, by_no_function, of_a_late_class, of_inductors_class]


@pytest.mark.parametrize("make", LATE)
def test_a_late_class(make) -> None:
    """The text of a class that is made after the hook is bounded."""
    node = late(make())
    assert is_cut(str(node))
    assert is_cut(repr(node))


def test_a_late_dataclass() -> None:
    """The text of a late dataclass is bounded from its first node on.

    The decorator makes the text after the class was made, and repr() asks no other class first.
    """

    @dataclasses.dataclass(eq=False)
    class Late(ir.IRNode):
        inputs: list
        name: str

    node = Late([], "buf0")
    for i in range(1, 60):
        node = Late([node, node], f"buf{i}")
    assert is_cut(repr(node))


@pytest.mark.parametrize("make", LATE)
def test_a_late_class_put_back(make) -> None:
    """A class that is made after the hook gets its own texts back."""

    def texts(kind: type) -> dict[str, object]:
        return {name: vars(kind).get(name) for name in ("__str__", "__repr__")}

    lowering_hooks.bounded_ir(False)
    kind = make()
    own = texts(kind)
    lowering_hooks.bounded_ir("auto")
    str(late(kind))
    assert texts(kind) != own
    lowering_hooks.bounded_ir(False)
    assert texts(kind) == own
    assert "__init_subclass__" not in vars(ir.IRNode)
    assert not hasattr(vars(ir.IRNode)["__post_init__"], "__wrapped__")


def test_a_late_class_is_let_go() -> None:
    """The hook does not keep a late class alive."""
    kind = handwritten()
    node = object.__new__(kind)
    vars(node).update(name="buf0", inputs=[])
    assert str(node) == "Late([])"
    reference = weakref.ref(kind)
    del kind, node
    gc.collect()
    assert reference() is None


def test_arguments_of_a_class() -> None:
    """The keywords that a class is made with reach its `__init_subclass__`."""

    class Asks(ir.IRNode):
        def __init_subclass__(cls, *, label: str, **kwargs: object) -> None:
            super().__init_subclass__(**kwargs)
            cls.label = label

    class Late(Asks, label="given"):
        pass

    assert Late.label == "given"
    with pytest.raises(TypeError):

        class Fails(ir.IRNode, label="not taken"):  # type: ignore[call-arg]
            pass


# --- what is told ----------------------------------------------------------------------------------------------


def test_a_cut_in_the_report(caplog) -> None:
    """The report counts each cut under the class of the node."""
    caplog.set_level(logging.INFO, "lowering_hooks")
    node = ladder(60)
    for _ in range(3):
        str(node)
    (op,) = lowering_hooks.report().ops
    assert (op.op, op.fallbacks, op.texts, op.cut, op.shown) == ("Node", 0, 3, 3, True)
    assert op.stock_characters >= 3 * MAX_CHARACTERS
    assert op.seconds > 0
    assert "Node" in str(lowering_hooks.report())


def test_the_line_of_a_target(caplog) -> None:
    """The log has one line for each target whose text was cut."""
    caplog.set_level(logging.INFO, "lowering_hooks")

    class Told(Node):
        pass

    for _ in range(3):
        str(Told("buf1", ladder(60)))
    tell_the_rest()
    lines = [r.getMessage() for r in caplog.records if "Told" in r.getMessage()]
    assert len(lines) == 1
    assert "lowering-hooks cut Inductor's text of Told: it has at least 1" in lines[0]
    assert "lowering_hooks.report()" in lines[0]


def test_an_odd_handler() -> None:
    """A log handler that raises, or prints IR, does no harm to a text."""
    node = ladder(60)

    class Odd(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert is_cut(str(node))
            raise ArithmeticError("in a handler")

    class Heard(Node):
        pass

    logger, handler = logging.getLogger("lowering_hooks"), Odd()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        assert is_cut(str(Heard("buf1", node)))
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_an_op_that_nobody_allowed() -> None:
    """An op that nobody allowed has one text.

    Its arguments together are Inductor's own up to the limit; beyond it each is bounded.
    """
    issue = torch._inductor.exc.OperatorIssue

    def look(late, args, kwargs):
        (tensor,) = args
        target = "other"
        found = {}
        for count in (1, 2, 40, 5000):
            text = issue.operator_str(target, [tensor] * count, {})
            own = stock(issue.operator_str, target, [tensor] * count, {}) if count < 50 else None
            found[count] = text, own
        return found

    found = arguments_of(chain(4)[1], torch.randn(4, 6), look=look)
    assert {text == own for text, own in found.values() if own and len(own) <= MAX_CHARACTERS} == {True}
    cut = [text for text, own in found.values() if not own or len(own) > MAX_CHARACTERS]
    assert len(cut) >= 2
    for text in cut:
        assert text.count(CUT) == 1
        assert is_cut(text)
        assert len(text) <= MAX_CHARACTERS
        assert text.startswith("  target: other\n  args[0]: ")
    (op,) = (op for op in lowering_hooks.report().ops if op.op == "other")
    assert op.cut == len(cut)
