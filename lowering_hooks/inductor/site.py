"""Where in a model an op is lowered, as far as Inductor recorded it."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .objects import FXNode, GraphLowering, Target

# `source_of` reads a stack trace from its end, and at most this many characters of it.  The frames of PyTorch
# that may end it are some 200 characters each; behind a functional collective there are three.
_MAX_TRACE: Final = 100_000
# `_innermost` finds the file and the line of a frame by this, in the form of Python's own tracebacks.
_FRAME: Final = re.compile(r'File "([^"\n]+)", line (\d+)')


class Site(NamedTuple):
    """A node of a model; each field is empty where nothing is known.

    Attributes:
        graph: Inductor's number for the graph, and what else sets it apart, such as ``"3 (backward)"``.
        node: The name of the FX node.
        source: ``file:line`` of the model.
    """

    graph: str = ""
    node: str = ""
    source: str = ""


# `site_of` returns this site where it knows nothing.
NOWHERE: Final = Site()


def site_of(lowering: GraphLowering, target: Target) -> Site:
    """Return where ``lowering`` lowers ``target``.  Never raises.

    Args:
        lowering: The ``GraphLowering`` in progress, or whatever stands for it.
        target: What the FX node calls.

    Returns:
        The site; :data:`NOWHERE` where ``lowering`` lowers another target now, or nothing.
    """
    try:
        node = node_in_progress(lowering)
        if node is None or node.target is not target:
            return NOWHERE
        return Site(_graph(lowering), str(getattr(node, "name", "")), source_of(node) or "")
    except Exception:
        return NOWHERE


def node_in_progress(lowering: GraphLowering) -> FXNode:
    """Return the FX node that ``lowering`` lowers now; None where it is not known.  Never raises."""
    try:
        # PyTorch 2.1-2.15: GraphLowering.current_node; if missing, as in 2.0: the last origin node of what is
        # being made serves.
        return getattr(lowering, "current_node", None) or _last_origin(lowering)
    except Exception:
        return None


def source_of(node: FXNode) -> str | None:
    """Return ``file:line`` of the model from an FX node's stack trace; None where it has none.  Never raises.

    The line is that of the innermost frame outside of PyTorch's own package, because PyTorch's wrappers of
    collectives and custom ops are frames inside of it.  Where all frames are PyTorch's, the line is that of
    the innermost of them.
    """
    try:
        # PyTorch 2.0-2.15: meta["stack_trace"] is a text as Python writes tracebacks; if missing: None.
        return _innermost(node.meta["stack_trace"], _torch_folder())
    except Exception:
        return None


def _innermost(trace: str, torch_folder: str | None) -> str | None:
    """Search from the end, so that the time depends only on how many frames the search passes over."""
    innermost = None
    first, end = max(0, len(trace) - _MAX_TRACE), len(trace)
    while (start := trace.rfind('File "', first, end)) >= 0:
        end = start
        frame = _FRAME.match(trace, start)
        if frame is None:
            continue
        file, line = frame.groups()
        if torch_folder is None or not file.startswith(torch_folder):
            return f"{file}:{line}"
        innermost = innermost or f"{file}:{line}"
    return innermost


def _torch_folder() -> str | None:
    """Return the folder of the loaded torch, with a separator at its end; None where that is unknown."""
    try:
        # Every process imports this module, and should not have to import pathlib for it.
        folder = os.path.dirname(sys.modules["torch"].__file__ or "")  # noqa: PTH120
        return os.path.join(folder, "")  # noqa: PTH118
    except Exception:  # a module may be an object of any kind
        return None


def _graph(lowering: GraphLowering) -> str:
    # PyTorch 2.0-2.15: graph_id, and the name of a subgraph; if missing: the text leaves it out.
    # PyTorch 2.7-2.15: is_backward; if missing: nothing tells a backward graph from a forward one.
    number, name = getattr(lowering, "graph_id", None), getattr(lowering, "name", None)
    parts = [] if number is None else [str(number)]
    if name not in (None, "", "GraphLowering"):
        parts.append(str(name))
    if getattr(lowering, "is_backward", False) is True:
        parts.append("(backward)")
    return " ".join(parts)


def _last_origin(lowering: GraphLowering) -> FXNode:
    """Return the last of the origin nodes that Inductor notes for what it makes: the one being lowered."""
    # PyTorch 2.0-2.15: IRNode._current_origins; if missing: AttributeError, and no node is known.
    origins = set(sys.modules["torch._inductor.ir"].IRNode._current_origins)
    return next((node for node in reversed(lowering.module.graph.nodes) if node in origins), None)
