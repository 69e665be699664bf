"""What vLLM puts into Inductor by itself."""

from __future__ import annotations

from typing import Any, Final

from .modules import Inductor, attribute

# vLLM sets it on the proxy that it installs when it is imported (vLLM pull request 42129).
_MARK: Final = "_vllm_patched"


def is_vllms(allow_list: Any) -> bool:
    """Whether ``allow_list`` is vLLM's own proxy.  Never raises."""
    return attribute(allow_list, _MARK) is True


def vllm_conflict(inductor: Inductor) -> tuple[str, ...]:
    """Describe vLLM's own proxy where it is installed.  Never raises."""
    modules = (inductor.graph, inductor.lowering)
    if not any(is_vllms(attribute(module, "FALLBACK_ALLOW_LIST")) for module in modules):
        return ()
    return (
        (
            "vLLM replaced FALLBACK_ALLOW_LIST: the ops it covers (vllm::*, vllm_aiter::*) take the allow-list "
            "branch, with no log line and no stride guarantee"
        ),
    )
