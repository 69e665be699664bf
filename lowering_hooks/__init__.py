"""Ends the ``torch.compile`` hang of custom ops without a lowering, and changes nothing else.

Importing this package applies it: at once where Inductor is loaded, else when it loads.  PyTorch is not
imported.  See the README for the environment variables.
"""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager

try:
    from .layer import Layer, State, Status
except ModuleNotFoundError as error:
    if error.name != "lowering_hooks.compat":
        raise
    raise ImportError(
        "lowering_hooks was found as a folder of a checkout, where compat/ lies beside it: "
        "run `pip install -e .` in the checkout, or start Python in another folder"
    ) from error
from .compat import Strategy
from .records import OpReport, Report
from .settings import read

__all__ = [
    "OpReport",
    "Report",
    "State",
    "Status",
    "Strategy",
    "allow",
    "allowed_namespaces",
    "allowing",
    "apply",
    "disallow",
    "remove",
    "report",
    "reset_report",
    "status",
]

_layer = Layer(read(os.environ))


def allow(*namespaces: str) -> frozenset[str]:
    """Allow ``namespaces`` in this process: their ops are described in bounded text from now on.

    Args:
        *namespaces: The parts of op names before ``::``, compared exactly; ``"*"`` for every one.

    Returns:
        The namespaces now allowed.

    Raises:
        ValueError: One of them is empty, not a string, or contains a colon, a comma, a blank or ``*``
            among other characters.  None is taken then.
    """
    return _layer.namespaces.allow(namespaces)


def disallow(*namespaces: str) -> frozenset[str]:
    """No longer allow ``namespaces`` in this process, the default ones included.

    One that is not allowed is passed over.  ``"*"`` takes back an earlier ``allow("*")`` and nothing else,
    and a namespace stays covered as long as ``"*"`` is allowed.

    Args:
        *namespaces: As for :func:`allow`.

    Returns:
        The namespaces now allowed.

    Raises:
        ValueError: As for :func:`allow`.
    """
    return _layer.namespaces.disallow(namespaces)


def allowed_namespaces() -> frozenset[str]:
    """Return the namespaces allowed here and now, those of enclosing :func:`allowing` blocks included."""
    return _layer.namespaces.current()


def allowing(*namespaces: str) -> AbstractContextManager[frozenset[str]]:
    """Allow ``namespaces`` in a ``with`` block, for the thread or task that runs it only.

    Args:
        *namespaces: As for :func:`allow`.

    Returns:
        A context manager that gives the namespaces allowed inside.

    Raises:
        ValueError: As for :func:`allow`.
    """
    return _layer.namespaces.allowing(namespaces)


def status() -> Status:
    """Return what the layer did in this process, and why.  ``print(lowering_hooks.status())`` reads well."""
    return _layer.status()


def apply(strategy: str = "auto") -> Status:
    """Hook Inductor, at once where it is loaded, else when it loads.

    Does nothing where that strategy already stands, and hooks again where somebody replaced it.  What cannot
    be hooked is said in the status and in one WARNING; it is never raised.  With ``LOWERING_HOOKS=0`` in the
    environment nothing is hooked.

    Args:
        strategy: ``"auto"`` (what ``LOWERING_HOOKS_STRATEGY`` says, else what was verified for the installed
            PyTorch), ``"call_function"``, ``"set_proxy"`` or ``"none"``.

    Returns:
        The status after it.

    Raises:
        ValueError: ``strategy`` is none of these.
    """
    return _layer.apply(strategy)


def remove() -> Status:
    """Put back exactly what stood there before.

    Where somebody has replaced or wrapped our hook, theirs is left alone, and ours passes on what it is
    called with.  Does nothing where nothing is hooked.

    Returns:
        The status after it.
    """
    return _layer.remove()


def report() -> Report:
    """Return which allowed ops fell back implicitly, how often, and the seconds spent describing them."""
    return _layer.records.report()


def reset_report() -> None:
    """Forget what :func:`report` has gathered."""
    _layer.records.reset()


try:
    _layer.ask_for()
except Exception:
    # An import must not fail because of us.
    logging.getLogger("lowering_hooks").warning(
        "could not be applied, PyTorch runs as without it", exc_info=True
    )
