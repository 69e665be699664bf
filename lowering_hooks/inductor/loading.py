"""Tells when a module has been executed, without being in the way of any import.

Python calls the finders of ``sys.meta_path`` under its global import lock.  Whatever a finder does there
beyond looking, such as an import, may wait for a module's lock whose holder waits for the global one, and
Python detects such circles only among the locks of modules.  So :class:`LoadingFinder` imports nothing, takes
no lock and logs nothing.  It asks the finders behind it, as Python would have done, and puts an
``exec_module`` on the loader that they name.  That calls the loader's own and reports afterwards, where
Python holds the lock of this one module and no other.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..replacement import Replacement

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def half_imported(module: Any) -> bool:
    """Whether an import is still executing ``module``, in this thread or another.

    ``ModuleSpec._initializing`` is a detail of CPython, seen in 3.10 to 3.13; without it every module counts
    as complete.
    """
    if is_lazy(module):
        return True
    try:
        return bool(module.__spec__._initializing)
    except Exception:  # a module may be anybody's object, and have no spec
        return False


def is_lazy(module: Any) -> bool:
    """Whether ``module`` is one that ``importlib.util.LazyLoader`` executes once an attribute is read."""
    return type(module).__name__ == "_LazyModule"


class LoadingFinder:
    """Calls ``report`` each time that the module ``name`` was executed: imported, reloaded, imported anew.

    It finds nothing on its own.  Where it was not asked for ``name`` (somebody's finder stands in front and
    answers alone, the import began before this finder was there, or the loader takes no ``exec_module``), it
    watches the modules that are imported next, and reports after the first of them that finds ``name``
    complete.

    Args:
        name: The full name of the module, such as ``"torch._inductor.graph"``.
        report: Called without arguments.  It runs inside somebody's import, so it must not raise.
    """

    def __init__(self, name: str, report: Callable[[], None]) -> None:
        self._name = name
        self._report = report
        self._executing: Any = None
        self._executed: Any = None
        self._asking: set[int] = set()  # the threads that are in `find_spec`

    def install(self) -> None:
        """Stand in front of ``sys.meta_path``, unless this finder stands in it already.

        It is never taken out again: a thread that iterates over the list at that moment would pass over the
        finder behind it.
        """
        if not any(finder is self for finder in sys.meta_path):
            sys.meta_path.insert(0, self)

    def is_complete(self, module: Any) -> bool:
        """Whether ``module`` has been executed to its end, even if Python has not said so yet."""
        if module is self._executing:  # a reload; Python says so of an import only
            return False
        return module is self._executed or not half_imported(module)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self._name and not self._was_missed():
            return None
        thread = get_ident()
        if thread in self._asking:  # a finder behind this one asks all of them
            return None
        self._asking.add(thread)
        try:
            spec = self._ask_finders_behind(name, path, target)
        finally:
            self._asking.discard(thread)
        if spec is not None:
            self._watch(spec.loader, name)
        return spec

    def _was_missed(self) -> bool:
        module = sys.modules.get(self._name)
        return module is not None and module is not self._executing and module is not self._executed

    def _ask_finders_behind(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        finders: list[Any] = list(sys.meta_path)
        while finders and finders.pop(0) is not self:
            continue
        for finder in finders:
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is None:  # a finder of the old protocol, which Python 3.12 and later pass over
                if sys.version_info < (3, 12) and finder.find_module(name, path) is not None:
                    return None  # Python itself makes a spec of what that finder has
                continue
            spec: ModuleSpec | None = find_spec(name, path, target)
            if spec is not None:
                return spec
        return None

    def _watch(self, loader: Any, name: str) -> None:
        if isinstance(loader, type):
            return  # such as BuiltinImporter, which serves every module of its kind
        with suppress(Exception):  # a loader without exec_module or without a __dict__
            standing = loader.exec_module
            while isinstance(standing, _ExecModule):
                if standing.finder is self:
                    return  # watched before, and what was found then has not been executed yet
                standing = standing.execute
            _ExecModule(loader, name, self).replacement.put()

    def execute(self, module: Any, execute: Callable[[Any], Any]) -> None:
        """Execute a watched module by ``execute``, and report where that completes what is waited for."""
        is_the_one = module is sys.modules.get(self._name)
        if is_the_one:
            self._executing = module
        try:
            execute(module)
        finally:
            if is_the_one:
                self._executing = None
        found = sys.modules.get(self._name)  # the module may have put another in its own place
        if found is not None and (is_the_one or not half_imported(found)):
            self._executed = found
            self._report()


class _ExecModule:
    """Stands on a loader as ``exec_module``, for the module ``name``, and is gone once that is executed.

    It stands on the object and not on its class, so ``type(loader)`` and everything else of it stays as it
    was. A loader may serve other modules meanwhile, as the one of a zip file does; it executes them as ever.
    """

    __slots__ = ("execute", "finder", "name", "replacement")

    def __init__(self, loader: Any, name: str, finder: LoadingFinder) -> None:
        self.execute: Callable[[Any], Any] = loader.exec_module
        self.name = name
        self.finder = finder
        self.replacement = Replacement(loader, "exec_module", self)

    def __call__(self, module: Any) -> None:
        if _name_of(module) == self.name:
            self.replacement.put_back()
            self.finder.execute(module, self.execute)
        else:
            self.execute(module)


def _name_of(module: Any) -> Any:
    return getattr(module, "__name__", None)
