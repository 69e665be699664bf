"""The bounded text of an op: what it is called with, and nothing of what lies behind its arguments.

Inductor's own text prints an argument's producers, and their producers: a tree drawn from a graph, whose size
is exponential in its depth.  The bounded text describes the arguments only.  These functions only look: they
read fields and ask for sizes, dtypes and devices, which decide nothing.  They never realize a buffer, never
fix a layout, and never compare, add or truth-test a symbolic number, which would add a guard.  They never
raise, and recurse only into a slice.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..inductor.nodes import is_ir
from .clipping import INDENT, MAX_NAME, class_name, clip, is_container, kind_name, one_line, safe_str
from .node import node_text
from .value import inline, items_of, value_text
from .words import counted

if TYPE_CHECKING:
    from ..inductor.objects import Argument, Target
    from ..inductor.site import Site

# `operator_text` writes at most this many lines, far more than an op with two dozen arguments needs.
MAX_LINES: Final = 48
# `operator_text` writes at most this many characters, and a last line that says what is left out.  An error
# message may hold the text twice (LoweringException with a stack trace), so the text stays below 4 KB.
MAX_CHARACTERS: Final = 3600
# `_describe` goes into at most this many lists inside one another.
MAX_DEPTH: Final = 4


class _Entry(NamedTuple):
    """A value that `operator_text` still has to describe.

    Attributes:
        label: What stands before its text, such as ``"args[0]"``.
        value: The value.
        depth: How many lists it is in.
    """

    label: str
    value: Argument
    depth: int


def operator_text(target: Target, args: Sequence[Argument], kwargs: Mapping[str, Argument]) -> str:
    """Describe ``target`` as called with ``args`` and ``kwargs``.  Never raises.

    The text has a line for the target and one for each argument, in the frame of
    ``OperatorIssue.operator_str`` (``torch/_inductor/exc.py``).  A list that holds IR has a line for each of
    its elements, too.

    Args:
        target: What the FX node calls.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        At most :data:`MAX_CHARACTERS` characters, plus a line that says how many arguments it leaves out.
    """
    try:
        return _operator_text(target, args, kwargs)
    except Exception:
        return f"{INDENT}target: {safe_str(target)}"


def _operator_text(target: Target, args: Sequence[Argument], kwargs: Mapping[str, Argument]) -> str:
    lines = [clip(f"{INDENT}target: {safe_str(target)}")]
    room = MAX_CHARACTERS - len(lines[0])
    entries = [_Entry(f"args[{i}]", arg, 0) for i, arg in enumerate(args)]
    entries += [_Entry(f"kwargs[{value_text(name)}]", arg, 0) for name, arg in dict(kwargs).items()]
    entries.reverse()  # a stack: the first argument on top
    while entries:
        entry = entries.pop()
        text, parts = _describe(entry)
        line = clip(f"{INDENT * (entry.depth + 1)}{entry.label}: {text}")
        room -= len(line) + 1
        if room < 0 or len(lines) == MAX_LINES:
            left = sum(1 for rest in [*entries, entry] if rest.depth == 0)
            lines.append(f"{INDENT}... {counted(left, 'more argument')}" if left else f"{INDENT}...")
            break
        lines.append(line)
        entries += reversed(parts)
    return "\n".join(lines)


def _describe(entry: _Entry) -> tuple[str, list[_Entry]]:
    """Return the text of an entry, and the entries of those of its elements that need lines of their own."""
    try:
        value = entry.value
        if not is_container(value):
            return argument_text(value), []
        items, length = items_of(value)
        if not any(is_ir(element) or is_container(element) for _, element in items):
            return inline(value, items, length), []
        head = f"{kind_name(type(value))} of {length}"
        if entry.depth + 1 >= MAX_DEPTH:
            return head, []
        if length > len(items):
            head += f", the first {len(items)}"
        return head, [_Entry(label, element, entry.depth + 1) for label, element in items]
    except Exception:
        return class_name(entry.value), []


def argument_text(value: Argument) -> str:
    """Describe one argument in one line, whatever it is.  Never raises."""
    if type(value) is slice:
        parts = (value.start, value.stop, value.step)
        return f"slice({', '.join(map(argument_text, parts))})"
    return node_text(value) if is_ir(value) else value_text(value)


def site_text(site: Site) -> str:
    """Say in one line where in the model an op is; empty where its FX node is not known."""
    parts = [
        site.node and f"node: {one_line(site.node, MAX_NAME)}",
        site.graph and f"of graph {one_line(site.graph, MAX_NAME)}",
        site.source and f"at {one_line(site.source)}",
    ]
    return INDENT + " ".join(filter(None, parts)) if site.node else ""


def target_name(target: Target) -> str:
    """Return the name of what an FX node calls.  Never raises.

    An op's name is its own text, such as ``"vllm.all_reduce.default"``; a function's begins with its module.
    """
    if isinstance(target, (types.FunctionType, types.BuiltinFunctionType)):
        return one_line(f"{target.__module__}.{target.__qualname__}")
    return safe_str(target)
