"""Turns any text or object into one line of bounded length."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, TypeGuard

from ..inductor.nodes import CONTAINERS

if TYPE_CHECKING:
    from ..inductor.objects import Argument

# `one_line` and `clip` keep at most this many characters, unless their caller names another number.
MAX_LINE_CHARACTERS: Final = 240
# The callers of `one_line` pass this number for the name of a node or a graph.
MAX_NAME: Final = 60
# Each line of a text begins with this, once for each level.
INDENT: Final = "  "

# `kind_name` writes these classes as the builtin ones that the model has.
# PyTorch 2.0-2.15: torch.fx makes them of the lists and dicts among a node's arguments; if missing: the text
# shows the name of the class that it makes.
_FX_CONTAINERS: Final = {
    ("torch.fx.immutable_collections", "immutable_list"): "list",
    ("torch.fx.immutable_collections", "immutable_dict"): "dict",
}


def one_line(text: str, length: int = MAX_LINE_CHARACTERS) -> str:
    """Return ``text`` clipped, with escapes for what would break the line or the terminal."""
    clipped = clip(text, length)
    return clipped if clipped.isprintable() else clip("".join(map(_printable, clipped)), length)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def clip(text: str, length: int = MAX_LINE_CHARACTERS) -> str:
    """Return ``text`` with at most ``length`` characters; three dots stand for the rest."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def safe_str(value: object) -> str:
    """Return ``str(value)`` in one line; the name of the class where ``str`` raises."""
    try:
        return one_line(str(value))
    except Exception:
        return class_name(value)


def class_name(value: object) -> str:
    """Return the name of an object's class in angle brackets, such as ``"<GraphModule>"``."""
    return f"<{kind_name(type(value))}>"


def kind_name(kind: type[object]) -> str:
    """Return the name of a class; for FX's own lists and dicts, that of the builtin class."""
    return _FX_CONTAINERS.get((kind.__module__, kind.__name__), kind.__name__)


def is_container(value: object) -> TypeGuard[Collection[Argument]]:
    """Whether ``value`` is a list, tuple, dict or set, or of a class derived from one."""
    return isinstance(value, CONTAINERS)


def is_sequence(value: object) -> TypeGuard[Sequence[Argument]]:
    """Whether ``value`` is a list or a tuple, or of a class derived from one."""
    return isinstance(value, (list, tuple))
