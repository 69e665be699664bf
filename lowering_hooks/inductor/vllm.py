"""What vLLM puts into Inductor by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .modules import attribute

if TYPE_CHECKING:
    from .modules import Inductor

# `is_vllms` looks for this attribute, which vLLM sets on the proxy that it installs when it is imported.
# vLLM pull request 42129: the attribute is True; if missing: the proxy counts as one more set, no conflict.
_MARK: Final = "_vllm_patched"


def is_vllms(allow_list: object) -> bool:
    """Whether ``allow_list`` is vLLM's own proxy.  Never raises."""
    return attribute(allow_list, _MARK) is True


def vllm_conflict(inductor: Inductor, *, is_inside: bool) -> tuple[str, ...]:
    """Describe vLLM's own proxy in a sentence; empty where it is not installed.  Never raises.

    Args:
        inductor: The loaded Inductor.
        is_inside: Whether a proxy of lowering-hooks stands around it.
    """
    modules = (inductor.graph, inductor.lowering)
    if not any(is_vllms(attribute(module, "FALLBACK_ALLOW_LIST")) for module in modules):
        return ()
    if is_inside:
        return (
            (
                "vLLM replaced FALLBACK_ALLOW_LIST, and set_proxy stands around its proxy: it records the "
                "layout constraints of allowed ops"
            ),
        )
    return (
        (
            "vLLM replaced FALLBACK_ALLOW_LIST: the ops it covers (vllm::*, vllm_aiter::*) take the "
            "allow-list branch, with no log line and no stride guarantee"
        ),
    )
