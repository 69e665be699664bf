"""Replacing an attribute of somebody's object so that it can be put back."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Final

_MISSING: Final = object()


class Replacement:
    """One attribute of an object, a class or a module that we replace.

    What was there is put back only where ours still stands.  Where somebody has put something over ours,
    theirs may call ours, and taking it away would cut them off.

    Args:
        owner: The object whose attribute it is.
        name: The attribute's name.
        new: What to put there.
        old: What to put back, where that is not what stands there now.
    """

    __slots__ = ("name", "new", "old", "owner")

    def __init__(self, owner: Any, name: str, new: Any, old: Any = _MISSING) -> None:
        self.owner = owner
        self.name = name
        self.new = new
        self.old = vars(owner).get(name, _MISSING) if old is _MISSING else old

    def put(self) -> None:
        setattr(self.owner, self.name, self.new)

    def standing(self) -> Any:
        """Return what stands there now, as the owner stores it; None where that cannot be read."""
        try:
            return vars(self.owner).get(self.name)
        except Exception:  # the owner may be anybody's object by now
            return None

    def stands(self) -> bool:
        """Whether ours stands there.

        ``with``-blocks of others read a static method of a class, and put back the function that they got.
        """
        standing = self.standing()
        return standing is self.new or (isinstance(self.new, staticmethod) and standing is self.new.__func__)

    def put_back(self) -> None:
        """Put back what was there, unless somebody has put something over ours."""
        if not self.stands():
            return
        if self.old is _MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.old)


def as_function(standing: Any) -> Callable[..., Any]:
    """Return a method, as it stands in its class, as a function of self and the rest."""
    if type(standing) in (types.FunctionType, types.WrapperDescriptorType):
        return standing  # type: ignore[no-any-return]
    if not hasattr(type(standing), "__get__"):
        return lambda self, *args, **kwargs: standing(*args, **kwargs)
    # A descriptor that binds in its own way, such as what wrapt.wrap_function_wrapper leaves: a proxy, which
    # calls itself a function when it is asked by isinstance.
    return lambda self, *args, **kwargs: standing.__get__(self, type(self))(*args, **kwargs)
