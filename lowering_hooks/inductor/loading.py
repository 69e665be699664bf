"""Tells when a module has been executed, without being in the way of any import.

Python calls the finders of ``sys.meta_path`` under its global import lock.  Whatever a finder does there
beyond looking, such as an import, may wait for a module's lock whose holder waits for the global one, and
Python detects such circles only among the locks of modules.  So :class:`LoadingFinder` imports nothing, takes
no lock and logs nothing.  It asks the finders behind it, as Python would have done, and puts an
``exec_module`` on the loader that they name.  That ``exec_module`` calls the loader's own and reports
afterwards, where Python holds the lock of this one module and no other.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..replacement import Replacement

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from .objects import Foreign


def half_imported(module: Foreign) -> bool:
    """Whether an import is still executing ``module``, in this thread or another.  Never raises."""
    if is_lazy(module):
        return True
    try:
        # CPython 3.10-3.13: ModuleSpec._initializing is true while an import executes the module; if missing:
        # every module counts as complete.
        return bool(module.__spec__._initializing)
    except Exception:  # a module may be an object of any kind, and have no spec
        return False


def is_lazy(module: object) -> bool:
    """Whether ``module`` is one that ``importlib.util.LazyLoader`` executes once an attribute is read."""
    # CPython 3.10-3.13: importlib.util._LazyModule is its class; if missing: it counts as an ordinary module,
    # and reading its attributes executes it.
    return type(module).__name__ == "_LazyModule"


# CPython 3.10-3.13: Python holds its global import lock while it calls `find_spec`; if missing: nothing is
# lost, since `find_spec` takes no lock.
class LoadingFinder:
    """Calls ``report`` each time that the module ``name`` was executed: imported, reloaded, imported anew.

    The finder finds nothing on its own.  There are cases in which Python does not ask it for ``name``, or in
    which it can watch no loader: another finder stands in front and answers alone, the import began before
    this finder was there, or the loader takes no ``exec_module``.  Then the finder watches the modules that
    are imported next, and reports after the first of them that finds ``name`` complete.

    Args:
        name: The full name of the module, such as ``"torch._inductor.graph"``.
        report: Called without arguments.  It runs inside an import of other code, so it must not raise.
    """

    def __init__(self, name: str, report: Callable[[], None]) -> None:
        self._name = name
        self._report = report
        self._executing: object = None
        self._executed: object = None
        self._asking: set[int] = set()  # the threads that are in `find_spec`

    def install(self) -> None:
        """Insert this finder at the front of ``sys.meta_path``, unless the list has it already.

        Nothing ever takes it out again: a thread that iterates over the list at that moment would pass over
        the finder behind it.

        Raises:
            Exception: What others put in the place of the list takes nothing.
        """
        if not self.is_installed():
            sys.meta_path.insert(0, self)

    def is_installed(self) -> bool:
        """Whether Python asks this finder: others may have taken it out, or not let it in.  Never raises."""
        try:
            return any(finder is self for finder in sys.meta_path)
        except Exception:  # others may have put anything in the place of the list
            return False

    def is_complete(self, module: object) -> bool:
        """Whether ``module`` has been executed to its end, even if its spec does not say so yet."""
        if module is self._executing:  # a reload, of which the spec says nothing
            return False
        return module is self._executed or not half_imported(module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the finders behind this one have for ``name``, and watch its loader.

        Python calls this for every import.  The answer is None, at once, for a module that this finder has no
        reason to watch, and in a call that comes from one of the finders that it asks.

        Args:
            name: The full name of the module.
            path: The ``__path__`` of its package; None for a module at the top.
            target: The module that is reloaded, if there is one.
        """
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
        """Whether the module is there, and this finder has neither seen nor sees its execution."""
        module = sys.modules.get(self._name)
        return module is not None and module is not self._executing and module is not self._executed

    def _ask_finders_behind(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        finders: list[Foreign] = list(sys.meta_path)
        while finders and finders.pop(0) is not self:
            continue
        for finder in finders:
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is None:  # a finder of the old protocol
                # CPython 3.10-3.11: Python makes a spec of what `find_module` returns; if missing, as in 3.12
                # and later: Python passes over such a finder, and so does this one.
                if sys.version_info < (3, 12) and finder.find_module(name, path) is not None:
                    return None
                continue
            spec: ModuleSpec | None = find_spec(name, path, target)
            if spec is not None:
                return spec
        return None

    def _watch(self, loader: Foreign, name: str) -> None:
        """Put an ``exec_module`` on ``loader``, for the module ``name``, where that is possible."""
        if isinstance(loader, type):
            return  # such as BuiltinImporter, which serves every module of its kind
        with suppress(Exception):  # a loader without exec_module or without a __dict__
            standing = loader.exec_module
            while isinstance(standing, _ExecModule):
                if standing.finder is self:
                    return  # this finder watches the loader since an import that has executed nothing yet
                standing = standing.execute
            _ExecModule(loader, name, self).replacement.put()

    def execute(self, module: object, execute: Callable[[object], object]) -> None:
        """Execute a watched module, and report if the module that this finder waits for is complete then.

        Args:
            module: The module to execute.
            execute: The ``exec_module`` of its loader.
        """
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
    """Stands on a loader as ``exec_module``, for the module ``name``, until that is executed.

    It stands on the object and not on its class, so ``type(loader)`` and everything else of the loader stay
    as they were.  A loader may serve other modules meanwhile, as the one of a zip file does; it executes them
    as before.
    """

    __slots__ = ("execute", "finder", "name", "replacement")

    def __init__(self, loader: Foreign, name: str, finder: LoadingFinder) -> None:
        self.execute: Callable[[object], object] = loader.exec_module
        self.name = name
        self.finder = finder
        self.replacement = Replacement(loader, "exec_module", self)

    def __call__(self, module: object) -> None:
        if getattr(module, "__name__", None) == self.name:
            self.replacement.put_back()
            self.finder.execute(module, self.execute)
        else:
            self.execute(module)
