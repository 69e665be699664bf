"""The loaded Inductor: its modules, found without importing anything except by :func:`import_problem`."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Final, NamedTuple

from ..compat import lowering_class_of
from .loading import is_lazy

if TYPE_CHECKING:
    from .objects import Foreign, GraphLowering, TorchModule

# `loaded` looks for this module, which imports the others that the hooks touch.
# PyTorch 2.0-2.15: torch._inductor.graph; if missing: Inductor never counts as loaded, and nothing is hooked.
GRAPH: Final = "torch._inductor.graph"


def import_problem() -> str | None:
    """Import Inductor, and return what kept it from being imported; None where it is there."""
    try:
        importlib.import_module(GRAPH)
    except Exception as error:  # PyTorch is missing, or broken in whatever way
        return f"{type(error).__name__}: {error}"
    return None


class Inductor(NamedTuple):
    """The modules that a strategy touches, as loaded in this process.

    Attributes:
        torch: ``torch``.
        graph: ``torch._inductor.graph``.
        lowering: ``torch._inductor.lowering``; None where it is missing.
        exc: ``torch._inductor.exc``; None where it is missing.
        lowering_class: The class of ``graph`` that lowers a graph; None where there is none.
    """

    torch: TorchModule
    graph: TorchModule
    lowering: TorchModule
    exc: TorchModule
    lowering_class: Foreign = None

    def is_same_as(self, other: Inductor) -> bool:
        """Whether nothing was reloaded or imported anew since ``other``: a reload makes another class."""
        return self.graph is other.graph and self.lowering_class is other.lowering_class


def loaded() -> Inductor | None:
    """Return the loaded Inductor; None as long as ``torch._inductor.graph`` is not in ``sys.modules``."""
    graph = sys.modules.get(GRAPH)
    if graph is None or is_lazy(graph):
        return None
    package = GRAPH.rpartition(".")[0]
    # PyTorch 2.0-2.15: `graph` itself imports both; if missing: None stands for the module, and the contract
    # of a strategy that needs it is broken.
    lowering, exc = (sys.modules.get(f"{package}.{name}") for name in ("lowering", "exc"))
    return Inductor(sys.modules.get("torch"), graph, lowering, exc, lowering_class_of(graph))


def attribute(owner: object, name: str) -> Foreign:
    """Return what a module, or another object, has under a name; None where that cannot be read."""
    try:
        return getattr(owner, name, None)
    except Exception:  # the owner may be an object of any kind
        return None


def lowering_in_progress() -> GraphLowering:
    """Return the innermost ``GraphLowering`` that lowers a graph in this thread.

    Outside of a compile that is a ``NullHandler``, which has none of its attributes.  None where it is not
    known.  Never raises.
    """
    try:
        # PyTorch 2.0-2.15: torch._inductor.virtualized.V.graph; if missing: nothing tells where in a model an
        # op is, and set_proxy does not know which overload is being lowered.
        return sys.modules["torch._inductor.virtualized"].V.graph
    except Exception:
        return None


def name_of(thing: object) -> str:
    """Return the dotted name of a function, or of an object's class.  Never raises.

    The name of a function is read off its code, because ``functools.wraps`` gives a wrapper the name of what
    it wraps.  An object that is no function, such as a compiled function, may have a ``__code__`` all the
    same, and is named by its class.
    """
    try:
        if isinstance(thing, types.FunctionType):
            code = thing.__code__
            qualname = getattr(code, "co_qualname", code.co_name)  # Python >=3.11
            return f"{thing.__globals__.get('__name__')}.{qualname}"
        return f"{type(thing).__module__}.{type(thing).__qualname__}"
    except Exception:  # the object and its class may be of any kind
        return "an object without a name"
