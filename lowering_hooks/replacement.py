"""Replaces an attribute of an object of PyTorch or Python so that it can be put back."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Final, cast

_MISSING: Final[Any] = object()


class Replacement:
    """One attribute of an object, a class or a module that this package replaces.

    ``put_back`` puts the original back only where the replacement still stands.  What was put over it may
    call it, and taking it away would cut that off.

    Args:
        owner: The object whose attribute it is.
        name: The attribute's name.
        new: The replacement.
        old: The original, where that is not what stands there now.
    """

    __slots__ = ("name", "new", "old", "owner")

    def __init__(self, owner: object, name: str, new: Any, old: Any = _MISSING) -> None:
        self.owner = owner
        self.name = name
        self.new = new
        stored: dict[str, Any] = vars(owner)
        self.old: Any = stored.get(name, _MISSING) if old is _MISSING else old

    @property
    def adds(self) -> bool:
        """Whether the owner itself had no such attribute before."""
        return self.old is _MISSING

    def put(self) -> None:
        """Put the replacement there."""
        setattr(self.owner, self.name, self.new)

    def standing(self, owner: object = None) -> Any:
        """Return what stands there now, as the owner stores it; None where that cannot be read."""
        try:
            stored: dict[str, Any] = vars(self.owner if owner is None else owner)
            return stored.get(self.name)
        except Exception:  # the owner may be an object of any kind by now
            return None

    def stands(self, owner: object = None) -> bool:
        """Whether the replacement stands there, as it was put or as others read it off the class."""
        standing = self.standing(owner)
        return standing is self.new or _was_read_off(standing, self.new)

    def put_back(self, owner: object = None) -> None:
        """Put back the original, unless something was put over the replacement.

        Args:
            owner: Where others have put the replacement as well: a class that inherits it.
        """
        owner = self.owner if owner is None else owner
        if not self.stands(owner):
            return
        if self.old is _MISSING:
            delattr(owner, self.name)
        else:
            setattr(owner, self.name, self.old)


def _was_read_off(standing: Any, descriptor: Any) -> bool:
    """Whether ``standing`` is what reading ``descriptor`` off its class gives.

    A ``with`` block that saves and puts back reads an attribute so, and puts back what it got: the function
    of a static method, and the bound method of a class method.
    """
    kind = cast("type[object]", type(descriptor))
    if kind is staticmethod:
        return standing is descriptor.__func__
    is_method = kind is classmethod and type(standing) is types.MethodType
    return is_method and standing.__func__ is descriptor.__func__


def as_function(standing: Any) -> Callable[..., Any]:
    """Return a method, as it stands in its class, as a function of self and the rest."""
    kind = cast("type[object]", type(standing))
    if kind in (types.FunctionType, types.WrapperDescriptorType):
        return standing  # type: ignore[no-any-return]
    if not hasattr(kind, "__get__"):

        def call_without_self(_self: object, /, *args: Any, **kwargs: Any) -> Any:
            return standing(*args, **kwargs)

        return call_without_self

    # A descriptor that binds in its own way, such as what wrapt.wrap_function_wrapper leaves: a proxy, which
    # `isinstance` takes for a function.
    def call_bound(self: object, /, *args: Any, **kwargs: Any) -> Any:
        return standing.__get__(self, type(self))(*args, **kwargs)

    return call_bound
