"""Keeps what is written to one line of bounded length, whatever is written."""

from __future__ import annotations

from typing import Any, Final

from ..inductor.nodes import CONTAINERS

MAX_LINE_CHARACTERS: Final = 240
MAX_NAME: Final = 60
INDENT: Final = "  "

# What torch.fx makes of the lists and dicts among a node's arguments, which the model has as plain ones.
_FX_CONTAINERS: Final = {
    ("torch.fx.immutable_collections", "immutable_list"): "list",
    ("torch.fx.immutable_collections", "immutable_dict"): "dict",
}


def one_line(text: str, length: int = MAX_LINE_CHARACTERS) -> str:
    """Clip ``text`` and escape what would break the line or the terminal."""
    clipped = clip(text, length)
    return clipped if clipped.isprintable() else clip("".join(map(_printable, clipped)), length)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def clip(text: str, length: int = MAX_LINE_CHARACTERS) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def safe_str(value: Any) -> str:
    try:
        return one_line(str(value))
    except Exception:
        return class_name(value)


def class_name(value: Any) -> str:
    return f"<{kind_name(type(value))}>"


def kind_name(kind: type) -> str:
    """Return the name of a class; of FX's own lists and dicts, that of the builtin class."""
    # Seen in 2.4.1, 2.12.1 and 2.15.0; if they are renamed: they show their own names.
    return _FX_CONTAINERS.get((kind.__module__, kind.__name__), kind.__name__)


def is_container(value: Any) -> bool:
    return isinstance(value, CONTAINERS)
