"""The environment of a process that compiles: neither the user's settings nor earlier compiles change it.

This needs no PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

# Variables that begin so are not passed on: they change what is compiled, logged or hooked.
_CLEARED: Final = ("LOWERING_HOOKS", "TORCH_LOGS", "TORCH_COMPILE", "TORCHDYNAMO", "TORCHINDUCTOR")
# With CI set, Inductor refuses a fallback for an op that has a decomposition.
_CLEARED_NAMES: Final = ("CI",)

# A cached graph is not lowered.  Disabling every cache would, on 2.5 to 2.7, also put the path of a folder
# made for the process into the generated code.
_UNCACHED: Final = {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_AUTOGRAD_CACHE": "0"}
_QUICK: Final = {
    # No pool of compile processes: each would import PyTorch first, and outlive its killed parent.
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    # Scalar C++: finding out what vector instructions there are takes every process 20 s.
    "TORCHINDUCTOR_VEC_ISA_OK": "0",
}


def uncached(
    cache: str | os.PathLike[str],
    *,
    keep: Collection[str] = (),
    clear: tuple[str, ...] = (),
    autoload: bool = True,
    quick: bool = True,
) -> dict[str, str]:
    """Return this process's environment, changed so that another one lowers every graph that it compiles.

    Args:
        cache: The folder for what is compiled from generated code, which may be used again.
        keep: Names of variables that are passed on although they would be cleared.
        clear: What the names of further variables begin with that are not passed on.
        autoload: Whether ``import torch`` may load lowering-hooks.  A process that is to be stock, or that
            imports lowering-hooks itself, forbids it.
        quick: Whether Inductor compiles in one thread and writes scalar C++, so that a small model takes
            seconds.
    """
    prefixes = _CLEARED + clear
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name in keep or not (name.startswith(prefixes) or name in _CLEARED_NAMES)
    }
    if not autoload:
        passed_on["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    return passed_on | settings(cache, quick=quick)


def settings(cache: str | os.PathLike[str], *, quick: bool = True) -> dict[str, str]:
    """Return only the variables that :func:`uncached` sets for Inductor, for a process to set its own.

    Inductor reads them when it is imported, so they must be set before.
    """
    found = _UNCACHED | {"TORCHINDUCTOR_CACHE_DIR": os.fspath(cache)}
    return found | _QUICK if quick else found
