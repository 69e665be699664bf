"""Marks this package's wrappers, so that this copy of it, or another, can take one over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from ..inductor.objects import Foreign

_Function = TypeVar("_Function", bound=Callable[..., Any])

# The attribute of a wrapper that holds its mark.
_MARK: Final = "_lowering_hooks"


class _Mark(NamedTuple):
    """The mark that a wrapper of this package bears.

    Attributes:
        wrapper: The wrapper itself: functools.wraps copies attributes, so that the wrapper of another library
            around this one bears the same mark.
        original: What the wrapper stands for in its class.
    """

    wrapper: Foreign
    original: Foreign


def marked(wrapper: _Function, original: Foreign) -> _Function:
    """Return ``wrapper``, marked as this package's in the place of ``original``."""
    setattr(wrapper, _MARK, _Mark(wrapper, original))
    return wrapper


def peeled(standing: Foreign) -> Foreign:
    """Return what stood in the class before ``standing``, if that is marked; else ``standing``.

    A static method may have come back as the function in it: a ``with`` block reads it off the class.
    """
    # By its type: a proxy of another library around a static method hands on the attributes of that.
    kind = cast("type[object]", type(standing))
    function: Foreign = standing.__func__ if kind is staticmethod else standing
    mark: Foreign = getattr(function, _MARK, None)
    # By the name of its class: it may be the mark of another copy of the package.
    is_marked = type(mark).__name__ == _Mark.__name__ and mark.wrapper is function
    return mark.original if is_marked else standing
