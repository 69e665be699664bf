"""Where in a model an op is lowered, as far as Inductor recorded it."""

from __future__ import annotations

import functools
import re
import sys
from typing import Any, Final, NamedTuple

# Of a stack trace, from its end: the innermost frame is wanted.
_MAX_TRACE: Final = 4000


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
    """Return ``file:line`` of the innermost frame of an FX node's ``stack_trace``; None where it has none.

    Never raises.
    """
    try:
        trace = node.meta["stack_trace"]
        return _innermost(trace[-_MAX_TRACE:])
    except Exception:
        return None


@functools.lru_cache(maxsize=1024)
def _innermost(trace: str) -> str | None:
    frames = re.findall(r'File "([^"\n]+)", line (\d+)', trace)
    return ":".join(frames[-1]) if frames else None


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
