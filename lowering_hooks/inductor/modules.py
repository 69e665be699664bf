"""The loaded Inductor: its modules, found without importing anything unless that is asked for."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, Final, NamedTuple

from ..compat import lowering_class_of
from .loading import is_lazy

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
    lowering_class: Any = None

    def is_same_as(self, other: Inductor) -> bool:
        """Whether nothing was reloaded or imported anew since ``other``: a reload makes another class."""
        return self.graph is other.graph and self.lowering_class is other.lowering_class


def loaded() -> Inductor | None:
    """Return the loaded Inductor; None as long as ``torch._inductor.graph`` is not in ``sys.modules``.

    ``graph`` imports ``lowering`` and ``exc`` itself, on all of 2.0 to 2.15; one that is missing is None.
    """
    graph = sys.modules.get(GRAPH)
    if graph is None or is_lazy(graph):
        return None
    package = GRAPH.rpartition(".")[0]
    lowering, exc = (sys.modules.get(f"{package}.{name}") for name in ("lowering", "exc"))
    return Inductor(sys.modules.get("torch"), graph, lowering, exc, lowering_class_of(graph))


def attribute(module: Any, name: str) -> Any:
    """Return what a module has under a name; None where it is missing or cannot be read."""
    try:
        return getattr(module, name, None)
    except Exception:  # a module may be anybody's object
        return None


def lowering_in_progress() -> Any:
    """Return the ``GraphLowering`` that lowers a graph in this thread, innermost; None where it is not known.

    ``torch._inductor.virtualized.V.graph``, seen in 2.0.0 to 2.15.0; outside of a compile it is a
    ``NullHandler``, which has none of its attributes.
    """
    try:
        return sys.modules["torch._inductor.virtualized"].V.graph
    except Exception:
        return None


def name_of(thing: Any) -> str:
    """Return the dotted name of a function, or of an object's class.  Never raises.

    A function's is read off its code: functools.wraps gives a wrapper the name of what it wraps.  What is no
    function may have a ``__code__`` all the same, such as a compiled function, and is named by its class.
    """
    try:
        if isinstance(thing, types.FunctionType):
            code = thing.__code__
            qualname = getattr(code, "co_qualname", code.co_name)  # Python >=3.11
            return f"{thing.__globals__.get('__name__')}.{qualname}"
        return f"{type(thing).__module__}.{type(thing).__qualname__}"
    except Exception:  # it is anybody's object, and so is its class
        return "an object without a name"
