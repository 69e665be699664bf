"""What a strategy needs of the installed Inductor, checked on the live modules.

A version number is a promise; a vendor's patched build may not keep it.  So before anything is touched,
the objects themselves are looked at.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

# How many functions a chain of wrappers may have before it is taken for one that does not end.
_CHAIN_LIMIT = 64


def call_function_problems(
    graph: types.ModuleType, exc: types.ModuleType, peel: Callable[[Any], Any] = lambda standing: standing
) -> tuple[str, ...]:
    """Say what keeps ``GraphLowering.call_function`` from being wrapped; empty where nothing does.

    Seen in 2.0.0 to 2.15.0: ``torch._inductor.graph.GraphLowering.call_function(self, target, args,
    kwargs)`` describes the op by ``OperatorIssue.operator_str(target, args, kwargs)``, a static method in
    ``torch._inductor.exc`` that the three error classes of a lowering inherit.  No more is asked for than
    PyTorch relies on: that both can be called with as many arguments by position, whatever their names.

    Args:
        graph: ``torch._inductor.graph``.
        exc: ``torch._inductor.exc``.
        peel: Returns what stood in a class before what stands there, where that is a wrapper of the caller's.
    """
    return tuple(_call_function_problems(graph, exc, peel))


def operator_text_problems(
    exc: types.ModuleType, peel: Callable[[Any], Any] = lambda standing: standing
) -> tuple[str, ...]:
    """Say what keeps ``OperatorIssue.operator_str`` from being replaced; empty where nothing does.

    Seen in 2.0.0 to 2.15.0: a static method of ``torch._inductor.exc.OperatorIssue``, which the error classes
    of a lowering inherit, called as ``operator_str(target, args, kwargs)``.

    Args:
        exc: ``torch._inductor.exc``.
        peel: As for :func:`call_function_problems`.
    """
    return tuple(_operator_text_problems(exc, peel))


def ir_text_problems(ir: types.ModuleType | None) -> tuple[str, ...]:
    """Say what keeps the text of IR nodes from being bounded; empty where nothing does.

    Seen in 2.0.0 to 2.15.0: all IR classes derive from ``torch._inductor.ir.IRNode``.  What they have for
    ``__str__`` and ``__repr__`` may be anything.
    """
    if isinstance(getattr(ir, "IRNode", None), type):
        return ()
    return ("torch._inductor.ir defines no class IRNode",)


def set_proxy_problems(graph: types.ModuleType, lowering: types.ModuleType) -> tuple[str, ...]:
    """Say what keeps ``FALLBACK_ALLOW_LIST`` from being replaced; empty where nothing does.

    Seen in 2.0.0 to 2.15.0: ``torch._inductor.lowering`` makes the set and ``torch._inductor.graph`` imports
    it by name, so both bindings are one object; a plain ``set`` up to 2.6, an ``OrderedSet`` later.
    """
    return tuple(_set_proxy_problems(graph, lowering))


def lowering_class_of(graph: types.ModuleType) -> Any:
    """Return the class of ``graph`` that lowers a graph; None where there is none.

    That is ``GraphLowering``, or the class that ``graph`` itself defined where somebody has put a class
    derived from it in its place: modules that imported it before go on with the original.
    """
    try:
        found: Any = vars(graph).get("GraphLowering")
        own = (kind for kind in type.mro(found) if kind.__module__ == getattr(graph, "__name__", None))
        return next(own, found)
    except Exception:  # the module, the class and its bases may be anybody's objects
        return None


def wraps(outer: Any, inner: Callable[..., Any]) -> bool:
    """Whether ``outer`` is ``inner``, or visibly calls it: see :func:`wrapped_functions`."""
    return any(
        function is inner or any(held is inner for held in _held(function))
        for function in wrapped_functions(outer)
    )


def wrapped_functions(function: Any) -> Iterator[Callable[..., Any]]:
    """Yield ``function`` and the functions it visibly wraps, outermost first, each once.  Never raises.

    Visibly: through ``__wrapped__`` of a function, or ``functools.partial``, or as a function with
    "call_function" in its name in a closure cell, a default or a module global.  That covers a decorator, and
    the usual ``_old = GraphLowering.call_function`` of those who assign the method.  What an object that is
    no function does with its ``__wrapped__`` cannot be seen.
    """
    pending: list[Any] = [function]
    seen: set[int] = set()
    while pending and len(seen) < _CHAIN_LIMIT:
        current = pending.pop()
        if id(current) in seen or not callable(current):
            continue
        seen.add(id(current))
        yield current
        pending += filter(_is_a_call_function, _held(current))
        pending += _directly_wrapped(current)


def _is_a_call_function(held: Any) -> bool:
    try:
        return isinstance(held, types.FunctionType) and "call_function" in held.__name__
    except Exception:  # it may be anybody's object
        return False


def _directly_wrapped(function: Any) -> list[Any]:
    try:
        is_function = isinstance(function, types.FunctionType)  # a proxy of wrapt says so of itself
        if is_function:
            return [function.__wrapped__]
        if type(function) is functools.partial:
            return [function.func]
    except Exception:  # a function without __wrapped__, or anybody's object
        return []
    return []


def _held(function: Any) -> list[Any]:
    """Return what a function may call: its defaults, what it closes over, the globals that it names."""
    if type(function) is not types.FunctionType:
        return []
    held: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a cell that is still empty
            continue
    held += [function.__globals__.get(name) for name in function.__code__.co_names]
    return held


def _names_used(code: types.CodeType) -> set[str]:
    names: set[str] = set()
    pending = [code]
    while pending:
        current = pending.pop()
        names.update(current.co_names)
        pending += [const for const in current.co_consts if isinstance(const, types.CodeType)]
    return names


def _call_function_problems(
    graph: types.ModuleType, exc: types.ModuleType, peel: Callable[[Any], Any]
) -> Iterator[str]:
    lowering_class = lowering_class_of(graph)
    standing = getattr(lowering_class, "__dict__", {}).get("call_function")
    if not callable(getattr(lowering_class, "call_function", None)) or standing is None:
        yield "torch._inductor.graph.GraphLowering defines no call_function"
    else:
        # PyTorch calls it on an instance, by position: torch/fx/interpreter.py, Interpreter.run_node.
        binds = hasattr(type(standing), "__get__") and not isinstance(standing, (staticmethod, classmethod))
        yield from _call_problems(
            "GraphLowering.call_function", lowering_class.call_function, 4 if binds else 3
        )
        if not _reaches_operator_str(standing, graph):
            yield "GraphLowering.call_function does not reach operator_str"
    yield from _operator_text_problems(exc, peel)


def _operator_text_problems(exc: types.ModuleType, peel: Callable[[Any], Any]) -> Iterator[str]:
    issue = getattr(exc, "OperatorIssue", None)
    # The errors of a lowering ask for it by `self`, so a plain function would not do.
    static = peel(getattr(issue, "__dict__", {}).get("operator_str"))
    if not isinstance(static, staticmethod):
        yield "torch._inductor.exc.OperatorIssue.operator_str is not a static method"
        return
    yield from _call_problems("OperatorIssue.operator_str", static.__func__, 3)


def _reaches_operator_str(function: Any, graph: types.ModuleType) -> bool:
    """Whether ``function`` asks for the text somewhere, or is no function of Inductor's own."""
    codes = [getattr(found, "__code__", None) for found in wrapped_functions(function)]
    seen = [code for code in codes if isinstance(code, types.CodeType)]
    is_inductors_own = getattr(function, "__globals__", None) is vars(graph)
    return any("operator_str" in _names_used(code) for code in seen) or not is_inductors_own


@functools.cache
def inspect_module() -> types.ModuleType:
    """Import ``inspect`` at the first call, and nothing at any later one, which may come under a lock.

    PyTorch has imported it by then, and a process without PyTorch is spared it.
    """
    import inspect

    return inspect


def _call_problems(label: str, function: Callable[..., Any], count: int) -> Iterator[str]:
    """Say why ``function`` cannot be called with ``count`` positional arguments, as PyTorch calls it."""
    try:
        found = inspect_module().signature(function)
    except Exception:  # a built-in function may have none; whether the call works is not for us to say
        return
    try:
        found.bind(*[None] * count)
    except TypeError:
        yield f"{label} takes {found}, so it cannot be called with {count} positional arguments"


def _set_proxy_problems(graph: types.ModuleType, lowering: types.ModuleType) -> Iterator[str]:
    missing = object()
    in_lowering = getattr(lowering, "FALLBACK_ALLOW_LIST", missing)
    in_graph = getattr(graph, "FALLBACK_ALLOW_LIST", missing)
    if in_lowering is missing or in_graph is missing:
        yield "torch._inductor.lowering or .graph has no FALLBACK_ALLOW_LIST"
    elif in_lowering is not in_graph:
        yield "torch._inductor.lowering and .graph hold different FALLBACK_ALLOW_LIST objects"
    elif not hasattr(type(in_lowering), "__contains__"):
        yield f"FALLBACK_ALLOW_LIST is a {type(in_lowering).__name__}, not a set"
