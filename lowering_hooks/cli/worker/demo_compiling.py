"""What the demo does to the Inductor of its process: it records what is compiled, and replaces its texts.

This module imports nothing of lowering-hooks, so that a process which shows stock PyTorch can use it.  Such a
process imports it by its plain name, with this folder on ``sys.path``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any


class TextSize(logging.Handler):
    """Counts the characters of the log messages about implicit fallbacks."""

    characters = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one message."""
        message = record.getMessage()
        if message.startswith("Creating implicit fallback"):
            self.characters += len(message)


def log_to(handler: logging.Handler, level: int) -> None:
    """Let ``handler`` alone have what Inductor logs at ``level`` or above."""
    import torch._dynamo.logging as dynamo_logging

    # PyTorch 2.0 sets up its loggers anew at every compile.
    if hasattr(dynamo_logging, "init_logging"):
        dynamo_logging.init_logging = lambda *args, **kwargs: None
    log = logging.getLogger("torch._inductor")
    log.handlers, log.propagate = [handler], False
    log.setLevel(level)


def capture_code(code: list[str]) -> None:
    """Append the source of every generated wrapper to ``code`` as it is written."""
    from torch._inductor import codecache

    cache = codecache.PyCodeCache
    # PyTorch 2.0 has only `load`, which writes as well.
    name = "write" if hasattr(cache, "write") else "load"
    original = getattr(cache, name)

    def recording(source: str, *args: Any, **kwargs: Any) -> Any:
        code.append(source)
        return original(source, *args, **kwargs)

    setattr(cache, name, staticmethod(recording))


def write_scalar_code() -> None:
    """Let Inductor write C++ without vector instructions: finding out which there are takes seconds."""
    from torch._inductor import config

    # TORCHINDUCTOR_VEC_ISA_OK says the same to PyTorch 2.7 and later; 2.0 has neither.
    if hasattr(config.cpp, "vec_isa_ok"):
        config.cpp.vec_isa_ok = False


def install_plain_set_proxy(namespace: str) -> None:
    """Do what others do against the hang: let the allow list say yes for a whole namespace, and no more."""
    from torch._inductor import graph, lowering

    class PlainSetProxy:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __contains__(self, name: str) -> bool:
            return name.startswith(f"{namespace}::") or name in self.inner

    graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = PlainSetProxy(lowering.FALLBACK_ALLOW_LIST)


def install_ideal() -> None:
    """Let ``operator_str`` write no text at all: no text can take less time."""
    from torch._inductor import exc

    exc.OperatorIssue.operator_str = staticmethod(lambda target, args, kwargs: "")


def peak_mib() -> float | None:
    """Return the most memory that this process ever held, in MiB; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
