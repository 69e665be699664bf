"""What Inductor's own text would have had at least: never more than it has, in a time that is bounded."""

from __future__ import annotations

import collections
import dataclasses
import inspect
import shutil
import types
from typing import Any

import pytest
import torch
import torch._inductor.config as inductor_config
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from installed import SERIES
from lowered import arguments_of, chain, op, stock
from torch._inductor import ir
from torch._inductor.exc import OperatorIssue
from torch._inductor.lowering import lowerings
from torch.fx.immutable_collections import immutable_dict, immutable_list

import lowering_hooks
from lowering_hooks.describe import stock_size
from lowering_hooks.describe.stock_size import tree_characters


@pytest.fixture(autouse=True)
def bounded_errors() -> None:
    """The compiles below end in an error, whose message would not end without us."""
    lowering_hooks.apply("call_function")
    lowering_hooks.allow("described")


def stock_text(args, kwargs) -> str:
    return stock(inspect.unwrap(OperatorIssue.operator_str), "op", args, kwargs)


def both(_, args, kwargs):
    return tree_characters([args, kwargs]), len(stock_text(args, kwargs))


def claimed_and_written(model, *inputs, **how):
    return arguments_of(model, *(inputs or (torch.randn(4, 6),)), look=both, **how)


two = chain(1)[0]
single = op("(Tensor x) -> Tensor", lambda x: x.new_empty(x.shape))
many = op("(Tensor[] xs) -> Tensor", lambda xs: xs[0].new_empty(xs[0].shape))

MODELS = {
    "argument": lambda late, x: late(x),
    "two outputs": chain(1)[1],
    "two outputs, six times": chain(6)[1],
    "one output": lambda late, x: late(single(single(x))),
    "a list of tensors": lambda late, x: late(many([x, single(x), x + 1])),
    "pointwise": lambda late, x: late(torch.sin(x).t() + 1),
    "pointwise of a kernel": lambda late, x: late(single(x).sin() + single(x)),
    "concat": lambda late, x: late(torch.cat([x, x.sin()]).t()),
    "concat of kernels": lambda late, x: late(torch.cat([single(x), *two(x, x)])),
    "concat of many": lambda late, x: late(torch.cat([single(x)] * 60 + [x.sin()] * 60)),
    "softmax": lambda late, x: late(torch.softmax(single(x), 0).view(-1)),
    "reduction": lambda late, x: late(torch.var_mean(single(x), 0)[1]),
    "scan": lambda late, x: late(torch.cumsum(single(x), 0)),
    "sort": lambda late, x: late(torch.sort(single(x), 0)[0]),
    "matrix product": lambda late, x: late(single(x) @ single(x).t()),
    "slice": lambda late, x: late(x[1:]),
    "slice of a kernel": lambda late, x: late(single(x)[1:]),
    "slice of a computation": lambda late, x: late(x.sin()[1:]),
    "views of views": lambda late, x: late(single(x).t().unsqueeze(0).expand(3, 6, 4)[1:].squeeze(0)),
    "view of a computation": lambda late, x: late(single(x).sin().t().reshape(-1)),
    "as_strided": lambda late, x: late(torch.as_strided(single(x), (2, 2), (1, 1), 3)),
    "split": lambda late, x: late(single(x).split(2)[1]),
    "in place": lambda late, x: late(single(x).add_(1)),
    "index_put": lambda late, x: late(single(x).index_put([torch.arange(2)], torch.ones(()))),
    "scatter": lambda late, x: late(single(x).scatter_add(0, torch.zeros(4, 6, dtype=torch.int64), x)),
    "random": lambda late, x: late(torch.rand_like(single(x))),
    "foreach": lambda late, x: late(torch._foreach_add([single(x), x], 1)[0]),
    "convolution": lambda late, x: late(torch.conv1d(single(x)[None], torch.ones(3, 4, 2))),
    "pooling": lambda late, x: late(torch.nn.functional.adaptive_max_pool2d(single(x)[None], (3, 3))),
}


if SERIES > (2, 0):  # the Dynamo of 2.0 takes the dtype for a size
    MODELS["view as integers"] = lambda late, x: late(single(x).view(torch.int32))


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """The count is never more than what stock writes of a model's IR."""
    claimed, written = claimed_and_written(MODELS[name])
    assert 0 < claimed <= written


def test_symbolic_sizes() -> None:
    """The count is never more than what stock writes of symbolic sizes."""
    model = lambda late, x: late(single(x)[1:] + x.shape[0])  # noqa: E731
    claimed, written = claimed_and_written(model, torch.randn(5, 7), dynamic=True)
    assert 0 < claimed <= written


def test_a_conditional() -> None:
    """The count is never more than what stock writes of a conditional."""
    # PyTorch 2.3-2.15: Inductor has a lowering of torch.cond; if missing: there is nothing to look at.
    if "cond" not in {str(target) for target in lowerings}:
        pytest.skip("there is no lowering of torch.cond")

    def model(late, x):
        # Functions in Python: the Dynamo of 2.3 takes no others.
        return late(torch.cond(x.sum() > 0, lambda t: t.sin(), lambda t: t.cos(), (single(x),)))

    claimed, written = claimed_and_written(model)
    assert 0 < claimed <= written


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler")
def test_a_template_buffer() -> None:
    """A template buffer does not print its inputs, so the count leaves them out."""
    linear = torch.nn.Linear(64, 64, bias=False)

    def model(late, x):
        y = x
        for _ in range(8):
            x, y = two(x, y)
        return late(linear(x))

    def look(late, args, kwargs):
        return *both(late, args, kwargs), stock_text(args, kwargs)

    tuning = {"max_autotune": True, "max_autotune_gemm_backends": "CPP", "freezing": True}
    if not hasattr(inductor_config, "max_autotune_gemm_backends"):
        pytest.skip("this series has no templates for a CPU")
    with torch.no_grad(), inductor_config.patch(tuning):
        claimed, written, text = arguments_of(model, torch.randn(128, 64), look=look)
    if "TemplateBuffer" not in text:
        pytest.skip("no template buffer is chosen here")
    assert 0 < claimed <= written < 1000


def test_doubling() -> None:
    """Each layer of two outputs doubles the count."""
    ten, eleven, sixty = (claimed_without_writing(layers) for layers in (10, 11, 60))
    assert 1.9 < eleven / ten < 2.1
    assert 2**48 * ten < sixty < 2**51 * ten


def claimed_without_writing(layers: int) -> int:
    return arguments_of(
        chain(layers)[1], torch.randn(4, 6), look=lambda _, args, kwargs: tree_characters([args, kwargs])
    )


# --- stand-ins of Inductor's own classes and of classes derived from them ------------------------------------


def made(kind: type, **fields: object) -> ir.IRNode:
    """Return a node of a class with what its text reads, without calling its ``__init__``."""
    node = object.__new__(kind)
    blank = {field.name: None for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    defaults = {"origin_node": None, "origins": [], "size": [], "reindex": list, "debug_extra": None}
    node.__dict__.update(blank | defaults | fields)
    return node


class OwnText(ir.FallbackKernel):
    """As somebody's kernel that says little."""

    def __str__(self) -> str:
        return "own"

    __repr__ = __str__


class OwnRepr(ir.FallbackKernel):
    def __repr__(self) -> str:
        return "own"


class OwnHelper(ir.FallbackKernel):
    def str_helper(self, lines, *args, **kwargs) -> str:
        return "own"


class FewFields(ir.FallbackKernel):
    __dataclass_fields__ = {}  # noqa: RUF012


class OwnInputs(ir.FallbackKernel):
    @property
    def inputs(self):
        return ()

    @inputs.setter
    def inputs(self, value):
        pass


class Elsewhere(ir.FallbackKernel):
    def __getattribute__(self, name):
        return [] if name == "inputs" else super().__getattribute__(name)


@dataclasses.dataclass(eq=False)
class SilentInputs(ir.InputsKernel):
    silent: object = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(eq=False)
class OwnReprOfADataclass(ir.InputsKernel):
    def __repr__(self) -> str:
        return f"{self.__class__.__qualname__}({self.name!r})"


# 2.0 has no class for it.
TritonTemplateBuffer: Any = getattr(ir, "TritonTemplateBuffer", ir.TemplateBuffer)


class LongNameOfATemplateBuffer(TritonTemplateBuffer):
    """Its text begins with the name of the base class, whatever its own is."""


class QuietList(list):
    def __repr__(self) -> str:
        return "[]"


class DerivedBox(ir.StorageBox):
    def __str__(self) -> str:
        return "box"

    __repr__ = __str__


DerivedBox.__name__ = "StorageBox"

KINDS = [
    getattr(ir, name)
    for name in (
        "FallbackKernel",
        "MultiOutput",
        "ExternKernelOut",
        "ConcatKernel",
        "NopKernel",
        "InputBuffer",
        "ComputedBuffer",
        "TemplateBuffer",
        "TritonTemplateBuffer",
        "CppTemplateBuffer",
        "Conditional",
        "WhileLoop",
        "InvokeSubgraph",
        "SubgraphBuffer",
        "ComplexView",
        "PermuteView",
        "ExpandView",
        "SqueezeView",
        "View",
        "SliceView",
        "ReinterpretView",
        "DtypeView",
        "TensorBox",
        "StorageBox",
        "Subgraph",
        "TorchBindObject",
    )
    if hasattr(ir, name)
] + [
    OwnText,
    OwnRepr,
    OwnHelper,
    FewFields,
    OwnInputs,
    Elsewhere,
    SilentInputs,
    OwnReprOfADataclass,
    LongNameOfATemplateBuffer,
    DerivedBox,
]
FIELDS = ("inputs", "data", "constant_args", "kwargs", "layout", "operands", "outputs", "silent")


@st.composite
def graphs(draw: st.DrawFn) -> list[ir.IRNode]:
    """Nodes of Inductor's classes that hold earlier ones, and now and then each other, in any field."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=9))
    nodes = [made(kind, name=draw(st.sampled_from([None, f"buf{i}"]))) for i, kind in enumerate(kinds)]
    cyclic = draw(st.sampled_from([False, False, False, True]))
    for i, node in enumerate(nodes):
        others = nodes if cyclic else nodes[:i]
        if not others:
            continue
        for field in draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique=True)) or ["inputs", "data"]:
            # By number: hypothesis hashes what it samples from, which some of these classes do by their fields.
            picked = draw(st.lists(st.integers(0, len(others) - 1), min_size=1, max_size=3))
            operands = [others[number] for number in picked]
            how = draw(st.sampled_from(HOLDERS)) if field != "data" else HOLDERS[0]
            node.__dict__[field] = how(operands)
    return nodes


HOLDERS = [
    lambda nodes: nodes[0],
    list,
    list,
    tuple,
    immutable_list,
    lambda nodes: immutable_dict({"k": nodes}),
    QuietList,
    collections.deque,
    lambda nodes: {"k": (nodes[0], [*nodes])},
    lambda nodes: types.SimpleNamespace(a=nodes),
    lambda nodes: lambda: nodes,
]


@settings(max_examples=400, deadline=None)
@given(graphs(), st.sampled_from(["each", "last", "list", "kwargs"]))
def test_any_graph(nodes, how) -> None:
    """Over any graph the count is never more than what stock writes."""
    arguments = {
        "each": (nodes, {}),
        "last": (nodes[-1:], {}),
        "list": ([nodes], {}),
        "kwargs": ([], {"k": nodes}),
    }
    args, kwargs = arguments[how]
    try:
        written = len(stock_text(args, kwargs))
    except (RecursionError, AttributeError, TypeError):  # no text at all
        assume(False)
    assert tree_characters([args, kwargs]) <= written


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__module__ == ir.__name__])
def test_inductors_classes(kind: type) -> None:
    """A node of each of Inductor's own classes counts for something."""
    inner = made(ir.InputBuffer, name="inner")
    node = made(kind, name="buf", inputs=[inner], data=inner)
    claimed, written = tree_characters([[node]]), len(stock_text([node], {}))
    assert 0 <= claimed <= written
    if kind.__name__ != "TritonTemplateBuffer":
        assert claimed > 0


@pytest.mark.parametrize("kind", [OwnText, OwnRepr, OwnHelper, Elsewhere, OwnReprOfADataclass, DerivedBox])
def test_texts_of_others(kind: type) -> None:
    """A class whose text is not Inductor's counts nothing."""
    inner = made(ir.InputBuffer, name="inner")
    assert tree_characters([made(kind, inputs=[inner], data=inner)]) == 0


UNPRINTED = [
    (ir.InputBuffer, "inputs"),
    (ir.TemplateBuffer, "inputs"),
    (getattr(ir, "CppTemplateBuffer", ir.TemplateBuffer), "inputs"),
    (TritonTemplateBuffer, "inputs"),
    (LongNameOfATemplateBuffer, "inputs"),
    (ir.FallbackKernel, "data"),
    (ir.FallbackKernel, "fields_of_its_own"),
    (ir.PermuteView, "inputs"),
    (FewFields, "inputs"),
    (OwnInputs, "inputs"),
    (SilentInputs, "silent"),
]
PRINTED = [
    (ir.FallbackKernel, "inputs"),
    (ir.FallbackKernel, "constant_args"),
    (ir.MultiOutput, "inputs"),
    (ir.ExternKernelOut, "inputs"),
    (ir.ConcatKernel, "inputs"),
    (SilentInputs, "inputs"),
    (ir.ComputedBuffer, "data"),
    (ir.PermuteView, "data"),
    (ir.View, "data"),
    (ir.SliceView, "data"),
    (ir.ReinterpretView, "data"),
]


@pytest.mark.parametrize(("kind", "field"), UNPRINTED)
def test_fields_that_are_not_printed(kind: type, field: str) -> None:
    """A field that the text of its class leaves out counts nothing."""
    node = made(kind, **{field: [made(ir.FallbackKernel, name="behind_it")]})
    assert "behind_it" not in stock_text([node], {})
    assert tree_characters([node]) == tree_characters([made(kind)])


@pytest.mark.parametrize(("kind", "field"), PRINTED)
def test_fields_that_are_printed(kind: type, field: str) -> None:
    """A field that the text of its class has counts whole."""
    inner = made(ir.FallbackKernel, name="behind_it")
    node = made(kind, **{field: inner if field == "data" else [inner]})
    assert "behind_it" in stock_text([node], {})
    assert tree_characters([node]) == tree_characters([made(kind)]) + tree_characters([inner])


def test_no_ir() -> None:
    """Values that are no IR, and containers that do not print theirs, count nothing."""
    inner = made(ir.InputBuffer, name="inner")
    assert tree_characters([1, "a", None]) == 0
    assert tree_characters([QuietList([inner]), collections.deque([inner]), lambda: inner]) == 0


def test_a_cycle() -> None:
    """Each node of a cycle counts once."""
    first, second = made(ir.FallbackKernel), made(ir.FallbackKernel)
    alone = tree_characters([first])
    first.__dict__["inputs"], second.__dict__["inputs"] = [second, second], [first]
    assert tree_characters([first]) == 2 * alone <= len(stock_text([first], {}))


def test_a_bounded_look(monkeypatch) -> None:
    """The count looks at no more than 256 nodes, however deep or wide the graph is."""
    looked_at, printed_by = [], stock_size._printed_by

    def noted(node):
        looked_at.append(node)
        return printed_by(node)

    monkeypatch.setattr(stock_size, "_printed_by", noted)

    def layered(layers: int, width: int) -> list[ir.IRNode]:
        layer: list[ir.IRNode] = []
        for _ in range(layers):
            layer = [made(ir.FallbackKernel, name="buf", inputs=layer) for _ in range(width)]
        return layer

    one = tree_characters(layered(1, 1))
    assert tree_characters(layered(10, 1)) == 10 * one
    assert tree_characters(layered(256, 1)) == tree_characters(layered(20_000, 1)) == 256 * one
    for shape in ((20_000, 1), (3000, 2), (3, 3000)):
        looked_at.clear()
        assert tree_characters(layered(*shape)) > 0
        assert len(looked_at) <= 256
