"""Imports the stand-in for Inductor while other threads import other modules, and looks whether it got hooked.

``python import_worker.py WAY MODULE...`` is run by test_loading.py, with the stand-in on PYTHONPATH.  A process that
hangs ends itself after DEADLINE seconds, with the stack of each thread on standard error.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import random
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import SourceFileLoader

import lowering_hooks

DEADLINE = 60
GRAPH = "torch._inductor.graph"


def in_threads(*functions: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def pause() -> None:
    time.sleep(random.random() * 0.02)


def import_each(modules: list[str]) -> list[threading.Thread]:
    """Import each of ``modules`` in a thread of its own, whether or not they are imported already."""
    for name in modules:
        sys.modules.pop(name, None)
    return in_threads(*(lambda name=name: importlib.import_module(name) for name in modules))


def beside_a_slow_import(modules: list[str]) -> list[threading.Thread]:
    """Import Inductor while a thread is in the middle of a module, and is about to import another one."""
    (slow,) = modules
    started = threading.Event()
    execute = SourceFileLoader.exec_module

    def exec_module(loader, module):
        if module.__name__ == slow:
            started.set()
            time.sleep(0.5)
            importlib.import_module("unheard_of")
        execute(loader, module)

    SourceFileLoader.exec_module = exec_module
    threads = import_each(modules)
    assert started.wait(DEADLINE)
    import torch._inductor.graph  # noqa: F401

    return threads


def beside_imports(modules: list[str]) -> list[threading.Thread]:
    threads = import_each(modules)
    pause()
    importlib.import_module("torch")
    importlib.import_module(GRAPH)
    return threads


def beside_a_look(modules: list[str]) -> list[threading.Thread]:
    """Only look for PyTorch, as a library does for which it is optional; a thread imports it."""
    threads = import_each(modules)
    pause()
    assert importlib.util.find_spec("torch") is not None
    threads += in_threads(lambda: importlib.import_module(GRAPH))
    assert importlib.util.find_spec("torch") is not None
    assert importlib.util.find_spec(GRAPH) is not None
    return threads


def beside_calls(modules: list[str]) -> list[threading.Thread]:
    """Import Inductor in one thread, while others call what lowering-hooks offers."""

    def call() -> None:
        pause()
        lowering_hooks.apply()
        lowering_hooks.allow("mylib")
        str(lowering_hooks.status())

    def import_inductor() -> None:
        pause()
        importlib.import_module(GRAPH)

    return [*import_each(modules), *in_threads(call, import_inductor, call, lowering_hooks.status)]


WAYS = {
    function.__name__: function
    for function in (beside_a_slow_import, beside_imports, beside_a_look, beside_calls)
}


def main(way: str, *modules: str) -> None:
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    problems: list[object] = []
    threading.excepthook = problems.append  # a thread that raises would go unnoticed
    for thread in WAYS[way](list(modules)):
        thread.join()
    assert not problems, problems

    # The import itself has hooked: nothing has been called since.
    assert vars(sys.modules[GRAPH].GraphLowering)["call_function"].__wrapped__
    status = lowering_hooks.status()
    assert (status.state, status.strategy) == ("active", "call_function"), status
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
