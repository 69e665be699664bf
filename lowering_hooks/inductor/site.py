"""Where in a model an op is lowered, as far as Inductor recorded it."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Final, NamedTuple

# `source_of` reads a stack trace from its end, no more than this many characters of it.  The frames of
# PyTorch that may end it are some 200 characters each; behind a functional collective there are three.
_MAX_TRACE: Final = 100_000
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


NOWHERE: Final = Site()


def site_of(lowering: Any, target: Any) -> Site:
    """Return where ``lowering``, a ``GraphLowering``, lowers ``target``; all empty where it does not.

    Never raises.
    """
    try:
        node = node_in_progress(lowering)
        if node is None or node.target is not target:
            return NOWHERE
        return Site(_graph(lowering), str(getattr(node, "name", "")), source_of(node) or "")
    except Exception:
        return NOWHERE


def node_in_progress(lowering: Any) -> Any:
    """Return the FX node that ``lowering`` lowers now; None where it is not known.  Never raises."""
    try:
        # PyTorch 2.1-2.15: current_node; if missing, as in 2.0: the origins of what is made now.
        return getattr(lowering, "current_node", None) or _last_origin(lowering)
    except Exception:
        return None


def source_of(node: Any) -> str | None:
    """Return ``file:line`` of the model from an FX node's ``stack_trace``; None where it has none.

    That is the innermost frame outside of PyTorch's own package: PyTorch's wrappers of collectives and custom
    ops stand inside of it.  Where all frames are PyTorch's, it is the innermost of them.  Never raises.
    """
    try:
        return _innermost(node.meta["stack_trace"], _torch_folder())
    except Exception:
        return None


def _innermost(trace: str, torch_folder: str | None) -> str | None:
    """Search from the end, so that the time is that of the frames that are passed over."""
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
        return os.path.join(os.path.dirname(sys.modules["torch"].__file__ or ""), "")
    except Exception:  # a module may be anybody's object
        return None


def _graph(lowering: Any) -> str:
    # As seen in 2.0.0 to 2.15.0: graph_id on all; is_backward since 2.7; name, of a subgraph, on all.
    number, name = getattr(lowering, "graph_id", None), getattr(lowering, "name", None)
    parts = [] if number is None else [str(number)]
    if name not in (None, "", "GraphLowering"):
        parts.append(str(name))
    if getattr(lowering, "is_backward", False) is True:
        parts.append("(backward)")
    return " ".join(parts)


def _last_origin(lowering: Any) -> Any:
    """Return the last FX node that what is made now is said to come from: the one that is lowered now."""
    origins = set(sys.modules["torch._inductor.ir"].IRNode._current_origins)
    return next((node for node in reversed(lowering.module.graph.nodes) if node in origins), None)
