"""Marks our wrappers, so that this copy of the package, or another, can take one over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

# On our functions: (the function itself, what it stands for in the class).  The function itself, because
# functools.wraps copies attributes, and somebody's wrapper around ours must not be taken for ours.
_MARK: Final = "_lowering_hooks"


def marked(wrapper: _Function, original: Any) -> _Function:
    """Return ``wrapper``, marked as ours in the place of ``original``."""
    setattr(wrapper, _MARK, (wrapper, original))
    return wrapper


def peeled(standing: Any) -> Any:
    """Return what stood in the class before ``standing``, if that is a wrapper of ours; else ``standing``.

    A static method may have come back as the function in it.
    """
    function = getattr(standing, "__func__", standing)
    mark: Any = getattr(function, _MARK, None)
    is_ours = isinstance(mark, tuple) and len(mark) == 2 and mark[0] is function
    return mark[1] if is_ours else standing
