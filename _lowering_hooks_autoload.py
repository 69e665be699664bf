"""What PyTorch and vLLM call when they start: entry points that cannot fail.

A module of its own, outside the package: whatever keeps the package from being imported (a dependency that is
missing or broken, a checkout in the current folder) must not keep PyTorch or vLLM from it.  PyTorch 2.5 and
later calls the group ``torch.backends`` at the end of ``import torch``, which fails where one of them raises;
vLLM calls the group ``vllm.general_plugins`` in every process that it starts, and catches nothing.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

# The warning that was given, if any: both entry points may fail in one process, and one WARNING is enough.
_warnings: list[str] = []


def torch_backend() -> None:
    """Apply lowering-hooks, unless ``LOWERING_HOOKS`` switches it off.  Never raises."""
    _apply()


def vllm_plugin() -> None:
    """Apply lowering-hooks, and allow the namespaces of vLLM's compiled kernels.  Never raises."""
    _apply(with_vllm_kernels=True)


def _apply(*, with_vllm_kernels: bool = False) -> None:
    # The values of lowering_hooks.settings, which is not imported, nor anything else, where it is off.
    if os.environ.get("LOWERING_HOOKS", "").strip().lower() in ("0", "off", "false", "no"):
        return
    try:
        import lowering_hooks  # importing applies it

        if with_vllm_kernels:
            from lowering_hooks.compat.namespaces import VLLM_KERNELS

            lowering_hooks.allow(*VLLM_KERNELS)
            # vLLM has put its own proxy into Inductor by now, in the place of the one of set_proxy.
            if lowering_hooks.status().state == "displaced":
                lowering_hooks.apply()
    except Exception as error:
        if not _warnings:
            _warnings.append(f"{type(error).__name__}: {error}")
            with suppress(Exception):  # a logging handler of others may raise
                logging.getLogger("lowering_hooks").warning(
                    "lowering-hooks could not be imported; PyTorch runs as if it were not installed; "
                    "LOWERING_HOOKS=0 ends this message: %s",
                    *_warnings,
                )
