"""What a strategy needs of the installed Inductor, checked on the live modules.

A version number is a promise, which a vendor's patched build may not keep.  So these functions look at the
objects themselves, before lowering-hooks touches anything.  Each check asks for no more than PyTorch relies
on.
"""

from __future__ import annotations

import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, cast

# An object of PyTorch, or one that other code put in its place: nothing is known of it.
Foreign: TypeAlias = Any
# Returns what stood in a class before what stands there, where that is a wrapper of the caller's.
Peel: TypeAlias = Callable[[Foreign], Foreign]

# `wrapped_functions` follows at most this many functions, since a chain of wrappers may be endless.
_CHAIN_LIMIT: Final = 64
# `_call_function_problems` asks whether call_function takes this many arguments: self, target, args, kwargs.
_CALL_FUNCTION_ARGUMENTS: Final = 4
# `_operator_text_problems` asks whether operator_str takes this many arguments: target, args, kwargs.
_OPERATOR_STR_ARGUMENTS: Final = 3


def _as_it_stands(standing: Foreign) -> Foreign:
    return standing


def call_function_problems(
    graph: types.ModuleType, exc: types.ModuleType, peel: Peel = _as_it_stands
) -> tuple[str, ...]:
    """Say what keeps ``GraphLowering.call_function`` from being wrapped; empty where nothing does.

    ``GraphLowering.call_function(self, target, args, kwargs)`` describes the op by
    ``OperatorIssue.operator_str(target, args, kwargs)``.  Both must take as many arguments by position,
    whatever their names.

    Args:
        graph: ``torch._inductor.graph``.
        exc: ``torch._inductor.exc``.
        peel: Returns what stood in a class before what stands there, where that is a wrapper of the caller's.
    """
    return (*_call_function_problems(graph), *_operator_text_problems(exc, peel))


def operator_text_problems(exc: types.ModuleType, peel: Peel = _as_it_stands) -> tuple[str, ...]:
    """Say what keeps ``OperatorIssue.operator_str`` from being replaced; empty where nothing does.

    Args:
        exc: ``torch._inductor.exc``.
        peel: As for :func:`call_function_problems`.
    """
    return tuple(_operator_text_problems(exc, peel))


def function_in(standing: Foreign, owner: Foreign) -> Callable[..., Foreign] | None:
    """Return the function that a class calls without the instance; None where there is none.

    A static method has one.  So has what a class gives as it is, although Python would pass it the instance:
    a plain function, which a ``with`` block of other code reads off the class and puts back, a partial, or a
    function that is not of Python.

    Args:
        standing: What stands in the class.
        owner: The class.
    """
    kind = cast("type[object]", type(standing))
    if issubclass(kind, (classmethod, property)):
        return None
    try:
        # This is what call_function gets by reading it off the class, as it does each time.
        found = standing.__get__(None, owner) if hasattr(kind, "__get__") else standing
    except Exception:  # it may be an object of any kind
        return None
    # By its __class__: what wrapt.wrap_function_wrapper leaves is a proxy of the static method, and calls it.
    is_given_as_it_is = found is standing or isinstance(standing, staticmethod)
    return found if is_given_as_it_is and callable(found) else None


def ir_text_problems(ir: types.ModuleType | None) -> tuple[str, ...]:
    """Say what keeps the text of IR nodes from being bounded; empty where nothing does.

    The ``__str__`` and the ``__repr__`` of an IR class may be anything.

    Args:
        ir: ``torch._inductor.ir``; None where it is not loaded.
    """
    # PyTorch 2.0-2.15: all IR classes derive from IRNode; if missing: the text of IR nodes is not bounded.
    if isinstance(getattr(ir, "IRNode", None), type):
        return ()
    return ("torch._inductor.ir defines no class IRNode",)


def set_proxy_problems(graph: types.ModuleType, lowering: types.ModuleType) -> tuple[str, ...]:
    """Say what keeps ``FALLBACK_ALLOW_LIST`` from being replaced; empty where nothing does.

    Args:
        graph: ``torch._inductor.graph``.
        lowering: ``torch._inductor.lowering``.
    """
    return tuple(_set_proxy_problems(graph, lowering))


def lowering_class_of(graph: types.ModuleType) -> Foreign:
    """Return the class of ``graph`` that lowers a graph; None where there is none.  Never raises.

    That is ``GraphLowering``.  Where other code has put a class derived from it in its place, the result is
    the class that ``graph`` itself defined, because modules that imported it before go on with that.
    """
    try:
        found: Foreign = vars(graph).get("GraphLowering")
        own = (kind for kind in type.mro(found) if kind.__module__ == getattr(graph, "__name__", None))
        return next(own, found)
    except Exception:  # the module, the class and its bases may be objects of any kind
        return None


def passes_over(found: Foreign, own: Foreign) -> Callable[..., object] | None:
    """Return the ``call_function`` of a class derived from ``own`` that does not call the one of ``own``.

    None where there is none, or where it cannot be seen what it calls.  Never raises.

    Args:
        found: What ``torch._inductor.graph`` has as ``GraphLowering``.
        own: The class that it defined itself: see :func:`lowering_class_of`.
    """
    try:
        derived = itertools.takewhile(lambda kind: kind is not own, type.mro(found))
        standing = next(vars(kind)["call_function"] for kind in derived if "call_function" in vars(kind))
        codes = [function.__code__ for function in wrapped_functions(standing) if _is_function(function)]
    except Exception:  # nothing is derived, or the class and its bases are objects of any kind
        return None
    # By its name, as in `super().call_function(...)`.
    calls_it = any("call_function" in _names_used(code) for code in codes)
    return None if calls_it or not codes else cast("Callable[..., object]", standing)


def wraps(outer: Foreign, inner: Callable[..., object]) -> bool:
    """Whether ``outer`` is ``inner``, or visibly calls it: see :func:`wrapped_functions`."""
    return wraps_one(outer, lambda function: function is inner)


def wraps_one(outer: Foreign, is_inner: Callable[[Foreign], bool]) -> bool:
    """Whether ``is_inner`` says yes to ``outer`` or to a function that it visibly calls."""
    return any(
        is_inner(function) or any(is_inner(used) for used in _used_by(function))
        for function in wrapped_functions(outer)
    )


def wrapped_functions(function: Foreign) -> Iterator[Callable[..., object]]:
    """Yield ``function`` and the functions that it visibly wraps, outermost first, each once.  Never raises.

    A function is visibly wrapped where it is the ``__wrapped__`` of a function or the function of a
    ``functools.partial``.  So is a function with "call_function" in its name in a closure cell, a default or
    a module global that the wrapper uses.  That covers a decorator, and the usual
    ``_old = GraphLowering.call_function`` of code that assigns the method.  What an object that is no
    function does with its ``__wrapped__`` is not visible.
    """
    pending: list[Foreign] = [function]
    seen: set[int] = set()
    while pending and len(seen) < _CHAIN_LIMIT:
        current = pending.pop()
        if id(current) in seen or not callable(current):
            continue
        seen.add(id(current))
        yield current
        pending += filter(_is_a_call_function, _used_by(current))
        pending += _directly_wrapped(current)


def _is_a_call_function(value: object) -> bool:
    try:
        return isinstance(value, types.FunctionType) and "call_function" in value.__name__
    except Exception:  # it may be an object of any kind
        return False


def _directly_wrapped(function: Foreign) -> list[Foreign]:
    """Return the one function that ``function`` says it wraps; empty where it says nothing."""
    try:
        if _is_function(function):
            return [function.__wrapped__]
        if type(function) is functools.partial:
            return [function.func]
    except Exception:  # a function without __wrapped__, or an object of any kind
        return []
    return []


def _is_function(value: object) -> bool:
    """Whether ``value`` says that it is a function, which a proxy of wrapt around one does as well."""
    return isinstance(value, types.FunctionType)


def _used_by(function: Foreign) -> list[Foreign]:
    """Return what a function may call: its defaults, what it closes over, the globals that it names."""
    if type(function) is not types.FunctionType:
        return []
    used: list[Foreign] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            used.append(cell.cell_contents)
        except ValueError:  # a cell that is still empty
            continue
    used += [function.__globals__.get(name) for name in function.__code__.co_names]
    return used


def _names_used(code: types.CodeType) -> set[str]:
    """Return the names of globals and attributes that a function uses, in its inner functions as well."""
    names: set[str] = set()
    pending = [code]
    while pending:
        current = pending.pop()
        names.update(current.co_names)
        pending += [const for const in current.co_consts if isinstance(const, types.CodeType)]
    return names


def _call_function_problems(graph: types.ModuleType) -> Iterator[str]:
    # PyTorch 2.0-2.15: GraphLowering.call_function(self, target, args, kwargs) asks for operator_str; if
    # missing: "auto" falls back to set_proxy.
    lowering_class = lowering_class_of(graph)
    standing = getattr(lowering_class, "__dict__", {}).get("call_function")
    if not callable(getattr(lowering_class, "call_function", None)) or standing is None:
        yield "torch._inductor.graph.GraphLowering defines no call_function"
        return
    # torch/fx/interpreter.py, Interpreter.run_node, calls it on an instance, by position.
    count = _CALL_FUNCTION_ARGUMENTS if _binds(standing) else _CALL_FUNCTION_ARGUMENTS - 1
    yield from _call_problems("GraphLowering.call_function", lowering_class.call_function, count)
    if not _reaches_operator_str(standing, graph):
        yield "GraphLowering.call_function does not reach operator_str"


def _binds(standing: object) -> bool:
    """Whether Python passes the instance to what stands in its class as a method."""
    # Python 3.13 gives it a __get__ that only warns of 3.14, where it binds:
    # https://docs.python.org/3/whatsnew/3.14.html#functools
    if isinstance(standing, functools.partial):
        return sys.version_info >= (3, 14)
    return hasattr(type(standing), "__get__") and not isinstance(standing, (staticmethod, classmethod))


def _operator_text_problems(exc: types.ModuleType, peel: Peel) -> Iterator[str]:
    # PyTorch 2.0-2.15: OperatorIssue.operator_str(target, args, kwargs) is a static method, which the error
    # classes of a lowering inherit; if missing: "auto" falls back to set_proxy, without bounded texts of ops.
    issue = getattr(exc, "OperatorIssue", None)
    # A plain function serves as well, although the errors of a lowering ask for the text by `self`: they are
    # given a static method around it.
    function = function_in(peel(getattr(issue, "__dict__", {}).get("operator_str")), issue)
    if function is None:
        yield "torch._inductor.exc.OperatorIssue.operator_str is not a static method"
        return
    yield from _call_problems("OperatorIssue.operator_str", function, _OPERATOR_STR_ARGUMENTS)


def _reaches_operator_str(function: Foreign, graph: types.ModuleType) -> bool:
    """Whether ``function`` asks for the text somewhere, or is no function of Inductor's own."""
    codes = [getattr(found, "__code__", None) for found in wrapped_functions(function)]
    seen = [code for code in codes if isinstance(code, types.CodeType)]
    is_inductors_own = getattr(function, "__globals__", None) is vars(graph)
    return any("operator_str" in _names_used(code) for code in seen) or not is_inductors_own


@functools.cache
def inspect_module() -> types.ModuleType:
    """Return ``inspect``, which the first call imports.

    PyTorch has imported it by then, and a process without PyTorch is spared its import.  A later call imports
    nothing, so it may come under a lock.
    """
    import inspect

    return inspect


def _call_problems(label: str, function: Callable[..., object], count: int) -> Iterator[str]:
    """Say why ``function`` cannot be called with ``count`` positional arguments, as PyTorch calls it."""
    try:
        found = inspect_module().signature(function)
    except Exception:  # a builtin function may have none, and the call may work all the same
        return
    try:
        found.bind(*[None] * count)
    except TypeError:
        yield f"{label} takes {found}, so it cannot be called with {count} positional arguments"


def _set_proxy_problems(graph: types.ModuleType, lowering: types.ModuleType) -> Iterator[str]:
    # PyTorch 2.0-2.15: `lowering` makes the set and `graph` imports it by name, so that both names are one
    # object, a `set` up to 2.6 and an `OrderedSet` since; if missing: set_proxy cannot be installed.
    missing = object()
    in_lowering: object = getattr(lowering, "FALLBACK_ALLOW_LIST", missing)
    in_graph: object = getattr(graph, "FALLBACK_ALLOW_LIST", missing)
    if in_lowering is missing or in_graph is missing:
        yield "torch._inductor.lowering or .graph has no FALLBACK_ALLOW_LIST"
    elif in_lowering is not in_graph:
        yield "torch._inductor.lowering and .graph hold different FALLBACK_ALLOW_LIST objects"
    elif not hasattr(type(in_lowering), "__contains__"):
        yield f"FALLBACK_ALLOW_LIST is a {type(in_lowering).__name__}, not a set"
