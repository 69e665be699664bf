"""What a strategy needs of the installed Inductor, checked on the live modules.

A version number is a promise; a vendor's patched build may not keep it.  So before anything is touched,
the objects themselves are looked at.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

_CALL_FUNCTION_PARAMETERS = ("self", "target", "args", "kwargs")
_ERRORS = ("MissingOperatorWithDecomp", "MissingOperatorWithoutDecomp", "LoweringException")

# How many functions a chain of wrappers may have before it is taken for one that does not end.
_CHAIN_LIMIT = 64


def call_function_problems(graph: types.ModuleType, exc: types.ModuleType) -> tuple[str, ...]:
    """Say what keeps ``GraphLowering.call_function`` from being wrapped; empty where nothing does.

    Seen in 2.0.0 to 2.15.0: ``torch._inductor.graph.GraphLowering.call_function(self, target, args,
    kwargs)`` describes the op by ``OperatorIssue.operator_str(target, args, kwargs)``, a static method in
    ``torch._inductor.exc`` that the three error classes of a lowering inherit.
    """
    return tuple(_call_function_problems(graph, exc))


def set_proxy_problems(graph: types.ModuleType, lowering: types.ModuleType) -> tuple[str, ...]:
    """Say what keeps ``FALLBACK_ALLOW_LIST`` from being replaced; empty where nothing does.

    Seen in 2.0.0 to 2.15.0: ``torch._inductor.lowering`` makes the set and ``torch._inductor.graph`` imports
    it by name, so both bindings are one object; a plain ``set`` up to 2.6, an ``OrderedSet`` later.
    """
    return tuple(_set_proxy_problems(graph, lowering))


def wrapped_functions(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield ``function`` and the functions it visibly wraps, outermost first, each once.

    Visibly: through ``__wrapped__`` or ``functools.partial``, or as a function named ``call_function`` in a
    closure cell, a default or a module global.  That covers a decorator, and the usual
    ``_old = GraphLowering.call_function`` of those who assign the method.
    """
    pending: list[Any] = [function]
    seen: set[int] = set()
    while pending and len(seen) < _CHAIN_LIMIT:
        current = pending.pop()
        if id(current) in seen or not callable(current):
            continue
        seen.add(id(current))
        yield current
        pending += _held_functions(current)
        pending += [getattr(current, name) for name in ("__wrapped__", "func") if hasattr(current, name)]


def _held_functions(function: Any) -> list[Any]:
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    held: list[Any] = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a cell that is still empty
            continue
    held += [function.__globals__.get(name) for name in code.co_names]
    return [
        found for found in held if isinstance(found, types.FunctionType) and found.__name__ == "call_function"
    ]


def _names_used(code: types.CodeType) -> set[str]:
    names: set[str] = set()
    pending = [code]
    while pending:
        current = pending.pop()
        names.update(current.co_names)
        pending += [const for const in current.co_consts if isinstance(const, types.CodeType)]
    return names


def _call_function_problems(graph: types.ModuleType, exc: types.ModuleType) -> Iterator[str]:
    # inspect here and below: PyTorch has imported it by now, and a process without PyTorch is spared it.
    from inspect import getattr_static

    lowering_class = getattr(graph, "GraphLowering", None)
    call_function = getattr(lowering_class, "__dict__", {}).get("call_function")
    if not callable(call_function):
        yield "torch._inductor.graph.GraphLowering defines no call_function"
    else:
        yield from _signature_problems(
            "GraphLowering.call_function", call_function, _CALL_FUNCTION_PARAMETERS
        )
        if not any(
            "operator_str" in _names_used(code)
            for function in wrapped_functions(call_function)
            if isinstance(code := getattr(function, "__code__", None), types.CodeType)
        ):
            yield "GraphLowering.call_function does not reach operator_str"

    issue = getattr(exc, "OperatorIssue", None)
    static = getattr_static(issue, "operator_str", None)
    if not isinstance(static, staticmethod):
        yield "torch._inductor.exc.OperatorIssue.operator_str is not a static method"
        return
    yield from _signature_problems(
        "OperatorIssue.operator_str", static.__func__, ("target", "args", "kwargs")
    )
    for name in _ERRORS:
        error = getattr(exc, name, None)
        if getattr_static(error, "operator_str", None) is not static:
            yield f"torch._inductor.exc.{name} does not inherit OperatorIssue.operator_str"


def _signature_problems(label: str, function: Callable[..., Any], expected: tuple[str, ...]) -> Iterator[str]:
    from inspect import signature

    try:
        parameters = list(signature(function).parameters.values())
    except (TypeError, ValueError):
        yield f"the signature of {label} cannot be read"
        return
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return  # somebody's wrapper, which passes on whatever it is given
    names = tuple(parameter.name for parameter in parameters)
    if names != expected:
        yield f"{label} takes ({', '.join(names)}), not ({', '.join(expected)})"


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
