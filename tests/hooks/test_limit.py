"""Texts under a limit, on a stand-in for Inductor, whose every step can be watched; test_writing.py has PyTorch's."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import logging
import pprint
import threading
import types
import weakref
from typing import Any

import pytest

from lowering_hooks.hooks import ir_text, writing
from lowering_hooks.hooks.ir_text import BoundedIR
from lowering_hooks.hooks.limit import MAX_CHARACTERS, MAX_NODES, Stop, Text
from lowering_hooks.hooks.writing import Writer
from lowering_hooks.inductor.site import NOWHERE, Site
from lowering_hooks.records import Records
from lowering_hooks.telling import tell_the_rest

CUT = "\n... lowering-hooks cut this text of Inductor's: "
HOW = "; LOWERING_HOOKS_BOUNDED_IR=off has it written whole, however long that takes"


class Kit:
    """A writer that bounds the texts of the stand-in, and a class of nodes."""

    def __init__(self, stand) -> None:
        self.stand = stand
        self.records = Records()
        self.writer = Writer(self.records)
        self.writer.mode = "auto"
        self.hook = BoundedIR(stand.ir, self.writer)
        self.hook.install()
        base: Any = stand.ir.IRNode
        self.base = base

        class Node(base):
            def __init__(self, name, *inputs, pad="") -> None:
                self.inputs, self.pad = list(inputs), pad
                if name is not None:
                    self.name = name

            def __str__(self) -> str:
                kind = type(self).__name__
                return f"{kind}({vars(self).get('name')}, {self.pad}, {self.inputs})"

            __repr__ = __str__

        self.node: Any = Node

    def box(self, inner):
        texts = dict.fromkeys(("__str__", "__repr__"), lambda self: f"TensorBox({self.data})")
        box = type("TensorBox", (self.base,), texts)()
        box.data = inner
        return box

    def ladder(self, depth, kind=None):
        """Return a node whose text doubles with each step."""
        node = (kind or self.node)("buf0")
        for i in range(1, depth):
            node = (kind or self.node)(f"buf{i}", node, node)
        return node

    def stock(self, node) -> str:
        mode, self.writer.mode = self.writer.mode, False
        try:
            return str(node)
        finally:
            self.writer.mode = mode

    def report(self):
        return self.records.report().ops


@pytest.fixture
def kit(stand):
    kit = Kit(stand)
    yield kit
    text = writing._thread.text
    assert (text.is_written, text.node) == (False, None)
    kit.hook.remove()


def cut(text: str) -> str:
    """Return why a text was cut; empty where it was not."""
    return text.partition(CUT)[2]


# --- how long ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("nested", [False, True])
def test_the_last_character(kit, extra, nested) -> None:
    """A text is whole up to it, and the report has one entry where it is not."""

    def make(pad):
        inner = kit.node("buf0", pad="x" * pad)
        return kit.node("buf1", inner) if nested else inner

    node = make(MAX_CHARACTERS - len(kit.stock(make(0))) + extra)
    assert len(kit.stock(node)) == MAX_CHARACTERS + extra
    if extra <= 0:
        assert str(node) == repr(node) == kit.stock(node)
        assert kit.report() == ()
        return
    assert cut(str(node)) == f"it has more than 100,000 characters{HOW}"
    (op,) = kit.report()
    assert (op.op, op.fallbacks, op.texts, op.cut, op.shown) == ("Node", 0, 1, 1, True)
    assert op.stock_characters >= MAX_CHARACTERS
    assert op.seconds > 0


def test_the_last_character_of_a_nested_text(kit) -> None:
    """It may be the last one of the whole text."""

    class Passes(kit.node):
        def __str__(self) -> str:
            return str(self.inputs[0])

    node = kit.node("buf0", pad="x" * (MAX_CHARACTERS - len(kit.stock(kit.node("buf0")))))
    assert str(Passes("buf1", node)) == kit.stock(node)
    assert len(kit.stock(node)) == MAX_CHARACTERS


def test_a_new_writer() -> None:
    """It bounds nothing until it is told to."""
    assert Writer(Records()).mode is False


def test_nested_texts_are_counted_once(kit) -> None:
    """The text of a node holds those of its operands."""
    node = kit.node("buf0", pad="x" * 60_000)
    for i in range(1, 20):
        node = kit.node(f"buf{i}", node)
    assert str(node) == kit.stock(node)


def test_siblings_are_added_up(kit) -> None:
    """Two short texts are together a long one; a node that is written by name is not written in full."""
    node = kit.node("buf2", kit.node("buf0", pad="x" * 60_000), kit.node("buf1", pad="y" * 60_000))
    assert str(node) == f"Node(buf2, , [<buf0 Node>, <buf1 Node>]){cut_note(node)}"


def cut_note(node) -> str:
    return f"{CUT}it has more than 100,000 characters{HOW}"


@pytest.mark.parametrize(("extra", "is_cut"), [(0, False), (1, True)])
def test_the_number_of_nodes(kit, extra, is_cut) -> None:
    """A text may ask for so many nodes beside the first, whose texts it may leave out."""
    asked = []

    class Clips(kit.node):
        def __str__(self) -> str:
            for operand in self.inputs * self.times:
                str(operand)
            asked.append(self)
            return "Clips" if self.inputs else ""

        times = 1
        __repr__ = __str__

    node = Clips("buf1", Clips("buf0"))
    node.times = MAX_NODES + extra
    text = str(node)
    assert cut(text) == (f"it asks for the texts of more than 100,000 nodes{HOW}" if is_cut else "")
    assert len(asked) == MAX_NODES + (not is_cut)
    assert [op.cut for op in kit.report()] == [1] * is_cut


def test_a_text_that_is_given_up(kit) -> None:
    """No more nodes are written, whoever swallows what ends it."""
    asked = []

    class Swallows(kit.node):
        def __str__(self) -> str:
            asked.append(self)
            found = []
            for operand in self.inputs:
                try:
                    found.append(str(operand))
                except BaseException:
                    found.append("?")
            return f"Swallows({found}, {self.pad})"

        __repr__ = __str__

    long = Swallows("buf0", pad="x" * 200_000)
    node = Swallows("buf1", long, *[Swallows(f"buf{i}") for i in range(2, 100)])
    text = str(node)
    assert cut(text) == f"it has more than 100,000 characters{HOW}"
    assert len(asked) == 3, "the node twice and the long one once"
    assert text.startswith("Swallows(['<buf0 Swallows>', '<buf2 Swallows>'")


def test_the_first_reason_is_told(kit) -> None:
    """What comes of going on after it is none."""
    text = Text()
    text.give_up(5, "first")
    text.give_up(7, "second")
    assert (text.characters, text.nodes, text.problem) == (7, MAX_NODES + 1, "first")


def test_too_deep(kit) -> None:
    """Where Python's recursion limit ends a text, it is bounded."""
    node = kit.node("buf0")
    for i in range(1, 3000):
        node = kit.node(f"buf{i}", node)
    with pytest.raises(RecursionError):
        kit.stock(node)
    assert str(node) == f"Node(buf2999, , [<buf2998 Node>]){CUT}it is too deep for Python's recursion limit"


def test_a_limit_before_the_recursion_limit(kit) -> None:
    """It is the reason that is told."""

    class Deep(kit.node):
        def __str__(self) -> str:
            if any("<" in text for text in map(str, self.inputs)):
                return "bounded"
            raise RecursionError

        __repr__ = __str__

    class Swallows(kit.node):
        def __str__(self) -> str:
            try:
                return str(self.inputs[0])
            except Stop:
                raise RecursionError from None

        __repr__ = __str__

    assert "characters" in cut(str(Swallows("buf1", kit.node("buf0", pad="x" * 200_000))))


# --- how it is bounded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", True])
def test_a_bounded_text(kit, mode) -> None:
    """It has the node in full, and those behind it by name; with True also where it is short."""
    kit.writer.mode = mode
    text = str(kit.ladder(60))
    assert text.startswith("Node(buf59, , [<buf58 Node>, <buf58 Node>])")
    assert bool(cut(text)) is (mode == "auto")
    assert (str(kit.ladder(2)) == kit.stock(kit.ladder(2))) is (mode == "auto")
    assert len(kit.report()) == (mode == "auto")


def test_a_node_without_a_name(kit) -> None:
    """It is written in full as deep as eight of them, where that is within the limit."""
    kit.writer.mode = True

    def nested(depth, behind, pad=""):
        node = behind
        for _ in range(depth):
            node = kit.node(None, node, pad=pad)
        return node

    named = kit.node("buf0")
    assert str(nested(8, named)).count("Node(None") == 8
    assert "<buf0 Node>" in str(nested(9, named))
    assert "<Node>" not in str(nested(9, named))
    assert str(nested(10, named)).count("Node(None") == 9
    assert str(nested(10, named)).count("<Node>") == 1
    long = str(nested(3, named, pad="x" * 40_000))
    assert (long.count("Node(None"), long.count("<Node>")) == (1, 1)
    wide = kit.node("buf3", *[nested(2, named) for _ in range(10)], named)
    assert str(wide).count("Node(None") == 20
    assert str(wide).endswith(", <buf0 Node>])")
    assert str(kit.node("buf3", nested(1, named), named)).endswith(", <buf0 Node>])")
    boxed = named
    for _ in range(8):
        boxed = kit.node(None, kit.box(boxed))
    assert str(boxed).count("Node(None") == 8


def test_a_box(kit) -> None:
    """It says nothing, so what is in it is written in full, and by name where something stands around it."""
    kit.writer.mode = True
    inner = kit.ladder(3)
    assert str(kit.box(inner)) == "TensorBox(Node(buf2, , [<buf1 Node>, <buf1 Node>]))"
    assert str(kit.node("buf9", kit.box(inner))) == "Node(buf9, , [TensorBox(<buf2 Node>)])"


def test_a_text_that_asks_its_base_class(kit) -> None:
    """It is the same node."""

    class Derived(kit.node):
        def __str__(self) -> str:
            return f"Derived of {super().__str__()}"

        __repr__ = __str__

    class Twice(kit.node):
        def __str__(self) -> str:
            return f"{self.inputs} in {super().__str__()}"

        __repr__ = __str__

    kit.writer.mode = True
    node = Derived("buf1", Derived("buf0"))
    assert str(node) == "Derived of Derived(buf1, , [<buf0 Derived>])"
    inner = "Node(None, , [])"
    assert str(Twice("buf1", kit.node(None))) == f"[{inner}] in Twice(buf1, , [{inner}])"


def test_names_that_pass_the_limit(kit) -> None:
    """Such a node is described in a line, and so is one whose text and note would together."""
    wide = kit.node("buf1", *[kit.node(f"buf{i}") for i in range(20_000)])
    assert str(wide).startswith("buf1 Node(")
    assert len(str(wide)) < 1_000
    kit.writer.mode = True
    assert str(wide).startswith("buf1 Node(")
    kit.writer.mode = "auto"
    rest = len(str(kit.node("buf1", kit.ladder(30), pad=""))) - len(cut_note(None)) + len(cut_note(None))
    for extra in (0, 1):
        node = kit.node("buf1", kit.ladder(30), pad="x" * (MAX_CHARACTERS - rest + extra))
        text = str(node)
        assert text.startswith("buf1 Node(") is (extra == 1)
        assert len(text) <= MAX_CHARACTERS


@pytest.mark.parametrize("mode", [False, "auto", True])
def test_arguments_of_a_text(kit, mode) -> None:
    """They are passed on."""

    class Loops(kit.base):
        def __str__(self, names: Any = ("a",), *, more: Any = "") -> str:
            return f"{names}{more}"

    loops: Any = Loops

    class Reduction(Loops):
        def __str__(self) -> str:  # type: ignore[override]
            return f"{loops.__str__(self, ('b',))}{loops.__str__(self, more='c')}"

    class Around(kit.base):
        def __str__(self) -> str:
            return f"{loops.__str__(self.data, ('d',), more='e')}"

    assert wrapped(Reduction)
    assert wrapped(Around)
    kit.writer.mode = mode
    node = Reduction()
    assert str(node) == "('b',)('a',)c"
    assert loops.__str__(node, ("f",), more="g") == "('f',)g"
    around = Around()
    around.data = Loops()
    assert str(around) == "('d',)e"


def test_an_argument_with_a_name_of_ours(kit) -> None:
    """It is the text's own, whatever the wrapper calls what it takes."""

    class Named(kit.base):
        def __str__(self, *, node: Any = None, original: Any = None) -> str:
            return f"{node}{original}"

    named: Any = Named()
    assert named.__str__(node="a", original="b") == "ab"


def test_no_string(kit) -> None:
    """What is no string is Python's to refuse."""

    class Returns(kit.node):
        def __str__(self):
            return 7

        __repr__ = __str__

    for mode in ("auto", True, False):
        kit.writer.mode = mode
        with pytest.raises(TypeError, match="returned non-string"):
            str(Returns("buf0"))
    kit.writer.mode = "auto"
    with pytest.raises(TypeError, match="returned non-string"):
        str(kit.node("buf1", Returns("buf0")))


@pytest.mark.parametrize("error", [ArithmeticError("of its own"), KeyboardInterrupt()])
def test_what_a_text_raises(kit, error) -> None:
    """It comes out as it is, and leaves nothing behind."""

    class Raises(kit.node):
        def __str__(self) -> str:
            raise error

        __repr__ = __str__

    for mode in ("auto", True):
        kit.writer.mode = mode
        with pytest.raises(type(error)) as raised:
            str(kit.node(None, kit.node(None, Raises(None))))
        assert raised.value is error
        kit.writer.mode = "auto"
        assert str(kit.ladder(3)) == kit.stock(kit.ladder(3))
        assert cut(str(kit.ladder(60)))


def test_what_was_raised_and_replaced(kit) -> None:
    """The characters of a node that failed half way do not count."""

    class Half(kit.node):
        def __str__(self) -> str:
            str(kit.node("buf9", pad="x" * 50_000))
            raise ArithmeticError

        __repr__ = __str__

    class Replaces(kit.node):
        def __str__(self) -> str:
            try:
                return str(self.inputs[0])
            except ArithmeticError:
                return "replaced"

        __repr__ = __str__

    node = kit.node("buf1", *[Replaces("buf2", Half("buf3")) for _ in range(5)])
    assert str(node) == kit.stock(node)

    class ReplacesAll(kit.node):
        def __str__(self) -> str:
            found = []
            for operand in self.inputs:
                with contextlib.suppress(ArithmeticError):
                    found.append(str(operand))
            return f"ReplacesAll({found})"

    node = ReplacesAll("buf1", *[Half("buf3") for _ in range(5)])
    assert str(node) == "ReplacesAll([])"


@pytest.mark.parametrize("known", [{"nodes": MAX_NODES}, {"characters": MAX_CHARACTERS - 1}])
def test_a_stale_text(kit, known) -> None:
    """What an exception between two steps left behind ends with the next text, and raises nothing."""
    text = writing._thread.text
    text.is_written = True
    for name, value in {"unnamed": None, **known}.items():
        setattr(text, name, value)
    short = kit.ladder(3)
    assert "Node(buf2" in str(short)
    assert text.is_written is False
    assert str(short) == kit.stock(short)


def test_threads(kit) -> None:
    """Each has a text of its own."""
    inside, done, found = threading.Event(), threading.Event(), []

    class Waits(kit.node):
        def __str__(self) -> str:
            inside.set()
            assert done.wait(60)
            return "x" * 60_000

        __repr__ = __str__

    thread = threading.Thread(target=lambda: found.append(str(kit.node("buf1", Waits("buf0")))))
    thread.start()
    assert inside.wait(60)
    assert not cut(str(kit.node("buf2", pad="x" * 60_000)))
    done.set()
    thread.join()
    assert not cut(found[0])


# --- classes -------------------------------------------------------------------------------------------------------


def wrapped(kind, name="__str__") -> bool:
    return hasattr(vars(kind).get(name), "_lowering_hooks_text")


def test_put_back(kit) -> None:
    """Each class has its own texts again, and a class that is made later is left alone."""
    own = kit.node.__str__.__wrapped__
    assert wrapped(kit.node, "__repr__")
    kit.hook.remove()
    assert vars(kit.node)["__str__"] is own
    assert not wrapped(kit.base)
    assert "__init_subclass__" not in vars(kit.base)
    assert not wrapped(type("Late", (kit.base,), {"__str__": lambda self: "late"}))
    kit.hook.install()
    assert wrapped(kit.node)
    kit.hook.install()
    assert vars(kit.node)["__str__"].__wrapped__ is own, "it is wrapped once"


def test_a_wrapper_of_others(kit) -> None:
    """It calls ours, which bounds what is written: it is not wrapped again, and stays when ours is put back."""
    ours = vars(kit.node)["__str__"]

    @functools.wraps(ours)
    def theirs(self):
        return f"theirs, and {ours(self)}"

    kit.node.__str__ = theirs
    again = BoundedIR(kit.stand.ir, kit.writer)
    again.install()
    assert vars(kit.node)["__str__"] is theirs
    again.remove()
    assert vars(kit.node)["__str__"] is theirs
    kit.hook.remove()
    assert vars(kit.node)["__str__"] is theirs


def test_a_text_that_a_class_borrows(kit) -> None:
    """It has the original afterwards, as the class that it was borrowed from."""
    own = kit.node.__str__.__wrapped__

    class Borrows(kit.base):
        pass

    Borrows.__str__ = vars(kit.node)["__str__"]
    kit.hook.remove()
    assert vars(Borrows)["__str__"] is vars(kit.node)["__str__"] is own
    assert not wrapped(kit.node)


def test_a_mixin_behind_an_ir_class(stand) -> None:
    """Its text is the one of the class, as without the hook, since no IR class before it defines one."""
    del stand.ir.IRNode.__str__

    class Mixin:
        def __str__(self) -> str:
            return "mixin"

    class Bare(stand.ir.IRNode):
        pass

    class Before(stand.ir.IRNode, Mixin):
        pass

    kit = Kit(stand)
    base: Any = kit.base
    assert wrapped(base)

    class Behind(base, Mixin):
        pass

    class Further(Bare, Mixin):
        pass

    str(base())
    kinds: list[Any] = [Before, Behind, Further]
    assert [str(kind()) for kind in kinds] == ["mixin"] * 3
    assert all(map(wrapped, kinds))
    assert not wrapped(Bare)
    kit.hook.remove()
    assert [str(kind()) for kind in kinds] == ["mixin"] * 3
    assert not any("__str__" in vars(kind) for kind in [Bare, *kinds])


def test_a_dataclass_with_a_mixin(kit) -> None:
    """Its decorator generates the text that it generates without the hook, and not what the mixin has."""

    class Mixin:
        def __repr__(self) -> str:
            return "mixin"

    @dataclasses.dataclass
    class Made(Mixin, kit.base):
        x: int = 1

    str(kit.base())  # before which later classes are wrapped
    assert repr(Made(3)).endswith("Made(x=3)")
    assert wrapped(Made, "__repr__")


def test_pprint(kit) -> None:
    """It writes a dataclass over several lines, as without the hook."""

    @dataclasses.dataclass
    class Made(kit.base):
        first: str
        second: str

    made = Made("a" * 60, "b" * 60)
    str(kit.base())
    assert wrapped(Made, "__repr__")
    hooked = pprint.pformat(made)
    kit.hook.remove()
    assert hooked == pprint.pformat(made)
    assert len(hooked.splitlines()) == 2


def test_a_text_that_was_taken_elsewhere(kit) -> None:
    """A class that took it under another name has Inductor's own once it is removed."""
    own = kit.node.__str__

    class Taking(kit.base):
        __repr__ = kit.node.__str__

    kit.hook.remove()
    assert vars(Taking)["__repr__"] is vars(kit.node)["__str__"] is not own


def test_a_text_from_a_mixin(kit) -> None:
    """It is wrapped in the class that is an IR class; one from object or an IR class is not."""

    class Mixin:
        def __str__(self) -> str:
            return "mixin"

    class Mixed(Mixin, kit.base):
        pass

    class Both(kit.node, kit.base):
        pass

    class Plain(kit.node):
        pass

    assert wrapped(Mixed)
    str(kit.base())  # before which the rest of later classes is wrapped
    assert str(Mixed()) == "mixin"
    assert not hasattr(Mixin.__str__, "__wrapped__")
    for kind in (Both, Plain):
        assert "__str__" not in vars(kind)
    kit.node.__str__ = lambda self: "theirs"
    assert "__str__" not in vars(type("Late", (kit.node, kit.base), {}))
    kit.hook.remove()
    assert "__str__" not in vars(Mixed)


def test_a_repr_from_a_mixin(kit) -> None:
    """It is wrapped before the first text that follows: no decorator generates another one any more."""
    mixin = type("Mixin", (), {"__repr__": lambda self: "mixin"})
    mixed: Any = type("Mixed", (mixin, kit.base), {})

    assert "__repr__" not in vars(mixed)
    str(kit.base())
    assert repr(mixed()) == "mixin"
    assert wrapped(mixed, "__repr__")


def test_a_mixin_behind_a_class_with_a_text(stand) -> None:
    """It says nothing: a class derived from both has the text of the first, be it its own or borrowed."""
    del stand.ir.IRNode.__str__
    kit = Kit(stand)
    base: Any = kit.base

    class Mixin:
        def __str__(self) -> str:
            return "mixin"

    class Mixed(Mixin, base):
        pass

    class Borrows(base):
        pass

    own = type("Own", (base,), {"__str__": lambda self: "own"})
    str(base())
    Borrows.__str__ = vars(Mixed)["__str__"]
    behind = type("Behind", (), {"__str__": lambda self: "behind"})
    for kind, text in ((own, "own"), (Borrows, "mixin")):
        derived = type("Derived", (kind, behind), {})
        str(base())
        assert str(derived()) == text
        assert "__str__" not in vars(derived)
    kit.hook.remove()


def test_the_text_of_object(stand) -> None:
    """IRNode has it where it defines none: a later dataclass may have no other."""
    del stand.ir.IRNode.__str__, stand.ir.IRNode.__repr__
    kit = Kit(stand)
    assert vars(stand.ir.IRNode)["__str__"].__wrapped__ is object.__str__
    assert "__repr__" not in vars(stand.ir.IRNode)
    both = type("Both", (kit.base, type("Mixin", (), {})), {})
    assert not {"__str__", "__repr__"} & set(vars(both))
    kit.hook.remove()
    assert "__str__" not in vars(stand.ir.IRNode)


def test_what_is_no_node(kit) -> None:
    """A layout is none, although it derives from IRNode up to 2.5."""
    layout = type("FixedLayout", (kit.base,), {"__str__": lambda self: "layout"})
    assert not wrapped(layout)


def test_a_late_dataclass(kit) -> None:
    """The text that the decorator makes is wrapped before the next text."""
    base: Any = kit.base

    @dataclasses.dataclass
    class Late(base):
        inputs: list

    assert not wrapped(Late, "__repr__")
    str(kit.node("buf0"))
    assert wrapped(Late, "__repr__")


@pytest.mark.parametrize("has_post_init", [True, False])
def test_the_first_node(stand, has_post_init) -> None:
    """A late class is wrapped before its first node, where every node's constructor calls one function."""
    calls = []
    if has_post_init:
        stand.ir.IRNode.__post_init__ = original = lambda self, *more, **named: calls.append((*more, named))
    kit = Kit(stand)

    base: Any = kit.base

    @dataclasses.dataclass
    class Late(base):
        inputs: list

    assert hasattr(vars(kit.base).get("__post_init__"), "__wrapped__") is has_post_init
    Late([])
    assert wrapped(Late, "__repr__") is has_post_init
    if has_post_init:
        assert calls == [({},)]
        assert vars(kit.base)["__post_init__"] is original
        type("Another", (kit.base,), {})
        kit.base.__post_init__(None, 1, two=2)
        assert calls[1:] == [(1, {"two": 2})]
        type("Another", (kit.base,), {})
        kit.hook.remove()
        assert vars(kit.base)["__post_init__"] is original
    kit.hook.remove()


def test_a_late_class_after_all(kit) -> None:
    """One that was made before the hook was removed, and is decorated after it, is left alone."""
    late: Any = type("Late", (kit.base,), {})
    late.__str__ = lambda self: "late"
    kit.hook.remove()
    assert not wrapped(late)
    kit.writer.before_next.clear()


def test_a_late_class_that_others_ask_for(kit) -> None:
    """A removed hook leaves it alone, where theirs calls it for each class."""
    ours = vars(kit.base)["__init_subclass__"]
    kit.base.__init_subclass__ = classmethod(lambda cls, **more: ours.__get__(None, cls)(**more))
    assert wrapped(type("Late", (kit.base,), {"__str__": lambda self: "late"}))
    kit.hook.remove()
    waiting = len(kit.writer.before_next)
    assert not wrapped(type("Late", (kit.base,), {"__str__": lambda self: "late"}))
    assert len(kit.writer.before_next) == waiting


def test_a_late_class_that_refuses(kit) -> None:
    """It can be made and has its own text; one that refuses later, too."""

    class Unwilling(type):
        def __setattr__(cls, name, value):
            raise RuntimeError(f"no {name}")

    late = Unwilling("Late", (kit.base,), {"__str__": lambda self: "late"})
    later = Unwilling("Later", (kit.base,), {})
    type.__setattr__(later, "__str__", lambda self: "later")
    kit.hook._new.append(weakref.ref(later))
    kit.writer.before_next.append(kit.hook._wrap_new)
    assert str(kit.node("buf0")) == "Node(buf0, , [])"
    assert (str(late()), str(later())) == ("late", "later")


def test_classes_with_two_bases(kit) -> None:
    """Each is there once."""
    one, two = type("One", (kit.base,), {}), type("Two", (kit.base,), {})
    both = type("Both", (one, two), {})
    found = list(ir_text._classes(kit.base))
    assert sorted(map(found.count, (kit.base, kit.node, one, two, both))) == [1] * 5


def test_a_late_class_is_let_go(kit) -> None:
    """Nothing keeps it."""
    late = weakref.ref(type("Late", (kit.node,), {}))
    gc.collect()
    assert late() is None
    str(kit.node("buf0"))


def test_a_class_with_keywords(stand) -> None:
    """They reach the __init_subclass__ of IRNode, or of object, which takes none."""
    kit = Kit(stand)
    with pytest.raises(TypeError):
        type("Late", (kit.base,), {}, label="not taken")
    kit.hook.remove()
    found = []
    stand.ir.IRNode.__init_subclass__ = classmethod(lambda cls, **kwargs: found.append((cls, kwargs)))
    kit = Kit(stand)
    found.clear()
    late = type("Late", (kit.base,), {}, label="taken")
    assert found == [(late, {"label": "taken"})]
    kit.hook.remove()


# --- what is told --------------------------------------------------------------------------------------------------


def lower(kit, target) -> None:
    node = types.SimpleNamespace(op="call_function", target=target, name="node", meta={})
    kit.stand.virtualized.V.graph = types.SimpleNamespace(current_node=node, graph_id=3)


def test_whose_text_was_cut(kit, caplog) -> None:
    """That of the op that is lowered, else of the node's own op or class; a line at INFO tells it once."""
    tell_the_rest()  # of other tests
    caplog.set_level(logging.INFO, "lowering_hooks")
    for _ in range(2):
        str(kit.ladder(60))
    lower(kit, kit.stand.torch.ops.lib.op.default)
    str(kit.ladder(60))
    kit.stand.virtualized.V.graph.current_node.op = "output"
    str(kit.ladder(60))
    kit.stand.virtualized.V.graph = None
    made = kit.ladder(60)
    made.op_overload = kit.stand.torch.ops.lib.made.default
    str(made)
    str(kit.box(made))
    assert [(op.op, op.graph, op.node, op.cut) for op in kit.report()] == [
        ("Node", "", "", 3),
        ("lib.op.default", "3", "node", 1),
        ("lib.made.default", "", "", 2),
    ]
    assert caplog.records == [], "a logging handler may ask for a text"
    tell_the_rest()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(": ")[0] for line in lines] == [
        f"lowering-hooks cut Inductor's text of {name}"
        for name in ("Node", "lib.op.default", "lib.made.default")
    ]
    assert "Node: it has at least 1" in lines[0]
    assert lines[0].endswith("; lowering_hooks.report() lists all that were cut")


@pytest.mark.parametrize("certain", [10**9, 3])
def test_what_a_cut_text_took(kit, monkeypatch, certain) -> None:
    """Its seconds, and its characters in stock: those that were written, or are certain to be."""
    times = iter([10.0, 12.5])
    monkeypatch.setattr(writing, "time", types.SimpleNamespace(perf_counter=lambda: next(times)))
    monkeypatch.setattr(writing, "tree_characters", lambda values: certain)
    str(kit.node("buf0", pad="x" * 200_000))
    (op,) = kit.report()
    assert op.seconds == 2.5
    assert op.stock_characters == max(certain, len("Node(buf0, , [])") + 200_000)


def test_what_is_done_before_an_op(kit) -> None:
    """It is done once for each text of an op, unless that is written as Inductor writes it."""
    done: list[str] = []
    kit.writer.before_operators.append(lambda: done.append(kit.writer.mode))
    for mode in ("auto", True, False):
        kit.writer.mode = mode
        text = kit.writer.operator("op", Site("", "", ""), [], lambda: "text", lambda: "short", is_shown=True)
        assert text == ("text", False)
    assert done == ["auto", True]
    kit.writer.before_operators.clear()


def test_the_first_text_of_a_thread(kit) -> None:
    """It is bounded as any other."""
    kit.writer.mode = True
    found: list[str] = []
    node = kit.ladder(3)
    thread = threading.Thread(target=lambda: found.append(str(node)))
    thread.start()
    thread.join()
    assert found == [str(node)] == ["Node(buf2, , [<buf1 Node>, <buf1 Node>])"]


def test_an_op_and_its_arguments(kit) -> None:
    """Together they are one text."""
    op, site, node = kit.stand.torch.ops.lib.op.default, Site("3", "node", ""), kit.ladder(13)
    length = len(kit.stock(node))
    times = MAX_CHARACTERS // length

    def written(count, *, is_shown=True):
        nodes = [node] * count
        return kit.writer.operator(
            op, site, nodes, lambda: "".join(map(str, nodes)), lambda: "short", is_shown=is_shown
        )

    assert written(times) == (kit.stock(node) * times, False)
    assert kit.report() == ()
    text, was_cut = written(times + 1)
    by_name = "Node(buf12, , [<buf11 Node>, <buf11 Node>])"
    assert text == by_name * (times + 1) + CUT + f"it has more than 100,000 characters{HOW}"
    assert was_cut is True
    (found,) = kit.report()
    assert (found.op, found.graph, found.node, found.cut, found.shown) == (
        "lib.op.default",
        "3",
        "node",
        1,
        True,
    )
    kit.records.reset()
    assert written(20_000, is_shown=False)[0].startswith("short\n... lowering-hooks cut")
    assert kit.report()[0].shown is False
    kit.writer.mode = True
    assert written(1) == (by_name, False)
    assert written(20_000) == ("short", False)
    kit.writer.mode = False
    assert written(times + 1) == (kit.stock(node) * (times + 1), False)


def test_an_op_inside_a_text(kit) -> None:
    """It is a part of that text."""

    class Asks(kit.node):
        def __str__(self) -> str:
            text, _ = kit.writer.operator(None, NOWHERE, [], lambda: "own", lambda: "short", is_shown=True)
            return f"{text} {self.inputs}"

        __repr__ = __str__

    kit.writer.mode = True
    assert str(Asks("buf1", kit.node("buf0"))) == "own [<buf0 Node>]"


def test_what_cannot_be_counted(kit, monkeypatch) -> None:
    """The text is cut all the same."""
    monkeypatch.setattr(kit.records, "cut", lambda *args, **kwargs: 1 / 0)
    assert cut(str(kit.ladder(60)))
