"""The loaded Inductor: its modules, found without importing anything unless that is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final, NamedTuple

GRAPH: Final = "torch._inductor.graph"


def import_problem() -> str | None:
    """Import Inductor, and return what kept it from being imported; None where it is there."""
    try:
        importlib.import_module(GRAPH)
    except Exception as error:  # PyTorch is missing, or broken in whatever way
        return f"{type(error).__name__}: {error}"
    return None


class Inductor(NamedTuple):
    """The modules that a strategy touches, as loaded in this process."""

    torch: Any
    graph: Any
    lowering: Any
    exc: Any


def loaded() -> Inductor | None:
    """Return the loaded Inductor; None as long as ``torch._inductor.graph`` is not in ``sys.modules``.

    ``graph`` imports ``lowering`` and ``exc`` itself, on all of 2.0 to 2.15; one that is missing is None.
    """
    graph = sys.modules.get(GRAPH)
    if graph is None:
        return None
    package = GRAPH.rpartition(".")[0]
    lowering, exc = (sys.modules.get(f"{package}.{name}") for name in ("lowering", "exc"))
    return Inductor(sys.modules.get("torch"), graph, lowering, exc)


def attribute(module: Any, name: str) -> Any:
    """Return what a module has under a name; None where it is missing or cannot be read."""
    try:
        return getattr(module, name, None)
    except Exception:  # a module may be anybody's object
        return None


def half_imported(module: Any) -> bool:
    """Whether ``module`` is still being executed by an import, in this thread or another."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def is_ir(value: Any) -> bool:
    """Whether ``value`` is a node of Inductor's IR; layouts, which are nodes on old releases, are not."""
    return is_ir_class(type(value))  # not isinstance, which asks the object for its __class__


def is_ir_class(kind: type) -> bool:
    """Whether :func:`is_ir` holds for the objects of a class.  Never raises."""
    try:
        # Seen in 2.0.0 to 2.15.0.  Without it no argument is taken for IR, and such a one shows its class.
        root = sys.modules["torch._inductor.ir"].IRNode
        return issubclass(kind, root) and not kind.__name__.endswith("Layout")
    except Exception:
        return False


def name_of(thing: Any) -> str:
    """Return the dotted name of a function, or of an object's class.

    A function's is read off its code: functools.wraps gives a wrapper the name of what it wraps.
    """
    try:
        code = thing.__code__
    except Exception:  # no function, but anybody's object
        code = None
    if code is not None:
        qualname = getattr(code, "co_qualname", code.co_name)  # Python >=3.11
        return f"{thing.__globals__.get('__name__')}.{qualname}"
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
