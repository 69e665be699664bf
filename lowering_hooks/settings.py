"""Reads the environment variables, once and without ever failing, and checks arguments of the same kinds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from . import namespaces
from .telling import tell

Detail = Literal["args", "graph", "full"]
# Whether the texts of IR nodes are bounded: where they are longer than 100,000 characters, always, or never.
BoundedIRMode = Literal["auto", True, False]
Request = Literal["auto", "call_function", "set_proxy", "none"]

STRATEGIES: Final[tuple[Request, ...]] = ("auto", "call_function", "set_proxy", "none")
DETAILS: Final = ("args", "graph", "full")
# The values of LOWERING_HOOKS that switch everything off, in any case, as every value.
OFF: Final = ("0", "off", "false", "no")
_ON: Final = ("1", "on", "true", "yes")
_MODES: Final[dict[str, BoundedIRMode]] = {
    "auto": "auto",
    **dict.fromkeys(_ON, True),
    **dict.fromkeys(OFF, False),
}


class Settings(NamedTuple):
    """What the environment asks for.

    Attributes:
        off: ``LOWERING_HOOKS`` as it is written, where it switches everything off; else None.
        namespaces: The default namespaces and those of ``LOWERING_HOOKS_NAMESPACES``.
        strategy: ``LOWERING_HOOKS_STRATEGY``.
        detail: ``LOWERING_HOOKS_DETAIL``.
        bounded_ir: ``LOWERING_HOOKS_BOUNDED_IR``: ``"auto"``, True or False.
        report: ``LOWERING_HOOKS_REPORT``; None where no file was asked for.
    """

    off: str | None = None
    namespaces: frozenset[str] = namespaces.DEFAULT
    strategy: Request = "auto"
    detail: Detail = "args"
    bounded_ir: BoundedIRMode = "auto"
    report: str | None = None


def read(environ: Mapping[str, str]) -> Settings:
    """Read the settings from ``environ``.

    For a bad value, one WARNING names the value and what is accepted, and the default is used: an environment
    variable must not stop a training job.
    """
    off = _choice(environ, "LOWERING_HOOKS", _ON + OFF)
    return Settings(
        off=environ["LOWERING_HOOKS"] if off in OFF else None,
        namespaces=namespaces.DEFAULT | _namespaces(environ),
        strategy=cast("Request", _choice(environ, "LOWERING_HOOKS_STRATEGY", STRATEGIES) or "auto"),
        detail=cast("Detail", _choice(environ, "LOWERING_HOOKS_DETAIL", DETAILS) or "args"),
        bounded_ir=_MODES[_choice(environ, "LOWERING_HOOKS_BOUNDED_IR", tuple(_MODES)) or "auto"],
        report=environ.get("LOWERING_HOOKS_REPORT") or None,
    )


def requested(strategy: object) -> Request:
    """Return ``strategy`` if it is one that can be asked for.

    Raises:
        ValueError: It is none.
    """
    for known in STRATEGIES:
        if isinstance(strategy, str) and strategy == known:
            return known
    raise ValueError(f"invalid strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")


def bounded_ir_mode(enabled: Any) -> BoundedIRMode:
    """Return ``enabled`` if it is a way to bound the texts of IR nodes.

    Raises:
        TypeError: It is neither a bool nor a string.
        ValueError: It is another string than ``"auto"``.
    """
    if isinstance(enabled, bool):
        return enabled
    if isinstance(enabled, str) and enabled == "auto":
        return "auto"
    error = ValueError if isinstance(enabled, str) else TypeError
    raise error(f"invalid value {enabled!r} for bounded_ir(): expected one of 'auto', True, False")


def _choice(environ: Mapping[str, str], variable: str, accepted: tuple[str, ...]) -> str | None:
    value = environ.get(variable, "").strip().lower()
    if not value:
        return None
    if value in accepted:
        return value
    _warn(environ, variable, f"one of {', '.join(accepted)}")
    return None


def _namespaces(environ: Mapping[str, str]) -> frozenset[str]:
    variable = "LOWERING_HOOKS_NAMESPACES"
    names = [name for name in map(str.strip, environ.get(variable, "").split(",")) if name]
    bad = [name for name in names if not namespaces.is_namespace(name)]
    if not bad:
        return frozenset(names)
    got = ", ".join(map(repr, bad))
    _warn(environ, variable, f"names separated by commas, each {namespaces.EXPECTED}, and got {got}")
    return frozenset()


def _warn(environ: Mapping[str, str], variable: str, expected: str) -> None:
    tell(
        logging.WARNING,
        "lowering-hooks ignores %s=%r and uses the default: expected %s",
        variable,
        environ[variable],
        expected,
    )
