"""The ``set_proxy`` strategy: Inductor's allow list admits the ops of allowed namespaces, strides kept.

This strategy is for releases that nobody verified.  It replaces one object of Inductor, in the two modules
that hold it: ``FALLBACK_ALLOW_LIST``, a set of op names that ``call_function`` asks before it builds the
text.  A set that also says yes for allowed namespaces ends the hang.  But that branch gives an op no layout
constraint, and its kernel may then be handed other strides than stock would hand it.  So the proxy first
records the constraint that the other branch would have decided on (``layout_constraints``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..compat import set_proxy_problems
from ..inductor.modules import loaded, lowering_in_progress, name_of
from ..inductor.site import NOWHERE, site_of
from ..replacement import Replacement
from ..telling import tell_the_rest
from .allow_list import AllowListProxy
from .layout_constraints import caveat

if TYPE_CHECKING:
    from ..compat import Strategy
    from ..inductor.modules import Inductor
    from ..inductor.objects import Op
    from ..namespaces import Namespaces
    from ..records import Records
    from .operator_text import OperatorText

_NAME: Final = "FALLBACK_ALLOW_LIST"


class SetProxyHook:
    """Puts the proxy into both modules that hold the allow list, and the short text of ops beside it."""

    strategy: Strategy = "set_proxy"

    def __init__(
        self, inductor: Inductor, allowed: Namespaces, records: Records, text: OperatorText | None
    ) -> None:
        self._allowed = allowed
        self._records = records
        self._text = text  # None where its contract is broken
        self._live = False
        found = inductor.lowering.FALLBACK_ALLOW_LIST
        proxy = AllowListProxy(found, _WhileLive(self), self._on_fallback)
        self._replacements = tuple(
            Replacement(module, _NAME, proxy, proxy.inner) for module in (inductor.lowering, inductor.graph)
        )
        self.caveat = caveat(inductor.lowering)

    @staticmethod
    def problems(inductor: Inductor) -> tuple[str, ...]:
        """Return what keeps this strategy from being used, one sentence each."""
        return set_proxy_problems(inductor.graph, inductor.lowering)

    def install(self) -> None:
        """Put the proxy and the short text into Inductor."""
        self._live = True
        for replacement in self._replacements:
            replacement.put()
        if self._text is not None:
            self._text.install()

    def remove(self) -> None:
        """Put back what was there; a proxy that was put around this one stays, and finds this one empty."""
        self._live = False
        for replacement in self._replacements:
            replacement.put_back()
        # A graph module that was imported anew has taken the proxy from lowering by name.
        now, of_lowering = loaded(), self._replacements[0]
        if now is not None:
            Replacement(now.graph, _NAME, of_lowering.new, of_lowering.old).put_back()
        if self._text is not None:
            self._text.remove()

    def displaced_by(self) -> str | None:
        """Return the dotted name of what replaced the proxy or the text; None where both stand."""
        for replacement in self._replacements:
            if not replacement.stands():
                return name_of(replacement.standing())
        return None if self._text is None else self._text.displaced_by()

    def conflicts(self) -> tuple[str, ...]:
        """Return who wrapped the text: what wraps the proxy cannot be seen."""
        return () if self._text is None or self.displaced_by() else self._text.conflicts()

    def allows(self, namespace: str) -> bool:
        """Whether the proxy admits ops of ``namespace``, here and now."""
        return self._live and self._allowed.allows(namespace)

    def _on_fallback(self, name: str, op: Op, *, is_allowed: bool) -> None:
        if self._live:
            tell_the_rest()
            site = NOWHERE if op is None else site_of(lowering_in_progress(), op)
            self._records.fell_back(name if op is None else str(op), site, allowed=is_allowed)


class _WhileLive:
    """The allowed namespaces as a container that is empty once the hook is removed."""

    def __init__(self, hook: SetProxyHook) -> None:
        self._hook = hook

    def __contains__(self, namespace: object) -> bool:
        return isinstance(namespace, str) and self._hook.allows(namespace)
