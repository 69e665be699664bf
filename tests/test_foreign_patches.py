"""What other libraries put into the places of ours, in a real Inductor.

A compile with theirs and ours comes out as one with theirs alone, whichever was there first; and where the text
of stock has no end, it has one.  test_applying.py has what a stand-in tells as well, block by block.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

NAMESPACE = "foreign"
# So deep that stock writes its text in a moment, and so deep that stock's text would have no end.
SHALLOW, DEEP = 3, 18
BOOM = "boom in lowering"


class Compiles:
    """Compiles chains of ops in this process, each with ops of its own, and keeps what was seen.

    Attributes:
        source: The source of Inductor's own ``call_function``.
        seen_by_theirs: The targets that a wrapper of theirs was called with.
    """

    def __init__(self) -> None:
        import torch
        from torch._inductor import graph, lowering

        sys.path.insert(0, str(Path(__file__).parent.parent / "lowering_hooks" / "cli" / "worker"))
        from demo_compiling import capture_code

        self.seen_by_theirs: list[str] = []
        self.source = inspect.getsource(graph.GraphLowering.call_function)
        self._library = torch.library.Library(NAMESPACE, "DEF")
        self._count = 0
        self._code: list[str] = []
        self._strides: list[Any] = []
        self._branches: list[Any] = []
        self._constraints = getattr(lowering, "_maybe_layout_constraints", None)
        if self._constraints is None:  # PyTorch 2.5 renamed it
            self._constraints = lowering.layout_constraints
        capture_code(self._code)
        make_fallback, branches = graph.make_fallback, self._branches

        def recording(op, *args, **kwargs):
            branches.append((str(op), "layout_constraint" in kwargs, "override_decomp" in kwargs))
            return make_fallback(op, *args, **kwargs)

        graph.make_fallback = recording

    def outcome(self) -> tuple[str, str]:
        """Compile a shallow chain, and one whose last lowering fails, and return what came of each."""
        return self.compile(SHALLOW), self.compile(SHALLOW, fails=True)

    def are_as(self, other: tuple[str, str], *, failing: str = "") -> None:
        """Compile the shallow chains again, and assert that the same comes of them.

        Args:
            other: What came of them before.
            failing: What the error of the failing one says where it is another than before.
        """
        for before, found in zip(other, self.outcome(), strict=True):
            if failing and before is other[1]:
                assert failing in found, found
            elif found != before:
                pytest.fail("\n".join(difflib.unified_diff(before.split("\n"), found.split("\n"), n=0)))

    def deep(self, *, failing: str = BOOM) -> None:
        """Compile chains for which the text of stock has no end."""
        assert "equal: True" in self.compile(DEEP)
        found = self.compile(DEEP, fails=True)
        assert failing in found, found[:3000]

    def compile(self, layers: int, *, fails: bool = False) -> str:
        """Compile a chain of that many layers, and return what came of it; the ops are without their numbers."""
        norm, late = self._ops()
        if fails:
            from torch._inductor.lowering import register_lowering

            def lower(*args):
                raise RuntimeError(BOOM)

            register_lowering(late, type_promotion_kind=None)(lower)

        def model(x):
            residual = x
            for _ in range(layers):
                x, residual = norm(x, residual)
            return late(x.t()), residual

        return re.sub(rf"(norm|late){self._count:03}n", r"\1", self.came_of(model))

    def came_of(self, model) -> str:
        """Compile a model, and return whether it is equal to eager, its error, and all that Inductor made of it."""
        import torch
        import torch._dynamo

        for seen in (self._code, self._strides, self._branches):
            seen.clear()
        before = dict(self._constraints)
        x, error, equal = torch.arange(12.0).reshape(3, 4), "", None
        torch._dynamo.reset()
        try:
            results = torch.compile(model, fullgraph=True)(x)
        except Exception as raised:
            error = f"{type(raised.__cause__ or raised).__name__}: {raised}"
            if torch.__version__.startswith("2.0."):
                # It keeps the origin nodes of a failed compile for all that follow.
                sys.modules["torch._inductor.ir"].IRNode._current_origins = set()
        # Up to 2.6 origins are sets, which have no order.
        error = re.sub(r"origins={.*?}", "", error)
        strides = list(self._strides)
        if not error:
            equal = all(map(torch.equal, results, model(x)))
        constraints = {
            str(op): getattr(getattr(kept, "func", kept), "__name__", str(kept))
            for op, kept in self._constraints.items()
            if before.get(op) is not kept
        }
        text = "\n".join(
            map(str, (f"equal: {equal}", error, *self._code, strides, self._branches, constraints))
        )
        # PyTorch counts its compiles in the code.
        return re.sub("# AOT ID: .*", "", text)

    @contextlib.contextmanager
    def forgetting_constraints(self):
        """Have Inductor record those of a compile again with the next one: PyTorch 2.6 has one for each fallback."""
        before = dict(self._constraints)
        try:
            yield
        finally:
            self._constraints.clear()
            self._constraints.update(before)

    def _ops(self) -> tuple[Any, Any]:
        import torch

        self._count += 1

        def norm(x, residual):
            self._strides.append(x.stride())
            return x + residual, residual + 1

        def late(x):
            self._strides.append(x.stride())
            return x.contiguous() * 2

        fakes = {
            "norm": lambda x, r: (torch.empty_like(x), torch.empty_like(r)),
            "late": lambda x: x.new_empty(x.shape),
        }
        schemas = {"norm": "(Tensor x, Tensor r) -> (Tensor, Tensor)", "late": "(Tensor x) -> Tensor"}
        found = []
        for kind, kernel in (("norm", norm), ("late", late)):
            name = f"{kind}{self._count:03}n"
            self._library.define(f"{name}{schemas[kind]}")
            self._library.impl(name, kernel, "CPU")
            self._library.impl(name, fakes[kind], "Meta")
            found.append(getattr(getattr(torch.ops, NAMESPACE), name).default)
        return found[0], found[1]


# --- theirs ------------------------------------------------------------------------------------------------------


def bounded(target, args, kwargs) -> str:
    return f"theirs: {target}"


@contextlib.contextmanager
def a_static_text(compiles):
    """As torch_npu assigns it, for good."""
    from torch._inductor.exc import OperatorIssue

    before = vars(OperatorIssue)["operator_str"]
    OperatorIssue.operator_str = staticmethod(bounded)
    try:
        yield
    finally:
        OperatorIssue.operator_str = before


@contextlib.contextmanager
def a_text_for_a_block(compiles):
    """It reads the function off the class, and puts it back without the static method."""
    from torch._inductor.exc import OperatorIssue

    before = OperatorIssue.operator_str
    OperatorIssue.operator_str = bounded
    try:
        yield
    finally:
        OperatorIssue.operator_str = before


@contextlib.contextmanager
def a_copy_without_the_log(compiles):
    """As torchtitan-npu assigns it, for good: Inductor's own source, but for the line that logs."""
    from torch._inductor import graph

    (function,) = ast.parse(textwrap.dedent(compiles.source)).body

    class WithoutLog(ast.NodeTransformer):
        def visit_Expr(self, node):
            call = node.value
            is_log = isinstance(call, ast.Call) and ast.unparse(call.func) == "log.info"
            return ast.copy_location(ast.Pass(), node) if is_log else node

    makes = ast.parse("def make(__class__):\n    return call_function")
    makes.body[0].body.insert(0, WithoutLog().visit(function))  # type: ignore[attr-defined]
    scope = {**vars(graph), "__name__": "their_plugin"}
    exec(compile(ast.fix_missing_locations(makes), "their_plugin.py", "exec"), scope)
    stood = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = scope["make"](graph.GraphLowering)
    try:
        yield
    finally:
        graph.GraphLowering.call_function = stood


@contextlib.contextmanager
def a_wrapper_for_a_block(compiles):
    """As torch-spyre puts it there, anew for each compile."""
    from torch._inductor.graph import GraphLowering

    old_call_function = GraphLowering.call_function

    def patched(self, target, args, kwargs):
        compiles.seen_by_theirs.append(str(target))
        return old_call_function(self, target, args, kwargs)

    GraphLowering.call_function = patched
    try:
        yield
    finally:
        GraphLowering.call_function = old_call_function


@contextlib.contextmanager
def listed(compiles):
    """As torch_mlu lists its ops, for good."""
    from torch._inductor import lowering

    names = [f"{NAMESPACE}::{name}{number:03}n" for number in range(100) for name in ("norm", "late")]
    for name in names:
        lowering.FALLBACK_ALLOW_LIST.add(name)
    try:
        yield
    finally:
        for name in names:
            lowering.FALLBACK_ALLOW_LIST.discard(name)


@contextlib.contextmanager
def another_list_for_a_block(compiles):
    """A set of their own, in both modules."""
    from torch._inductor import graph, lowering

    before = lowering.FALLBACK_ALLOW_LIST
    theirs = {*before, *(f"{NAMESPACE}::late{number:03}n" for number in range(100))}
    lowering.FALLBACK_ALLOW_LIST = graph.FALLBACK_ALLOW_LIST = theirs
    try:
        yield
    finally:
        lowering.FALLBACK_ALLOW_LIST = graph.FALLBACK_ALLOW_LIST = before


@contextlib.contextmanager
def texts_of_nodes_for_a_block(compiles):
    """Short texts of IR, as a debugging tool may want them."""
    from torch._inductor import ir

    kinds = [ir.IRNode, *all_derived(ir.IRNode)]
    before = [(kind, name, getattr(kind, name)) for kind in kinds for name in ("__str__", "__repr__")]
    for kind, name, _ in before:
        setattr(kind, name, lambda node: f"theirs: {type(node).__name__}")
    try:
        yield
    finally:
        for kind, name, text in before:
            setattr(kind, name, text)


def all_derived(kind):
    return [each for direct in type.__subclasses__(kind) for each in (direct, *all_derived(direct))]


THEIRS = {
    theirs.__name__: theirs
    for theirs in (
        a_static_text,
        a_text_for_a_block,
        a_copy_without_the_log,
        a_wrapper_for_a_block,
        listed,
        another_list_for_a_block,
        texts_of_nodes_for_a_block,
    )
}


def places():
    """Yield each place of ours: its owner and its name."""
    from torch._inductor import exc, graph, ir, lowering

    yield graph.GraphLowering, "call_function"
    yield exc.OperatorIssue, "operator_str"
    yield graph, "FALLBACK_ALLOW_LIST"
    yield lowering, "FALLBACK_ALLOW_LIST"
    for kind in (ir.IRNode, *all_derived(ir.IRNode)):
        yield kind, "__str__"
        yield kind, "__repr__"


def standing() -> dict[Any, Any]:
    """Return what stands in each place of ours."""
    return {(owner, name): vars(owner).get(name) for owner, name in places()}


def put_back(stood: dict[Any, Any]) -> None:
    """Put back what stood there, but what a class inherited."""
    for (owner, name), was in stood.items():
        if was is None and name in vars(owner):
            delattr(owner, name)
        elif was is not None and vars(owner)[name] is not was:
            setattr(owner, name, was)


def assert_standing(stood: dict[Any, Any]) -> None:
    """Assert that there stands what stood there."""
    now = standing()
    different = [place for place in stood if now[place] is not stood[place]]
    # What a class inherited, a block of theirs has put into the class itself.
    inherited = [(owner, name) for owner, name in different if stood[owner, name] is None]
    assert all(
        now[owner, name] in (was[name] for was in map(vars, owner.__mro__[1:]) if name in was)
        for owner, name in inherited
    )
    assert set(different) == set(inherited)


def texts_stand() -> None:
    """Assert that the text can be asked for by the class and by an error, as in stock."""
    from torch._inductor.exc import LoweringException, OperatorIssue

    assert "target: op" in OperatorIssue.operator_str("op", (), {})
    assert "target: op" in str(LoweringException(ValueError("why"), "op", [], {}))


# By what theirs do, the state while theirs stand over ours, with either strategy, and whether a conflict is told.
OVER_OURS = {
    "a_static_text": ("displaced", "displaced", False),
    "a_text_for_a_block": ("displaced", "displaced", False),
    "a_copy_without_the_log": ("displaced", "active", False),
    "a_wrapper_for_a_block": ("active", "active", True),
    "listed": ("active", "active", False),
    "another_list_for_a_block": ("active", "displaced", False),
    "texts_of_nodes_for_a_block": ("active", "active", True),
}
STRATEGIES = ("call_function", "set_proxy")

fresh = pytest.mark.fresh_process(beside_inductor=True, deadline=300)
either = pytest.mark.parametrize("strategy", STRATEGIES)
# With set_proxy only what is about the allow list, and one that is not.
BOTH = ("a_text_for_a_block", "listed", "another_list_for_a_block")
each = pytest.mark.parametrize(
    ("name", "strategy"),
    [(name, "call_function") for name in THEIRS] + [(name, "set_proxy") for name in BOTH],
)


def assert_active(strategy: str, status: Any) -> None:
    assert (status.state, status.strategy, status.conflicts) == ("active", strategy, ())


@fresh
@each
def test_after_us(name, strategy) -> None:
    """Theirs come where ours stand, and go again; the status tells both, and then ours stand as before."""
    compiles, theirs = Compiles(), THEIRS[name]
    stock, stood = compiles.outcome(), standing()
    with theirs(compiles):
        alone = compiles.outcome()
    put_back(stood)
    import lowering_hooks

    assert_active(strategy, lowering_hooks.apply(strategy))
    state = OVER_OURS[name][STRATEGIES.index(strategy)]
    is_told = OVER_OURS[name][2] and (strategy == "call_function" or "nodes" in name)
    with theirs(compiles):
        status = lowering_hooks.status()
        assert (status.state, bool(status.conflicts)) == (state, is_told), status
        compiles.are_as(alone)
        with theirs(compiles):
            compiles.are_as(alone)
            compiles.deep(failing=BOOM if BOOM in alone[1] else "TypeError")
    assert_active(strategy, lowering_hooks.status())
    compiles.are_as(stock)
    compiles.deep()
    texts_stand()
    # In the middle of theirs, apply() hooks theirs; their end puts back what was ours before.
    with theirs(compiles):
        assert lowering_hooks.apply(strategy).state == "active"
        compiles.are_as(alone, failing=BOOM if BOOM not in alone[1] else "")
    compiles.are_as(stock)
    texts_stand()
    assert_active(strategy, lowering_hooks.apply(strategy))
    compiles.are_as(stock)
    compiles.deep()
    lowering_hooks.remove()
    assert_standing(stood)


@fresh
@each
def test_before_us(name, strategy) -> None:
    """Ours come where theirs stand; theirs go, and put back over ours what was there before them."""
    compiles, theirs = Compiles(), THEIRS[name]
    stock = compiles.outcome()
    with theirs(compiles):
        alone = compiles.outcome()
        import lowering_hooks

        assert_active(strategy, lowering_hooks.apply(strategy))
        # An error asks their function for the text by `self`, which is one argument too many in stock.
        is_mended = BOOM not in alone[1]
        compiles.are_as(alone, failing=BOOM if is_mended else "")
    status = lowering_hooks.status()
    is_put_over = (name, strategy) == ("a_wrapper_for_a_block", "call_function")
    assert status.state == ("displaced" if is_put_over else OVER_OURS[name][STRATEGIES.index(strategy)])
    assert bool(status.conflicts) == ("nodes" in name)
    compiles.are_as(stock, failing="TypeError" if is_mended else "")
    compiles.deep(failing="TypeError" if is_mended else BOOM)
    assert_active(strategy, lowering_hooks.apply(strategy))
    compiles.are_as(stock)
    compiles.deep()
    texts_stand()


@fresh
@each
def test_around_our_remove(name, strategy) -> None:
    """Ours go while theirs stand over them, and come back at the end of theirs: as if they were not there."""
    compiles, theirs = Compiles(), THEIRS[name]
    stock = compiles.outcome()
    import lowering_hooks

    lowering_hooks.apply(strategy)
    with theirs(compiles):
        alone = compiles.outcome()
        assert lowering_hooks.remove().state == "removed"
        lowering_hooks.reset_report()
        compiles.are_as(alone)
    assert lowering_hooks.status().state == "removed"
    compiles.are_as(stock)
    texts_stand()
    assert lowering_hooks.report().ops == ()
    again: Any
    for again in (*STRATEGIES, strategy):
        assert_active(again, lowering_hooks.apply(again))
    compiles.are_as(stock)
    compiles.deep()
    lowering_hooks.remove()
    assert not any("lowering_hooks" in repr(found) for found in standing().values())


@contextlib.contextmanager
def nothing_is_lowered():
    """As plugins of torch_npu do that bring lowerings of their own: every op of PyTorch is a fallback then."""
    from torch._inductor import decomposition, lowering

    tables = (lowering.lowerings, decomposition.decompositions)
    before = [dict(table) for table in tables]
    for table in tables:
        table.clear()
    try:
        yield
    finally:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)


@pytest.mark.fresh_process(beside_inductor=True, deadline=300)
@either
def test_no_lowerings(strategy) -> None:
    """PyTorch's own ops fall back: each costs stock a text of all before it, which doubles from layer to layer."""
    import torch

    compiles = Compiles()

    def outcome(layers):
        def model(x):
            for _ in range(layers):
                x = torch.sin(x) + x
            return (x,)

        with nothing_is_lowered(), compiles.forgetting_constraints():
            return compiles.came_of(model)

    stock = outcome(6)
    assert "equal: True" in stock
    assert "sin.default" in stock
    import lowering_hooks

    for namespaces in ((), ("aten",), ("*",)):
        lowering_hooks.allow(*namespaces)
        assert_active(strategy, lowering_hooks.apply(strategy))
        assert outcome(6) == stock
        assert "equal: True" in outcome(60)
        report = lowering_hooks.report()
        assert {"aten.sin.default", "aten.add.Tensor"} <= {op.op for op in report.ops if op.fallbacks}
        assert ("aten" in report.not_allowed) == (namespaces == ())
    lowering_hooks.remove()
    assert outcome(6) == stock
