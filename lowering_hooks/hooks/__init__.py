"""The hooks that are put into a loaded Inductor.

Only :mod:`lowering_hooks.manager` imports this package, once Inductor is there: a process that never compiles
is spared it.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Protocol

from ..compat import inspect_module
from .call_function import CallFunctionHook
from .ir_text import BoundedIR
from .operator_text import OperatorText
from .set_proxy import SetProxyHook
from .writing import Writer

if TYPE_CHECKING:
    from ..compat import Strategy
    from ..inductor.modules import Inductor
    from ..namespaces import Namespaces
    from ..records import Records
    from ..settings import Detail

# Import `inspect` now: the manager checks contracts while it holds its lock, where nothing may be imported.
inspect_module()

__all__ = ["BoundedIR", "Hook", "Writer", "make_hook", "problems_of"]


class Hook(Protocol):
    """One strategy, made for one loaded Inductor.

    Attributes:
        strategy: The strategy's name.
        caveat: What the strategy cannot do on this PyTorch; empty where there is nothing to say.
    """

    strategy: Strategy
    caveat: str

    def install(self) -> None:
        """Put the hook into Inductor."""
        ...

    def remove(self) -> None:
        """Put back what was there; a wrapper that was put over this hook stays, and calls through it."""
        ...

    def displaced_by(self) -> str | None:
        """Return the dotted name of what replaced this hook; None where it stands or is visibly called."""
        ...

    def conflicts(self) -> tuple[str, ...]:
        """Return what others have done to the same places, one sentence each."""
        ...


def problems_of(strategy: Strategy, inductor: Inductor) -> tuple[str, ...]:
    """Return what keeps ``strategy`` from being used on ``inductor``, one sentence each."""
    if strategy == "call_function":
        return CallFunctionHook.problems(inductor)
    return SetProxyHook.problems(inductor)


def make_hook(
    strategy: Strategy,
    inductor: Inductor,
    namespaces: Namespaces,
    records: Records,
    detail: Detail,
    writer: Writer,
) -> Hook:
    """Return the hook of ``strategy`` for ``inductor``, which changes nothing until it is installed."""
    make_text = functools.partial(OperatorText, inductor, namespaces, records, detail, writer)
    if strategy == "call_function":
        return CallFunctionHook(inductor, records, make_text())
    text = None
    # set_proxy does without the text where it cannot be replaced, or an internal is of another type.
    with contextlib.suppress(Exception):
        text = None if OperatorText.problems(inductor) else make_text()
    return SetProxyHook(inductor, namespaces, records, text)
