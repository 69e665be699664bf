"""Ends the ``torch.compile`` hang of custom ops without a lowering, and changes nothing else.

Importing this package applies it: at once where Inductor is loaded, else when it loads.  PyTorch is not
imported.  See the README for the environment variables.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

# In a checkout, compat/ stands beside this folder; an install puts it inside.  Where it is only beside, the
# package looks for its modules there as well: so Python started in a checkout works without any install, and
# beside an ordinary one.  In a zip neither is a file, and nothing is added.
if not os.path.isfile(os.path.join(__path__[0], "compat", "__init__.py")):
    _checkout = os.path.dirname(os.path.realpath(__path__[0]))
    if os.path.isfile(os.path.join(_checkout, "compat", "__init__.py")):
        __path__.append(_checkout)

from .compat import Strategy
from .manager import Manager
from .namespaces import is_traced, traced_as_constant
from .records import OpReport, Report
from .settings import Request, read
from .status import State, Status
from .telling import tell

if TYPE_CHECKING:
    from .namespaces import Allowing

__all__ = [
    "OpReport",
    "Report",
    "State",
    "Status",
    "Strategy",
    "__version__",
    "allow",
    "allowed_namespaces",
    "allowing",
    "apply",
    "bounded_ir",
    "disallow",
    "remove",
    "report",
    "reset_report",
    "status",
]


# The one place that states the version: the build reads it here, without running this file, so it must stay a
# plain string.
__version__ = "0.1.0"


def __dir__() -> list[str]:
    """List what is public, for ``dir()`` and for completion."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


_settings = read(os.environ)
_manager = Manager(_settings)


def allow(*namespaces: str) -> frozenset[str]:
    """Allow ``namespaces`` in this process: a short text describes their ops from now on.

    In a function that ``torch.compile`` compiles, this and :func:`disallow` run once, while it is traced.

    Args:
        *namespaces: The parts of op names before ``::``, compared exactly; ``"*"`` for every one.

    Returns:
        The namespaces now allowed.

    Raises:
        ValueError: One of them is empty, not a string, or contains a colon, a comma, a blank or ``*``
            among other characters.  Then none of them is allowed.
    """
    return _lowering_hooks_allow(*namespaces)


def disallow(*namespaces: str) -> frozenset[str]:
    """No longer allow ``namespaces`` in this process, the default ones included.

    A namespace that is not allowed is passed over.  ``"*"`` takes back an earlier ``allow("*")`` and nothing
    else, and every namespace stays allowed as long as ``"*"`` is.

    Args:
        *namespaces: As for :func:`allow`.

    Returns:
        The namespaces now allowed.

    Raises:
        ValueError: As for :func:`allow`.
    """
    return _lowering_hooks_disallow(*namespaces)


@traced_as_constant
def _lowering_hooks_allow(*namespaces: str) -> frozenset[str]:
    return _manager.namespaces.allow(namespaces)


@traced_as_constant
def _lowering_hooks_disallow(*namespaces: str) -> frozenset[str]:
    return _manager.namespaces.disallow(namespaces)


def allowed_namespaces() -> frozenset[str]:
    """Return the namespaces allowed here and now, those of enclosing :func:`allowing` blocks included."""
    return _manager.namespaces.current()


def allowing(*namespaces: str) -> Allowing:
    """Allow ``namespaces`` in a ``with`` block or a decorated function, for the thread or task that runs it.

    Put it around the call of what ``torch.compile`` compiles.  Inside of that it does nothing, since Inductor
    lowers what stands there when the block is over.

    Args:
        *namespaces: As for :func:`allow`.

    Returns:
        A context manager that gives the namespaces allowed inside, and a decorator for functions, coroutine
        functions included.  It may be used any number of times.

    Raises:
        ValueError: As for :func:`allow`, when this function is called.
        TypeError: Of the decorator: what it is applied to is no function, or one that yields.
    """
    if is_traced():
        # A context manager that Dynamo knows, in all releases.
        return nullcontext()  # type: ignore[return-value]
    return _manager.namespaces.allowing(namespaces)


def status() -> Status:
    """Return what lowering-hooks did in this process, and why.

    ``print(lowering_hooks.status())`` reads well.  It never raises.
    """
    return _manager.status()


def apply(strategy: Request = "auto") -> Status:
    """Hook Inductor, at once where it is loaded, else when it loads.

    This does nothing where that strategy already stands, and hooks again where another library replaced it.
    The status and one WARNING say what cannot be hooked; this function never raises for it.  With
    ``LOWERING_HOOKS=0`` in the environment nothing is hooked.

    Args:
        strategy: ``"auto"`` (what ``LOWERING_HOOKS_STRATEGY`` says, else what was verified for the installed
            PyTorch), ``"call_function"``, ``"set_proxy"`` or ``"none"``.

    Returns:
        The status afterwards.

    Raises:
        ValueError: ``strategy`` is none of these.
    """
    return _manager.apply(strategy)


def remove() -> Status:
    """Put back exactly what stood in Inductor before.

    Where another library has replaced or wrapped a hook, what it put there stays, and the hook only passes
    calls on.  Where Inductor is not loaded yet, this keeps it from being hooked when it is.  :func:`apply`
    takes either back.

    Returns:
        The status afterwards.
    """
    return _manager.remove()


def bounded_ir(enabled: Literal["auto"] | bool = True) -> Status:  # noqa: FBT001, FBT002
    """Set which texts of IR nodes are bounded: ``str()`` and ``repr()``, wherever they are called.

    Inductor writes a node with all that stands behind it, in errors, in assertions, and at DEBUG.  A bounded
    text shows the node in full and those behind it by name.  Nothing but that text changes.  With ``"auto"``,
    the default of ``LOWERING_HOOKS_BOUNDED_IR``, a text of at most 100,000 characters, of as many nodes,
    and not too deep for Python's recursion limit, is Inductor's own, to the byte; any other is bounded, and
    ends in a line that says so.  :func:`remove` turns this off as well, and :func:`apply` turns it on again.

    Args:
        enabled: ``"auto"``; True for every text, whatever its length; False for none, those that never end
            included.

    Returns:
        The status afterwards.

    Raises:
        TypeError: ``enabled`` is neither a bool nor a string.
        ValueError: It is another string than ``"auto"``.
    """
    return _manager.bounded_ir(enabled)


def report() -> Report:
    """Return which ops fell back implicitly, failed or had a text cut, how often, and the seconds that took.

    ``print(lowering_hooks.report())`` reads well, and says which namespaces were not allowed.
    """
    return _manager.report()


def reset_report() -> None:
    """Forget what :func:`report` has gathered."""
    _manager.records.reset()


try:
    _manager.request()
except Exception:
    # The import of PyTorch must not fail because this package cannot be applied.
    tell(
        logging.WARNING,
        "lowering-hooks could not be applied; PyTorch runs as if it were not installed; "
        "LOWERING_HOOKS=0 ends this message",
        exc_info=True,
    )

if _settings.report is not None and _settings.off is None:
    try:
        from .report_file import write_at_exit

        write_at_exit(_settings.report, _manager)
    except Exception:
        tell(
            logging.WARNING,
            "lowering-hooks will write no report to LOWERING_HOOKS_REPORT=%r",
            _settings.report,
            exc_info=True,
        )
