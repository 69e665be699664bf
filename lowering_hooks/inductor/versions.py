"""Which PyTorch is there, loaded or only installed.

Each function may import modules, so no caller may hold a lock.
"""

from __future__ import annotations

import importlib.util
import sys


def torch_is_there() -> bool:
    """Whether PyTorch could be imported.  It may be a source tree, which has no package metadata."""
    try:
        return importlib.util.find_spec("torch") is not None
    except Exception:  # a module in sys.modules without a spec, or a finder of others that raises
        return sys.modules.get("torch") is not None


def torch_version() -> str | None:
    """Return the version of the PyTorch that is loaded, else of the one that is installed, else None."""
    try:
        return str(sys.modules["torch"].__version__)
    except Exception:  # not loaded, or without a version
        return installed_version("torch")


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed package; None where there is none, or its metadata is broken."""
    try:
        # This import takes long, and a process in which PyTorch is loaded needs none of it.
        import importlib.metadata

        return importlib.metadata.version(distribution)
    except Exception:
        return None
