"""When a module has been loaded: on little packages in this process, and beside importing threads in fresh ones."""

from __future__ import annotations

import _imp
import builtins
import gc
import importlib
import importlib.resources
import importlib.util
import inspect
import itertools
import logging
import os
import shutil
import subprocess
import sys
import threading
import types
import weakref
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import SOURCES

import lowering_hooks
from lowering_hooks import replacement
from lowering_hooks.inductor import loading
from lowering_hooks.inductor.loading import LoadingFinder, half_imported

# Seconds.  Generous: it ends what would never end, and a slow machine must not fail a test.
DEADLINE = 90
WORKER = Path(__file__).with_name("import_worker.py")
_numbers = itertools.count()


def holds_import_lock() -> bool:
    """Whether this thread holds Python's global import lock; _imp.lock_held() tells only that some thread does."""
    try:
        _imp.release_lock()
    except RuntimeError:
        return False
    _imp.acquire_lock()
    return True


class Little:
    """A little package on ``sys.path``, and a finder for its module ``graph``.

    Attributes:
        name: The package's name, which no other test uses.
        graph: The name of the module that the finder watches for.
        reports: What stood in ``sys.modules`` as that module, at each report.
        problems: What was not as it should be while the finder reported.
        during: Called by each report.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"little_{next(_numbers)}"
        self.graph = f"{self.name}.graph"
        self.folder = folder / self.name
        self.folder.mkdir()
        self.reports: list[Any] = []
        self.problems: list[str] = []
        self.during: Callable[[], Any] = lambda: None
        self.finder = LoadingFinder(self.graph, self._report)
        self.write("__init__", "")
        self.write("graph", "value = 1\n")

    def _report(self) -> None:
        self.reports.append(sys.modules.get(self.graph))
        if holds_import_lock():
            self.problems.append("the global import lock is held during a report")
        self.during()

    def write(self, module: str, source: str) -> None:
        (self.folder / f"{module}.py").write_text(source)
        importlib.invalidate_caches()

    def load_package(self) -> Any:
        return importlib.import_module(self.name)

    def load(self, module: str = "graph") -> Any:
        return importlib.import_module(f"{self.name}.{module}")

    def load_another(self) -> Any:
        """Import a module that nobody has imported yet."""
        module = f"another_{next(_numbers)}"
        self.write(module, "value = 2\n")
        return self.load(module)

    def purge(self) -> None:
        sys.modules.pop(self.graph, None)


@contextmanager
def little_package(folder: Path) -> Iterator[Little]:
    before = sys.path[:], sys.meta_path[:], sys.dont_write_bytecode
    caches = set(sys.path_importer_cache)
    little = Little(folder)
    sys.path.insert(0, str(folder))
    # The one of lowering_hooks itself may just be waiting for the next import.
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, LoadingFinder)]
    sys.dont_write_bytecode = True  # what is written twice within a second would be read from the cache
    try:
        yield little
        assert little.problems == []
    finally:
        sys.path[:], sys.meta_path[:], sys.dont_write_bytecode = before
        for name in [name for name in sys.modules if name.partition(".")[0] == little.name]:
            del sys.modules[name]
        for path in set(sys.path_importer_cache) - caches:
            del sys.path_importer_cache[path]


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Little]:
    """A little package whose finder is not installed yet."""
    with little_package(tmp_path) as package:
        yield package


@pytest.fixture
def watched(little: Little) -> Little:
    """A little package whose finder is installed."""
    little.finder.install()
    return little


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(DEADLINE)
    return not thread.is_alive()


# --- one report for each time that the module is executed --------------------------------------------------------


def test_an_import_is_reported_once(watched) -> None:
    """The report comes after the module's code, and other imports bring none."""
    watched.during = lambda: setattr(sys.modules[watched.graph], "seen", sys.modules[watched.graph].value)
    watched.load_another()
    assert watched.reports == []
    module = watched.load()
    assert watched.reports == [module]
    assert module.seen == 1
    watched.load()
    watched.load_another()
    assert watched.reports == [module]


def test_no_global_lock_during_a_report(watched) -> None:
    """Where no other thread imports, nobody holds Python's global import lock."""
    held = []
    watched.during = lambda: held.append(_imp.lock_held())
    importlib.reload(watched.load())
    assert held == [False, False]


def test_others_can_import_during_a_report(watched) -> None:
    """Python holds the lock of the reported module, and no other."""
    watched.load_package()

    def import_elsewhere() -> None:
        watched.write("elsewhere", "")
        if not ended(in_thread(lambda: watched.load("elsewhere"))):
            watched.problems.append("another thread cannot import during a report")

    watched.during = import_elsewhere
    watched.load()
    assert f"{watched.name}.elsewhere" in sys.modules
    assert len(watched.reports) == 1


def test_a_report_may_import_and_look(watched) -> None:
    """What the report imports is imported as ever, the module itself included."""
    watched.during = lambda: (watched.load_another(), watched.load(), importlib.util.find_spec(watched.graph))
    module = watched.load()
    assert watched.reports == [module]


def test_threads_that_import_at_once(watched) -> None:
    """Whoever imports the module, and however many do, it is executed and reported once."""
    start = threading.Barrier(8)
    threads = [in_thread(lambda: (start.wait(DEADLINE), watched.load())) for _ in range(8)]
    assert all(ended(thread) for thread in threads)
    assert watched.reports == [watched.load()]


def test_a_reload_is_reported(watched) -> None:
    """A reload executes the module anew, in its place."""
    module = watched.load()
    watched.write("graph", "value = 'reloaded'\n")
    watched.during = lambda: setattr(module, "seen", module.value)
    assert importlib.reload(module) is module
    assert module.seen == "reloaded"
    assert watched.reports == [module, module]
    watched.load_another()
    assert watched.reports == [module, module]


def test_a_failed_reload_is_not_reported(watched) -> None:
    """A module that a reload has left half executed is not looked at; the next reload is."""
    module = watched.load()
    watched.write("graph", "raise ArithmeticError\n")
    with pytest.raises(ArithmeticError):
        importlib.reload(module)
    watched.load_another()
    assert watched.reports == [module]
    watched.write("graph", "value = 2\n")
    importlib.reload(module)
    assert watched.reports == [module, module]


def test_a_new_import_after_a_purge(watched) -> None:
    """Some test runners purge sys.modules; the report then finds the new module there."""
    first = watched.load()
    watched.purge()
    watched.load_another()
    second = watched.load()
    assert second is not first
    assert [id(module) for module in watched.reports] == [id(first), id(second)]


def test_a_failed_import_is_not_reported(watched) -> None:
    """The import that is tried again is, and the failure reaches whoever imports."""
    watched.write("graph", "raise ArithmeticError('once')\n")
    with pytest.raises(ArithmeticError, match="once"):
        watched.load()
    watched.load_another()
    assert watched.reports == []
    watched.write("graph", "value = 3\n")
    module = watched.load()
    assert watched.reports == [module]
    assert "exec_module" not in vars(module.__loader__)


def test_a_failed_import_leaves_its_loader(watched) -> None:
    """A loader that executes a module again, as the one of a zip file may, has lost nothing by a failure."""
    loaders = []

    class Reusing:
        """Names the same loader each time."""

        def find_spec(self, name, path=None, target=None):
            if name != watched.graph:
                return None
            if not loaders:
                loaders.append(SourceFileLoader(name, str(watched.folder / "graph.py")))
            return importlib.util.spec_from_loader(name, loaders[0])

    sys.meta_path.insert(1, Reusing())
    watched.write("graph", "raise ArithmeticError\n")
    for _ in range(3):
        with pytest.raises(ArithmeticError):
            watched.load()
        assert vars(loaders[0]).keys() == {"name", "path"}
    watched.write("graph", "value = 3\n")
    assert watched.load().value == 3
    assert len(watched.reports) == 1
    assert vars(loaders[0]).keys() == {"name", "path"}


def test_a_module_that_replaces_itself(watched) -> None:
    """The report finds what the module has put into sys.modules in its own place, and takes it for imported."""
    watched.write("graph", "import sys, types\nsys.modules[__name__] = types.SimpleNamespace(value=4)\n")
    module = watched.load()
    assert module.value == 4
    assert watched.reports == [module]
    watched.load_another()
    assert watched.reports == [module]


def test_a_module_that_removes_itself(watched) -> None:
    """Nothing is left to report."""
    watched.write("graph", "import sys\ndel sys.modules[__name__]\n")
    with pytest.raises((ImportError, KeyError)):
        watched.load()
    assert watched.reports == []


def test_a_missing_module_is_missing_as_ever(watched) -> None:
    """What cannot be found is a ModuleNotFoundError with the name."""
    (watched.folder / "graph.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{watched.graph}'") as raised:
        watched.load()
    assert raised.value.name == watched.graph
    assert importlib.util.find_spec(watched.graph) is None
    assert watched.reports == []
    watched.write("graph", "value = 5\n")
    assert watched.load().value == 5
    assert len(watched.reports) == 1


def test_a_module_that_is_barred(watched) -> None:
    """None in sys.modules bars an import, and is no module."""
    sys.modules[watched.graph] = None
    with pytest.raises(ModuleNotFoundError):
        watched.load()
    watched.load_another()
    assert watched.reports == []


def test_complete_once_its_code_has_run(watched) -> None:
    """During the report, where Python still calls the module half imported, it counts as complete."""
    seen = []

    def look() -> None:
        module = sys.modules[watched.graph]
        seen.append((half_imported(module), watched.finder.is_complete(module)))

    watched.load_package()
    vars(sys.modules[watched.name])["look"] = look
    watched.write("graph", f"import {watched.name}\n{watched.name}.look()\n")
    watched.during = look
    watched.load()
    look()
    assert seen == [(True, False), (True, True), (False, True)]


@pytest.mark.parametrize(
    "module",
    [None, 3, types.ModuleType("x"), type("Raises", (), {"__getattr__": lambda self, name: 1 / 0})()],
    ids=["None", "a number", "no spec", "raises"],
)
def test_anything_else_counts_as_complete(module) -> None:
    """What stands in sys.modules may be anybody's object, and an import of it is not under way."""
    assert not half_imported(module)


# --- what the module and its loader look like --------------------------------------------------------------------


def look_of(module: Any) -> tuple[Any, ...]:
    loader = module.__spec__.loader
    package = module.__spec__.parent
    names = {name: value for name, value in vars(loader).items() if name not in ("name", "path")}
    return (
        type(loader),
        names,
        type(loader).exec_module,
        module.__loader__ is loader,
        inspect.getsource(module),
        Path(inspect.getsourcefile(module)).name,
        loader.get_source(module.__name__),
        importlib.resources.files(package).joinpath("graph.py").read_text(),
        type(importlib.util.find_spec(module.__name__).loader),
    )


def test_the_loader_is_as_without(watched) -> None:
    """Neither its class, its attributes, nor what inspect and importlib.resources do with it differ."""
    watched.load()
    with_finder = look_of(sys.modules[watched.graph])
    sys.meta_path.remove(watched.finder)
    watched.purge()
    assert look_of(watched.load()) == with_finder
    assert with_finder[0] is SourceFileLoader
    assert with_finder[1] == {}
    assert len(watched.reports) == 1


def test_the_loader_works_before_the_import(watched) -> None:
    """Whoever only looks for the module gets a loader of the same class that does what it always does."""
    loader = importlib.util.find_spec(watched.graph).loader
    assert type(loader) is SourceFileLoader
    assert loader.get_source(watched.graph) == "value = 1\n"
    assert loader.is_package(watched.graph) is False
    spec = importlib.util.find_spec(watched.graph)
    module = importlib.util.module_from_spec(spec)  # not in sys.modules: somebody's own copy
    spec.loader.exec_module(module)
    assert module.value == 1
    assert watched.reports == []
    assert watched.load() is not module
    assert watched.reports == [sys.modules[watched.graph]]


class SlottedLoader:
    __slots__ = ("source",)

    def __init__(self) -> None:
        self.source = "value = 'slotted'"

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(self.source, vars(module))


class ClassLoader:
    """Serves as a loader without being called, as BuiltinImporter does."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        return None

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        vars(module)["value"] = "class"


class OldLoader:
    def load_module(self, name: str) -> types.ModuleType:
        module = sys.modules.setdefault(name, types.ModuleType(name))
        vars(module)["value"] = "old"
        return module


class GuardedLoader(SourceFileLoader):
    """Takes no attributes."""

    def __init__(self, name: str, path: str) -> None:
        vars(self).update(name=name, path=path)

    def __setattr__(self, name: str, value: Any) -> None:
        raise RuntimeError("takes no attributes")


@pytest.mark.filterwarnings("ignore::ImportWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda little: SlottedLoader(), "slotted"),
        (lambda little: ClassLoader, "class"),
        (lambda little: OldLoader(), "old"),
        (lambda little: GuardedLoader(little.graph, str(little.folder / "graph.py")), 1),
    ],
    ids=["slots", "class", "load_module", "guarded"],
)
def test_a_loader_that_takes_no_exec_module(watched, make, value) -> None:
    """It imports as ever and is left as it was; the report comes with the next import."""
    loader = make(watched)
    if value == "old" and sys.version_info >= (3, 15):
        pytest.skip("load_module is gone")

    class Naming:
        def find_spec(self, name, path=None, target=None):
            return ModuleSpec(name, loader) if name == watched.graph else None

    sys.meta_path.insert(1, Naming())
    before = dict(vars(ClassLoader))
    module = watched.load()
    assert module.value == value
    assert module.__spec__.loader is loader
    assert dict(vars(ClassLoader)) == before
    assert watched.reports == []
    watched.load_another()
    watched.load_another()
    assert watched.reports == [module]


def test_an_exec_module_of_somebody_else(watched) -> None:
    """What others have put on the loader is called, and stands there afterwards."""
    called = []

    def theirs(module):
        called.append(module.__name__)
        SourceFileLoader.exec_module(module.__spec__.loader, module)

    class Wrapping:
        def find_spec(self, name, path=None, target=None):
            spec = PathFinder.find_spec(name, path, target)
            if name == watched.graph:
                spec.loader.exec_module = theirs
            return spec

    sys.meta_path.insert(1, Wrapping())
    module = watched.load()
    assert called == [watched.graph]
    assert vars(module.__loader__)["exec_module"] is theirs
    assert watched.reports == [module]


def test_an_exec_module_over_ours(watched) -> None:
    """What others put on the loader after us stays there, and calls ours as long as they like."""
    spec = importlib.util.find_spec(watched.graph)
    ours = spec.loader.exec_module
    called = []

    def theirs(module):
        called.append(module.__name__)
        ours(module)

    spec.loader.exec_module = theirs

    class Naming:
        def find_spec(self, name, path=None, target=None):
            return spec if name == watched.graph else None

    sys.meta_path.insert(0, Naming())
    for _ in range(2):
        watched.purge()
        assert watched.load().value == 1
        assert spec.loader.exec_module is theirs
    assert called == [watched.graph] * 2
    assert len(watched.reports) == 2


# --- a zip, whose modules share one loader -----------------------------------------------------------------------


@pytest.fixture
def zipped(little: Little, tmp_path: Path) -> Little:
    """A little package in a zip on sys.path, whose finder is installed."""
    for number in range(3):
        little.write(f"sibling_{number}", f"value = {number}\n")
    archive = tmp_path / "little.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for source in little.folder.iterdir():
            file.write(source, f"{little.name}/{source.name}")
    shutil.rmtree(little.folder)
    sys.path.insert(0, str(archive))
    importlib.invalidate_caches()
    little.finder.install()
    return little


def test_a_module_of_a_zip_is_reported(zipped) -> None:
    """The loader that the zip's modules share is the same, with the same attributes, afterwards."""
    shared = zipped.load("sibling_0").__loader__
    before = set(vars(shared))
    assert zipped.reports == []
    module = zipped.load()
    assert module.__loader__ is shared
    assert module.value == 1
    assert inspect.getsource(module) == "value = 1\n"
    assert zipped.reports == [module]
    assert set(vars(shared)) == before
    importlib.reload(module)
    assert zipped.reports == [module, module]
    assert set(vars(shared)) == before


def test_other_modules_of_a_zip(zipped) -> None:
    """Other modules of the zip are imported as ever, also between the search for the module and its import."""
    before = set(vars(zipped.load("sibling_0").__loader__))
    assert importlib.util.find_spec(zipped.graph) is not None
    assert zipped.load("sibling_1").value == 1
    assert zipped.reports == []
    assert importlib.util.find_spec(zipped.graph) is not None
    zipped.during = lambda: zipped.load("sibling_2")
    module = zipped.load()
    assert zipped.reports == [module]
    assert sys.modules[f"{zipped.name}.sibling_2"].value == 2
    assert set(vars(module.__loader__)) == before


def test_others_of_a_zip_in_between(zipped) -> None:
    """Another thread may import from the zip after the module was found and before it is executed."""
    siblings = [zipped.load("sibling_0")]

    class Between:
        def find_spec(self, name, path=None, target=None):
            spec = zipped.finder.find_spec(name, path, target)
            if name == zipped.graph:
                siblings.append(zipped.load("sibling_1"))
            return spec

    sys.meta_path.insert(0, Between())
    module = zipped.load()
    assert [sibling.value for sibling in siblings] == [0, 1]
    assert zipped.reports == [module]
    assert "exec_module" not in vars(module.__loader__)


def test_a_search_in_a_zip_does_not_pile_up(zipped) -> None:
    """However often the module is searched for, the shared loader carries one exec_module of ours."""
    for _ in range(2 * sys.getrecursionlimit()):
        importlib.util.find_spec(zipped.graph)
    module = zipped.load()
    assert zipped.reports == [module]
    assert "exec_module" not in vars(module.__loader__)


# --- other finders -----------------------------------------------------------------------------------------------


class Noting:
    """Finds nothing, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        self.asked.append(name)
        return None


class AskingOthers(Noting):
    """Asks all the others, whoever asks it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        self.asked.append(name)
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        return next(filter(None, found), None)


class Asking:
    """Asks all the others what they find, and takes itself out meanwhile, as import hooks do."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._asking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if self._asking:
            return None
        self._asking = True
        self.asked.append(name)
        try:
            for finder in list(sys.meta_path):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
            return None
        finally:
            self._asking = False


@pytest.mark.parametrize("kind", [Asking, AskingOthers])
@pytest.mark.parametrize("place", [0, 1])
def test_another_finder_that_asks_all(watched, kind, place) -> None:
    """In front of ours or behind it, it is asked, and the module is reported once."""
    asking = kind()
    sys.meta_path.insert(place, asking)
    module = watched.load()
    assert watched.graph in asking.asked
    assert watched.reports == [module]
    assert "exec_module" not in vars(module.__loader__)
    importlib.reload(module)
    watched.purge()
    watched.load()
    watched.load_another()
    assert len(watched.reports) == 3


def test_each_finder_is_asked_once(watched) -> None:
    """In front of ours and behind it, as without."""
    front, behind = Noting(), Noting()
    sys.meta_path.insert(0, front)
    sys.meta_path.insert(2, behind)
    watched.load()
    watched.load_another()
    assert front.asked == behind.asked
    assert len(front.asked) == len(set(front.asked)) == 3


def test_two_finders_that_ask_all(watched) -> None:
    """One in front and one behind, each of which asks the other and ours."""
    sys.meta_path.insert(0, Asking())
    sys.meta_path.insert(2, Asking())
    module = watched.load()
    assert watched.reports == [module]
    watched.load_another()
    assert watched.reports == [module]


def test_a_finder_that_answers_alone(watched) -> None:
    """Where ours is not asked, the report comes with the next import, of whatever module."""

    class Alone:
        def find_spec(self, name, path=None, target=None):
            return PathFinder.find_spec(name, path, target) if name == watched.graph else None

    sys.meta_path.insert(0, Alone())
    for _ in range(2):
        watched.reports.clear()
        watched.purge()
        module = watched.load()
        assert watched.reports == []
        another = watched.load_another()
        assert "exec_module" not in vars(another.__loader__)
        watched.load_another()
        assert watched.reports == [module]


def test_a_finder_that_raises(watched) -> None:
    """It fails the import as it would without ours, and is asked again the next time."""
    failing = [ArithmeticError("from a finder")]

    class Raising:
        def find_spec(self, name, path=None, target=None):
            if name == watched.graph and failing:
                raise failing.pop()

    sys.meta_path.insert(1, Raising())
    with pytest.raises(ArithmeticError, match="from a finder"):
        watched.load()
    module = watched.load()
    assert watched.reports == [module]


def test_a_finder_that_imports(watched) -> None:
    """A finder behind ours may import what it needs, while it is asked for the module."""

    class Importing:
        def find_spec(self, name, path=None, target=None):
            if name == watched.graph:
                watched.load_another()

    sys.meta_path.insert(1, Importing())
    module = watched.load()
    assert watched.reports == [module]
    watched.load_another()
    assert watched.reports == [module]


@pytest.mark.filterwarnings("ignore::ImportWarning")
def test_an_old_finder(watched) -> None:
    """Python 3.10 and 3.11 still ask a finder that has only find_module, and later ones pass over it."""
    asked = []

    class Old:
        def find_module(self, name, path=None):
            asked.append(name)
            return OldLoader() if name == watched.graph else None

    sys.meta_path.insert(1, Old())  # type: ignore[arg-type]
    module = watched.load()
    serves = sys.version_info < (3, 12)
    assert module.value == ("old" if serves else 1)
    assert (watched.graph in asked) is serves


@pytest.mark.filterwarnings("ignore::ImportWarning")
def test_an_old_finder_in_between(watched) -> None:
    """An old finder that does not have the module hides nothing of what is behind it."""

    class Old:
        def find_module(self, name, path=None):
            return None

    sys.meta_path.insert(1, Old())  # type: ignore[arg-type]
    module = watched.load()
    watched.load_another()
    assert watched.reports == [module]


def test_a_lazy_module_stays_lazy(watched) -> None:
    """What LazyLoader stands in for is neither executed by a look at it nor reported before it is."""
    spec = importlib.util.find_spec(watched.graph)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[watched.graph] = module
    spec.loader.exec_module(module)
    watched.load_another()
    assert not watched.finder.is_complete(module)
    assert "value" not in object.__getattribute__(module, "__dict__")
    assert watched.reports == []
    assert module.value == 1
    assert watched.reports == [module]


def test_a_reload_under_way(watched) -> None:
    """A reload is not complete before its end, of which Python says only that an import is going on."""
    package = watched.load_package()
    seen = []
    package.look = lambda: seen.append(watched.finder.is_complete(sys.modules[watched.graph]))
    watched.write("graph", f"import {watched.name}\n{watched.name}.look()\n")
    module = watched.load()
    importlib.reload(module)
    assert seen == [False, False]
    assert watched.finder.is_complete(module)


def test_two_finders_of_one_copy(watched) -> None:
    """As after a reload of the package: both report."""
    reports = []
    LoadingFinder(watched.graph, lambda: reports.append(sys.modules[watched.graph])).install()
    module = watched.load()
    assert reports == watched.reports == [module]


def test_two_copies_of_the_package(watched) -> None:
    """Each one reports, and together they leave the loader as it was, in whatever order they stand."""
    copy = watched.folder / "copy"
    for folder, module in ((copy, replacement), (copy / "inductor", loading)):
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        shutil.copy(module.__file__, folder)
    importlib.invalidate_caches()
    reports = []
    theirs = watched.load("copy.inductor.loading").LoadingFinder
    assert theirs is not LoadingFinder
    other = theirs(watched.graph, lambda: reports.append(sys.modules[watched.graph]))
    for place in (0, 1):
        watched.reports.clear()
        reports.clear()
        watched.purge()
        sys.meta_path.insert(sys.meta_path.index(watched.finder) + place, other)
        module = watched.load()
        assert watched.reports == reports == [module]
        assert "exec_module" not in vars(module.__loader__)
        watched.load_another()
        assert watched.reports == reports == [module]
        sys.meta_path.remove(other)


def test_installed_once_however_often_asked(little) -> None:
    """A finder that stands anywhere in sys.meta_path stays where it is."""
    before = sys.meta_path[:]
    little.finder.install()
    assert sys.meta_path == [little.finder, *before]
    sys.meta_path.insert(0, Asking())
    little.finder.install()
    assert sys.meta_path.count(little.finder) == 1
    assert sys.meta_path.index(little.finder) == 1


@pytest.mark.parametrize("lazy", [False, True])
def test_an_import_by_hand_is_reported(watched, lazy) -> None:
    """As the documentation of importlib shows it; what LazyLoader puts off is reported once it is done."""
    seen = watched.load_package().seen = []
    watched.write("needed", "")
    watched.write(
        "graph",
        f"from {watched.name} import needed, seen\nseen.append('executed')\nvalue = 1\n",
    )
    watched.during = lambda: seen.append("reported")
    spec = importlib.util.find_spec(watched.graph)
    if lazy:
        spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[watched.graph] = module
    spec.loader.exec_module(module)
    assert bool(watched.reports) is not lazy
    assert module.value == 1
    assert seen == ["executed", "reported"]
    watched.load_another()
    assert watched.reports == [module]


# --- a module whose import ours did not see begin ----------------------------------------------------------------


@pytest.fixture
def gated(little: Little) -> Iterator[Little]:
    """A little package whose module stops in the middle of its import until ``go`` is set, or fails then."""
    little.write(
        "__init__",
        "import threading\nstarted, go, failing = threading.Event(), threading.Event(), []\n",
    )
    little.write(
        "graph",
        f"import {little.name} as package\n"
        "package.started.set()\n"
        f"assert package.go.wait({DEADLINE})\n"
        "assert not package.failing\n"
        "value = 1\n",
    )
    little.load_package()
    yield little
    sys.modules[little.name].go.set()


def begin(gated: Little) -> tuple[Any, threading.Thread]:
    def load() -> None:
        try:
            gated.load()
        except AssertionError:
            assert package.failing

    package = sys.modules[gated.name]
    thread = in_thread(load)
    assert package.started.wait(DEADLINE)
    return package, thread


def test_half_imported_at_the_start(gated) -> None:
    """No report comes while it runs; one comes with the next import after that, of whatever module."""
    package, thread = begin(gated)
    assert half_imported(sys.modules[gated.graph])
    gated.finder.install()
    modules = [gated.load_another() for _ in range(3)]
    assert gated.reports == []
    package.go.set()
    assert ended(thread)
    assert gated.reports == []
    modules += [gated.load_another() for _ in range(3)]
    assert gated.reports == [sys.modules[gated.graph]]
    assert not any("exec_module" in vars(module.__loader__) for module in modules)


def test_complete_while_another_is_imported(gated) -> None:
    """Where it becomes complete during the next import, the end of that import brings the report."""
    package, thread = begin(gated)
    gated.finder.install()

    def finish() -> None:
        assert gated.reports == []
        package.go.set()
        assert ended(thread)

    package.finish = finish
    gated.write("next_one", f"import {gated.name}\n{gated.name}.finish()\n")
    gated.load("next_one")
    assert gated.reports == [sys.modules[gated.graph]]
    gated.load_another()
    assert len(gated.reports) == 1


def test_half_imported_and_then_failed(gated) -> None:
    """Nothing is reported for it, and what is tried again is reported as ever."""
    package, thread = begin(gated)
    gated.finder.install()
    gated.load_another()
    package.failing.append(True)
    package.go.set()
    assert ended(thread)
    gated.load_another()
    assert gated.reports == []
    package.failing.clear()
    module = gated.load()
    assert gated.reports == [module]
    gated.load_another()
    assert gated.reports == [module]


def test_complete_before_ours_is_installed(little) -> None:
    """A module that is there already is reported with the next import; that may raise as ever."""
    module = little.load()
    little.finder.install()
    little.write("broken", "raise ArithmeticError\n")
    with pytest.raises(ArithmeticError):
        little.load("broken")
    assert little.reports == []
    little.load_another()
    little.load_another()
    assert little.reports == [module]


def test_an_import_in_the_middle_of_it(watched) -> None:
    """What the module imports brings no report, as it is not complete."""
    watched.load_package()
    watched.write("needed", "value = 7\n")
    counts: list[int] = []
    vars(sys.modules[watched.name]).update(counts=counts, reports=watched.reports)
    watched.write(
        "graph",
        f"from {watched.name} import counts, reports, needed\ncounts.append(len(reports))\n",
    )
    module = watched.load()
    importlib.reload(module)
    assert counts == [0, 1]
    assert watched.reports == [module, module]


# --- what is done under Python's global import lock --------------------------------------------------------------


def test_a_search_leaves_nothing(watched) -> None:
    """A search without an import afterwards keeps no loader, and no state, alive."""
    before = {name: repr(value) for name, value in vars(watched.finder).items()}
    loaders = []
    for _ in range(50):
        loader = importlib.util.find_spec(watched.graph).loader
        loaders.append(weakref.ref(loader))
    del loader
    gc.collect()
    assert [reference() for reference in loaders] == [None] * 50
    assert {name: repr(value) for name, value in vars(watched.finder).items()} == before
    assert watched.reports == []
    module = watched.load()
    assert watched.reports == [module]


def _forbidden(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError(f"forbidden under the global import lock: {args[:1]}")


FORBIDDEN = [
    (threading, "Lock"),
    (threading, "RLock"),
    (logging.Logger, "isEnabledFor"),
    (logging.Logger, "_log"),
    (importlib, "import_module"),
    (builtins, "__import__"),
]


@pytest.mark.parametrize("missed", [False, True])
def test_a_search_only_looks(little, monkeypatch, missed) -> None:
    """It imports nothing, takes no lock, logs nothing, and runs no code but its own and that of Python's finders."""
    name, path = little.graph, little.load_package().__path__
    if missed:
        little.load()
        little.write("another", "")
        name = f"{little.name}.another"
    little.finder.install()
    # Python's own finder only, and what that keeps from its first search.
    sys.meta_path[:] = [little.finder, PathFinder]
    little.finder.find_spec(name, path)

    ran: set[str] = set()
    called: set[str] = set()

    def profile(frame, event, argument):
        if event == "call":
            ran.add(frame.f_code.co_filename)
        elif event == "c_call":
            called.add(argument.__name__)

    with monkeypatch.context() as patch:
        for owner, name_of_it in FORBIDDEN:
            patch.setattr(owner, name_of_it, _forbidden)
        # The collector calls back whoever asked it to, such as hypothesis.
        gc.disable()
        sys.setprofile(profile)
        try:
            spec = little.finder.find_spec(name, path)
        finally:
            sys.setprofile(None)
            gc.enable()
    assert "exec_module" in vars(spec.loader)
    ran = {file for file in ran if not file.startswith("<frozen ") and Path(file).name != "contextlib.py"}
    assert ran == {loading.__file__, replacement.__file__}
    assert called.isdisjoint({"acquire", "acquire_lock", "allocate_lock", "write"})
    # A lock in a `with` is no call that a profiler sees.
    held = [*vars(little.finder).values(), *vars(loading).values(), *vars(replacement).values()]
    assert not any(hasattr(value, "acquire") for value in held)
    assert little.reports == []


def test_other_imports_are_not_looked_at(watched) -> None:
    """Ours asks nobody for another module: before the import, in the middle of it, nor once it is complete."""
    behind = Noting()
    sys.meta_path.insert(1, behind)
    seen = watched.load_package().seen = []

    def look() -> None:
        watched.finder.find_spec("json.tool")
        seen.append("json.tool" in behind.asked)

    vars(sys.modules[watched.name])["look"] = look
    watched.write("graph", f"from {watched.name} import look\nlook()\n")
    look()
    watched.load()
    look()
    assert seen == [False, False, False]


# --- whatever happens --------------------------------------------------------------------------------------------


def _fail(little: Little) -> None:
    little.purge()
    little.write("graph", "raise ArithmeticError\n")
    with pytest.raises(ArithmeticError):
        little.load()
    little.write("graph", "value = 1\n")


def _behind_our_back(little: Little) -> None:
    sys.meta_path.remove(little.finder)
    little.load()
    sys.meta_path.insert(0, little.finder)


def _replace(little: Little) -> None:
    spec = ModuleSpec(little.graph, None)
    sys.modules[little.graph] = importlib.util.module_from_spec(spec)


OPERATIONS: dict[str, Callable[[Little], Any]] = {
    "import": Little.load,
    "import another": Little.load_another,
    "purge": Little.purge,
    "reload": lambda little: importlib.reload(little.load()),
    "search": lambda little: importlib.util.find_spec(little.graph),
    "fail": _fail,
    "unseen import": _behind_our_back,
    "replace": _replace,
    "finder in front": lambda little: sys.meta_path.insert(0, Asking()),
    "finder behind": lambda little: sys.meta_path.insert(sys.meta_path.index(little.finder) + 1, Asking()),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=12))
def test_nothing_is_missed_for_long(tmp_path_factory, names) -> None:
    """Whatever happened, the last report is of what stands in sys.modules, at the latest after one more import."""
    with little_package(tmp_path_factory.mktemp("little")) as little:
        little.load_package()
        little.finder.install()
        for name in names:
            before, is_new = len(little.reports), little.graph not in sys.modules
            OPERATIONS[name](little)
            if is_new and name == "import":
                assert little.reports[before:] == [sys.modules[little.graph]]
        little.load_another()
        standing = sys.modules.get(little.graph)
        if standing is not None:
            assert little.reports[-1] is standing
        count = len(little.reports)
        another = little.load_another()
        assert len(little.reports) == count
        assert "exec_module" not in vars(another.__loader__)


def test_a_list_that_is_none(watched, monkeypatch) -> None:
    """Python sets it to None as it ends: then the finder counts as not installed, and cannot be installed."""
    assert watched.finder.is_installed()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", None)
        assert not watched.finder.is_installed()
        with pytest.raises(AttributeError, match="NoneType"):
            watched.finder.install()
    assert watched.finder.is_installed()


# --- beside importing threads, in fresh processes ----------------------------------------------------------------

MODULES = ["inspect", "asyncio", "importlib.metadata", "concurrent.futures"]
EIGHT = [*MODULES, "email.message", "unittest.mock", "xml.dom.minidom", "http.server"]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-in for Inductor as files, as real packages are."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name, source in SOURCES.items():
        path = folder.joinpath(*name.split("."))
        is_package = any(other.startswith(f"{name}.") for other in SOURCES)
        path = path / "__init__.py" if is_package else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    (folder / "unheard_of.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def run_each(elsewhere: Path) -> Callable[[list[list[str]]], None]:
    """Run import_worker.py once for each list of arguments, two at a time; none of them may hang."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOWERING_HOOKS")}
    package = Path(lowering_hooks.__file__).parent.parent
    path = [str(elsewhere), str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    # PYTHONPATH may be what others need to be found, but the stand-in goes first.
    environment = {**kept, "PYTHONPATH": os.pathsep.join(path), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}

    def run(arguments: list[str]) -> None:
        done = subprocess.run(
            [sys.executable, str(WORKER), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
            cwd=elsewhere,
            env=environment,
        )
        assert done.stdout == "ok\n", f"{arguments}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        assert "Traceback" not in done.stderr, done.stderr[-4000:]

    def run_two_at_a_time(each: list[list[str]]) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, each))

    return run_two_at_a_time


def test_no_deadlock_with_a_slow_import(run_each) -> None:
    """A thread holds the lock of a module that hooking needs, and goes on importing: nobody waits for ever."""
    slow = ["inspect", "importlib.metadata", "packaging.version", "lowering_hooks.hooks"]
    run_each([["beside_a_slow_import", module] for module in slow])


def test_no_deadlock_beside_an_import(run_each) -> None:
    """Forty processes import PyTorch while a thread imports something, at some moment."""
    run_each([["beside_imports", module] for module in MODULES * 10])


def test_no_deadlock_beside_eight_imports(run_each) -> None:
    """Eight threads import something at once."""
    run_each([["beside_imports", *EIGHT]] * 8)


def test_no_deadlock_by_find_spec(run_each) -> None:
    """importlib.util.find_spec, which many libraries call, is as harmless as an import."""
    run_each([["beside_a_look", module] for module in MODULES * 2])


def test_no_deadlock_beside_our_own_calls(run_each) -> None:
    """apply(), allow() and status() in threads, while another imports Inductor, and others whatever they need."""
    run_each([["beside_calls", module] for module in MODULES * 2] + [["beside_calls", *EIGHT]] * 4)
