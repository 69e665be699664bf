"""The contract of the installed Inductor, and what a broken one is said to lack."""

from __future__ import annotations

import functools
import sys
import types

import pytest
import torch._inductor.graph

from lowering_hooks import compat


def test_the_installed_inductor() -> None:
    """It keeps both contracts."""
    graph, lowering, exc = (getattr(torch._inductor, name) for name in ("graph", "lowering", "exc"))
    assert compat.call_function_problems(graph, exc) == ()
    assert compat.set_proxy_problems(graph, lowering) == ()
    assert compat.operator_text_problems(exc) == ()
    assert compat.ir_text_problems(torch._inductor.ir) == ()


def test_the_stand_in_keeps_both_contracts(stand) -> None:
    """It is broken piece by piece below."""
    assert compat.call_function_problems(stand.graph, stand.exc) == ()
    assert compat.set_proxy_problems(stand.graph, stand.lowering) == ()


def drop_class(graph, exc):
    del graph.GraphLowering


def drop_method(graph, exc):
    del graph.GraphLowering.call_function


def other_parameters(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, node: original(self, node, (), {})


def not_described(graph, exc):
    scope = vars(graph)  # as Inductor's own function would be: that of others is their business
    exec("def call_function(self, target, args, kwargs): return None", scope)
    graph.GraphLowering.call_function = scope["call_function"]


def not_a_function(graph, exc):
    graph.GraphLowering.call_function = 3


def drop_issue(graph, exc):
    del exc.OperatorIssue


class Hidden:
    """Gives no function to who reads it off a class, or raises."""

    def __init__(self, error):
        self.error = error

    def __get__(self, instance, owner):
        if self.error:
            raise self.error
        return "no function"


def hidden_text(graph, exc):
    exc.OperatorIssue.operator_str = Hidden(None)


def text_that_cannot_be_read(graph, exc):
    exc.OperatorIssue.operator_str = Hidden(RuntimeError("not here"))


def not_static(graph, exc):
    exc.OperatorIssue.operator_str = classmethod(lambda cls, target, args, kwargs: "")


def text_made_anew(graph, exc):
    """Each time that it is read off the class another function, which nobody can tell from the last one."""
    exc.OperatorIssue.operator_str = functools.partialmethod(exc.OperatorIssue.operator_str)


def other_text_parameters(graph, exc):
    exc.OperatorIssue.operator_str = staticmethod(lambda target, args: "")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (drop_class, "defines no call_function"),
        (drop_method, "defines no call_function"),
        (not_a_function, "defines no call_function"),
        (other_parameters, "takes (self, node), so it cannot be called with 4 positional arguments"),
        (not_described, "does not reach operator_str"),
        (drop_issue, "not a static method"),
        (not_static, "not a static method"),
        (hidden_text, "not a static method"),
        (text_that_cannot_be_read, "not a static method"),
        (text_made_anew, "not a static method"),
        (other_text_parameters, "takes (target, args), so it cannot be called with 3 positional arguments"),
    ],
)
def test_a_broken_call_function_contract(stand, break_it, says: str) -> None:
    """It is named."""
    break_it(stand.graph, stand.exc)
    problems = compat.call_function_problems(stand.graph, stand.exc)
    assert any(says in problem for problem in problems)
    # The text alone is what set_proxy asks for.
    is_of_the_text = "static" in says or "3 positional" in says
    assert compat.operator_text_problems(stand.exc) == (problems if is_of_the_text else ())


@pytest.mark.parametrize("ir", [None, types.ModuleType("ir"), types.SimpleNamespace(IRNode="no class")])
def test_a_broken_contract_of_the_ir(ir) -> None:
    """It is named."""
    assert compat.ir_text_problems(ir) == ("torch._inductor.ir defines no class IRNode",)


def test_an_inherited_call_function(stand) -> None:
    """It cannot be put back into a class that has none of its own."""
    base = stand.graph.GraphLowering
    stand.graph.GraphLowering = type("GraphLowering", (base,), {"__module__": stand.graph.__name__})
    problems = compat.call_function_problems(stand.graph, stand.exc)
    assert problems == ("torch._inductor.graph.GraphLowering defines no call_function",)


def renamed(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, t, a, k: original(self, t, a, k)


def one_more_parameter(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda self, target, args, kwargs, *, stream=None: original(
        self, target, args, kwargs
    )


def passes_everything_on(graph, exc):
    original = graph.GraphLowering.call_function
    graph.GraphLowering.call_function = lambda *args, **kwargs: original(*args, **kwargs)


def asks_in_an_inner_function(graph, exc):
    """As Inductor does where it builds the text lazily; a function of Inductor's own."""
    exec(
        "def call_function(self, target, args, kwargs):\n"
        "    return (lambda: OperatorIssue.operator_str(target, args, kwargs))()",
        vars(graph),
    )
    graph.GraphLowering.call_function = graph.call_function


def copied_without_the_log(graph, exc):
    """As a plugin for another device does: a function of its own, which never calls the original."""
    graph.GraphLowering.call_function = lambda self, target, args, kwargs: target


def in_a_static_method(graph, exc):
    graph.GraphLowering.call_function = staticmethod(lambda target, args, kwargs: target)


def without_a_signature(graph, exc):
    class Builtin:
        __signature__ = "none that can be read"

        def __get__(self, instance, owner):
            return self

        def __call__(self, target, args, kwargs):
            return target

    graph.GraphLowering.call_function = Builtin()


def in_an_object(graph, exc):
    """Python passes the instance to nothing that has no ``__get__``."""

    class Theirs:
        def __call__(self, target, args, kwargs):
            return target

    graph.GraphLowering.call_function = Theirs()


def in_a_derived_class(graph, exc):
    graph.GraphLowering = type("Theirs", (graph.GraphLowering,), {})


def own_text(graph, exc):
    exc.LoweringException.operator_str = staticmethod(lambda target, args, kwargs: "")


def longer_text(graph, exc):
    exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs, style=None: "")


def plain_text(graph, exc):
    """As a ``with`` block puts it back that read it off the class."""
    exc.OperatorIssue.operator_str = exc.OperatorIssue.operator_str


def text_of_an_object(graph, exc):
    exc.OperatorIssue.operator_str = functools.partial(exc.OperatorIssue.operator_str)


def text_of_another_language(graph, exc):
    """It would be bound to an instance, and is read off its class as it is: so Cython makes functions."""
    exc.OperatorIssue.operator_str = functools.lru_cache(lambda target, args, kwargs: "")


def in_a_partial(graph, exc):
    if sys.version_info >= (3, 14):
        partial = functools.partial(lambda self, target, args, kwargs: target)
    else:
        partial = functools.partial(lambda target, args, kwargs: target)
    graph.GraphLowering.call_function = partial


def text_of_a_method(graph, exc):
    class Theirs:
        def text(self, target, args, kwargs):
            return ""

    exc.OperatorIssue.operator_str = Theirs().text


def text_in_wrapt(graph, exc):
    wrapt = pytest.importorskip("wrapt")
    wrapt.wrap_function_wrapper(
        exc, "OperatorIssue.operator_str", lambda wrapped, _, args, kwargs: wrapped(*args)
    )


@pytest.mark.parametrize(
    "patch",
    [
        plain_text,
        text_of_an_object,
        text_of_another_language,
        in_a_partial,
        text_of_a_method,
        text_in_wrapt,
        renamed,
        one_more_parameter,
        passes_everything_on,
        asks_in_an_inner_function,
        copied_without_the_log,
        in_a_static_method,
        without_a_signature,
        in_an_object,
        in_a_derived_class,
        own_text,
        longer_text,
    ],
)
def test_what_pytorch_could_call(stand, patch) -> None:
    """It keeps the contract: no more is asked for than PyTorch relies on."""
    patch(stand.graph, stand.exc)
    assert compat.call_function_problems(stand.graph, stand.exc) == ()


@pytest.mark.parametrize(
    ("version", "count"), [((3, 12, 9), 3), ((3, 13, 0), 3), ((3, 14, 0), 4), ((3, 15, 0), 4)]
)
def test_a_partial_on_other_pythons(stand, monkeypatch, version, count) -> None:
    """Python 3.14 and later pass it the instance."""
    monkeypatch.setattr(compat.contract.sys, "version_info", version)
    for taken, function in ((3, lambda a, b, c: None), (4, lambda a, b, c, d: None)):
        stand.graph.GraphLowering.call_function = functools.partial(function)
        problems = compat.call_function_problems(stand.graph, stand.exc)
        assert (problems == ()) is (taken == count)
        assert all(f"cannot be called with {count} positional" in problem for problem in problems)


def test_who_passes_over_a_method(stand) -> None:
    """A derived class does whose own method can be seen to call another one."""
    own = stand.graph.GraphLowering
    calls = type(
        "Calls", (own,), {"call_function": lambda self, *args: super(own, self).call_function(*args)}
    )
    without = type("Without", (own,), {"call_function": lambda self, target, args, kwargs: target})
    unseen = type("Unseen", (own,), {"call_function": print})
    assert compat.passes_over(without, own) is vars(without)["call_function"]
    for kind in (own, type("Bare", (own,), {}), calls, unseen, None, 3):
        assert compat.passes_over(kind, own) is None


def test_a_broken_allow_list(stand) -> None:
    """It is named."""
    graph, lowering = stand.graph, stand.lowering
    graph.FALLBACK_ALLOW_LIST = set(graph.FALLBACK_ALLOW_LIST)
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "different" in problem
    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = 7
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "is a int" in problem
    del graph.FALLBACK_ALLOW_LIST
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "has no FALLBACK_ALLOW_LIST" in problem
    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST
    del lowering.FALLBACK_ALLOW_LIST
    (problem,) = compat.set_proxy_problems(graph, lowering)
    assert "has no FALLBACK_ALLOW_LIST" in problem


def test_operator_str_behind_what_is_not_there_yet(stand) -> None:
    """It is found past a variable that is assigned later, and past an object that says nothing of itself."""
    silent = type("Silent", (), {"__class__": property(lambda self: 1 / 0)})()
    original = stand.graph.GraphLowering.call_function

    def call_function(self, target, args, kwargs, silent=silent):
        return later or original(self, target, args, kwargs)

    stand.graph.GraphLowering.call_function = call_function
    assert compat.call_function_problems(stand.graph, stand.exc) == ()
    assert compat.wraps(call_function, original)
    later = None
    assert compat.wraps(call_function, original)


def test_operator_str_behind_wrappers(stand) -> None:
    """It is found behind those of others, by a closure and by a module global."""
    graph, exc = stand.graph, stand.exc
    original = graph.GraphLowering.call_function

    def call_function(self, target, args, kwargs):  # by a closure
        return original(self, target, args, kwargs)

    graph.GraphLowering.call_function = call_function
    assert compat.call_function_problems(graph, exc) == ()

    module = types.ModuleType("plugin")  # by a module global, as the plugins do that assign the method
    vars(module)["_original"] = original
    exec(
        "def theirs(self, target, args, kwargs):\n    return _original(self, target, args, kwargs)",
        vars(module),
    )
    graph.GraphLowering.call_function = module.theirs
    assert compat.call_function_problems(graph, exc) == ()


# --- functions that wrap functions ---------------------------------------------------------------------------------


def call_function(self, target, args, kwargs):
    """The innermost one."""


def found(function):
    return list(compat.wrapped_functions(function))


def around(*inner, **more):
    """Make a function that has some functions in its closure."""

    def outer(*args):
        return inner, more

    return outer


def test_what_says_that_it_wraps_a_function() -> None:
    """That is a function with __wrapped__, and a partial; an object with __wrapped__ may do anything with it."""
    outer = functools.wraps(call_function)(lambda *args: None)
    partial = functools.partial(outer)
    assert found(partial) == [partial, outer, call_function]
    assert compat.wraps(partial, call_function)

    class Object:
        __wrapped__ = call_function
        func = call_function

        def __call__(self):
            """Whatever it does."""

    other = Object()
    assert found(other) == [other]
    assert not compat.wraps(other, call_function)


def test_what_a_wrapper_uses() -> None:
    """A call_function in a default or a closure cell is followed, another function is not."""

    def by_closure(*args):
        return call_function_in_a_cell

    def by_default(one=call_function, *, two=by_closure):
        """With "call_function" in the name of a default alone."""

    call_function_in_a_cell = by_default
    assert found(by_default) == [by_default, call_function]
    by_closure.__name__ = "their_call_function"
    assert found(by_default) == [by_default, by_closure, call_function]
    assert found(by_closure) == [by_closure]  # by_default has another name
    assert compat.wraps(by_closure, by_default)
    assert found(lambda: call_function)[1:] == [call_function]  # a global


def test_what_has_the_name_of_a_call_function() -> None:
    """It is not followed where it is no function."""
    call_function_class = type("call_function", (), {})
    outer = around(call_function_class)
    outer.__defaults__ = (call_function_class,)
    assert found(outer) == [outer]


def test_inspect_is_imported_once(monkeypatch) -> None:
    """Contracts are checked under a lock, where nothing may be imported."""
    inspect = compat.inspect_module()
    monkeypatch.setitem(sys.modules, "inspect", None)
    assert compat.inspect_module() is inspect


@pytest.mark.parametrize("nothing", [None, 3, "call_function"])
def test_what_is_no_function(nothing) -> None:
    """It is not followed, and what else is used is."""
    assert found(nothing) == []

    def outer(inner=call_function):
        """Use another function beside __wrapped__."""

    outer.__wrapped__ = nothing  # type: ignore[attr-defined]
    assert found(outer) == [outer, call_function]


def test_an_empty_cell() -> None:
    """It is passed over."""
    if call_function is None:
        before = None

    def outer(*args):
        return before, call_function_later, then  # their cells are in the order of names

    call_function_later = then = call_function
    assert found(outer) == [outer, call_function]


def test_functions_that_wrap_one_another() -> None:
    """Each is there once."""

    def call_function_again(*args):
        return call_function_again

    call_function_again.__wrapped__ = call_function_again  # type: ignore[attr-defined]
    assert found(call_function_again) == [call_function_again]


class Endless:
    """Says that it is a function, and has another one inside."""

    __class__ = types.FunctionType  # type: ignore[assignment]

    def __call__(self):
        """Whatever it does."""

    @property
    def __wrapped__(self):
        return Endless()


def test_an_endless_chain() -> None:
    """It is followed for a while."""
    assert len(found(Endless())) == 64
    assert not compat.wraps(Endless(), call_function)


def test_objects_that_raise() -> None:
    """They are passed over, whatever looking at them raises."""

    class Hostile:
        @property  # type: ignore[misc]
        def __class__(self):
            raise RuntimeError("not now")

        def __call__(self):
            """Whatever it does."""

    hostile = Hostile()
    assert found(hostile) == [hostile]

    def outer(one=hostile, two=call_function):
        """Use both."""

    assert found(outer) == [outer, call_function]
