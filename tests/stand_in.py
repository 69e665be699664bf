"""A stand-in for PyTorch's Inductor: the modules that lowering-hooks touches, small, and importable like the real ones.

It needs no PyTorch.  Where PyTorch is loaded, its modules are put aside as long as the stand-in is there.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lowering_hooks.inductor.loading import LoadingFinder

SOURCES = {
    "torch": """
from . import _ops
from ._library import utils
__version__ = '2.12.1'
class Tensor:
    pass
class _Packet:
    def __init__(self, name):
        self.default = _ops.OpOverload(name)
    def overloads(self):
        return ["default"]
class _Namespace:
    def __init__(self, name):
        self._name = name
    def __getattr__(self, op):
        return self.__dict__.setdefault(op, _Packet(f"{self._name}::{op}"))
class _Ops:
    def __getattr__(self, name):
        return self.__dict__.setdefault(name, _Namespace(name))
ops = _Ops()
""",
    "torch._library": "",
    "torch._library.utils": """
def get_layout_constraint_tag(op, with_default=True):
    return "exact strides"
""",
    "torch._ops": """
class OpOverload:
    def __init__(self, name):
        self.namespace, _, self.op = name.partition("::")
    def name(self):
        return f"{self.namespace}::{self.op}"
    def __str__(self):
        return f"{self.namespace}.{self.op}.default"
""",
    "torch._inductor": "",
    "torch._inductor.exc": '''
class OperatorIssue(RuntimeError):
    @staticmethod
    def operator_str(target, args, kwargs):
        """Inductor's own text."""
        return f"stock text of {target}"
class LoweringException(OperatorIssue):
    def __init__(self, cause, target, args, kwargs):
        super().__init__(f"{cause}\\n{self.operator_str(target, args, kwargs)}")
''',
    "torch._inductor.ir": """
class IRNode:
    def __str__(self):
        return f"{type(self).__name__}({getattr(self, 'inputs', '')})"
    __repr__ = __str__
""",
    "torch._inductor.virtualized": """
class V:
    graph = None
""",
    "torch._inductor.lowering": """
class config:
    implicit_fallbacks = True
lowerings = {}
FALLBACK_ALLOW_LIST = {"lib::listed"}
def add_layout_constraint(op, constraint):
    _maybe_layout_constraints[op] = constraint
def tag_to_layout_constraint(tag):
    return f"constraint for {tag}"
_maybe_layout_constraints = {}
""",
    # The text is asked for by call_function itself, as up to PyTorch 2.12.
    "torch._inductor.graph": '''
import logging
from . import ir
from .exc import OperatorIssue, LoweringException
from .lowering import FALLBACK_ALLOW_LIST, lowerings
from .virtualized import V
log = logging.getLogger("stand-in for torch._inductor.graph")
class GraphLowering:
    def __init__(self):
        self.texts, self.branches = [], []
    def call_function(self, target, args, kwargs):
        """Lower one node."""
        if target not in lowerings:
            if getattr(target, "name", lambda: "")() in FALLBACK_ALLOW_LIST:
                self.branches.append("allow list")
            else:
                self.branches.append("implicit fallback")
                self.texts.append(OperatorIssue.operator_str(target, args, kwargs))
            lowerings[target] = "fallback"
        try:
            for inner in args:
                inner()
        except ArithmeticError as error:
            raise LoweringException(error, target, args, kwargs) from None
        return target
''',
}
GRAPH = "torch._inductor.graph"


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and executes the modules of the stand-in, and no other of PyTorch."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name in SOURCES:
            is_package = any(other.startswith(f"{name}.") for other in SOURCES)
            # A loader of its own for each module, as Python's own finders make them.
            return importlib.machinery.ModuleSpec(name, _Importer(), is_package=is_package)
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"the stand-in has no {name}", name=name)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(SOURCES[module.__name__], f"stand_in/{module.__name__}", "exec"), vars(module))


@contextmanager
def stand_in() -> Iterator[None]:
    """Have ``import torch._inductor.graph`` import the stand-in; all is as before afterwards."""
    aside = {name: module for name, module in sys.modules.items() if _is_torchs(name)}
    meta_path = sys.meta_path[:]
    for name in aside:
        del sys.modules[name]
    # The finder of the process's own manager, which the tests did not make, would have it hook the stand-in.
    others = [finder for finder in meta_path if not isinstance(finder, LoadingFinder)]
    sys.meta_path[:] = [_Importer(), *others]
    try:
        yield
    finally:
        purge()
        sys.modules.update(aside)
        sys.meta_path[:] = meta_path


def load() -> types.SimpleNamespace:
    """Import the stand-in, and return its modules by their last name."""
    for name in SOURCES:
        importlib.import_module(name)
    return types.SimpleNamespace(**{name.rpartition(".")[2]: sys.modules[name] for name in SOURCES})


def standing(stand: Any) -> tuple[Any, ...]:
    """Return what stands in each place that lowering-hooks may put something into."""
    return (
        vars(stand.graph.GraphLowering)["call_function"],
        vars(stand.exc.OperatorIssue)["operator_str"],
        stand.lowering.FALLBACK_ALLOW_LIST,
        stand.graph.FALLBACK_ALLOW_LIST,
    )


def same(ones: tuple[object, ...], others: tuple[object, ...]) -> bool:
    """Whether both have the very same objects."""
    return all(one is other for one, other in zip(ones, others, strict=True))


def purge(*names: str) -> None:
    """Take modules of the stand-in out of ``sys.modules``, as some test runners do; all of them without names."""
    for name in [name for name in sys.modules if _is_torchs(name)]:
        if not names or name in names:
            del sys.modules[name]


def _is_torchs(name: str) -> bool:
    return name.partition(".")[0] == "torch"
