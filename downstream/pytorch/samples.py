"""The samples of PyTorch's own databases: what each operator of ``torch.testing._internal`` is tried with."""

from __future__ import annotations

import itertools
import random
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import torch

# Maps each database to its module, and to how many samples of each of its operators are compiled in each way
# that goes through `torch.compile`.  The small ones are about custom ops and higher-order operators.
DATABASES: Final = {
    "custom_op_db": ("torch.testing._internal.custom_op_db", 6),
    "autograd_function_db": ("torch.testing._internal.autograd_function_db", 6),
    "hop_db": ("torch.testing._internal.hop_db", 4),
    "op_db": ("torch.testing._internal.common_methods_invocations", 1),
}
# Says how many samples of each operator of `op_db` are traced, and compiled as custom ops, and how many of
# these are compiled as fallbacks, too.
TRACED: Final = 3
FALLBACKS: Final = 2


@dataclass(frozen=True)
class Sample:
    """One call of an operator.

    Attributes:
        name: The database, the operator, the dtype and the number of the sample.
        function: The operator.
        arguments: What it is called with: ``input``, ``args`` and ``kwargs``.
        is_differentiable: Whether gradients can be asked for.
    """

    name: str
    function: Any
    arguments: tuple[Any, tuple[Any, ...], dict[str, Any]]
    is_differentiable: bool


@dataclass(frozen=True)
class Missing:
    """A database, or an operator, that has no samples here, and why."""

    name: str
    reason: str


def operators(database: str) -> list[tuple[str, Any]]:
    """Return the operators of a database with their names; its module may not be in this PyTorch.

    Raises:
        ImportError: It is not, or lacks a module that it wants.
    """
    found: dict[str, Any] = {}
    for op in getattr(import_module(DATABASES[database][0]), database):
        name = f"{database}/{op.name}" + (f".{op.variant_test_name}" if op.variant_test_name else "")
        while name in found:
            name += "'"
        found[name] = op
    return list(found.items())


def samples(name: str, op: Any, count: int, *, requires_grad: bool) -> Iterator[Sample | Missing]:
    """Return the first samples of an operator, which are the same in every process."""
    supported = op.supported_dtypes("cpu")
    if not supported:
        yield Missing(name, "supports no dtype on a CPU")
        return
    dtype = torch.float32 if torch.float32 in supported else min(supported, key=str)
    is_differentiable = bool(op.supports_autograd) and dtype.is_floating_point
    seed()
    try:
        # Not `op.sample_inputs`, which looks through all source on the stack for the name of a test.
        known = op.sample_inputs_func(op, "cpu", dtype, requires_grad and is_differentiable)
        for index, sample in enumerate(itertools.islice(known, count)):
            yield Sample(
                f"{name}/{str(dtype).removeprefix('torch.')}/{index}",
                _function(op.op),
                (sample.input, tuple(sample.args), dict(sample.kwargs)),
                is_differentiable,
            )
    except Exception as error:  # the database's own: some need a GPU to list anything
        yield Missing(name, f"{type(error).__name__}: {error}".split("\n")[0][:200])


def _function(op: Any) -> Any:
    """Return ``op`` as a function of Python, which PyTorch 2.0 compiles nothing else than."""
    return op if isinstance(op, types.FunctionType) else lambda *args, **kwargs: op(*args, **kwargs)


def seed() -> None:
    """Have the generators of random numbers begin anew."""
    torch.manual_seed(0)
    random.seed(0)
    try:
        numpy = import_module("numpy")
    except ImportError:
        return
    numpy.random.seed(0)
