"""Whether ``import torch`` loads lowering-hooks here.

The command line imports lowering-hooks itself, so that what is hooked in its own process does not tell.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points

from ..inductor.versions import torch_version
from ..settings import OFF


def why_torch_does_not_load_it() -> str | None:
    """Return what keeps ``import torch`` from loading lowering-hooks; None where nothing does."""
    version = torch_version()
    if version is None:
        return "PyTorch is not installed here"
    # The entry point reads it so, before it imports anything.
    setting = os.environ.get("LOWERING_HOOKS", "")
    if setting.strip().lower() in OFF:
        return f"LOWERING_HOOKS={setting} is set; unset it"
    # PyTorch 2.5-2.15: `import torch` calls the entry points of torch.backends; before: nothing does.
    if _series(version) < (2, 5):
        return (
            f"PyTorch {version} loads no entry points; `import lowering_hooks` in the script, and in what "
            "its workers run"
        )
    # PyTorch 2.5-2.15: _is_device_backend_autoload_enabled of torch/__init__.py reads it so.
    setting = os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1")
    if setting != "1":
        return f"TORCH_DEVICE_BACKEND_AUTOLOAD={setting} is set; unset it, or `import lowering_hooks`"
    if not any(entry.module == "_lowering_hooks_autoload" for entry in entry_points(group="torch.backends")):
        return "no install of lowering-hooks is found; install it, or `import lowering_hooks`"
    return None


def line_of(problem: str | None) -> str:
    """Return the line that a status ends with."""
    said = "loads lowering-hooks" if problem is None else f"does not load lowering-hooks: {problem}"
    return f"{'import torch':14}  {said}"


def _series(version: str) -> tuple[int, ...]:
    """Return the major and the minor number; those of a version without numbers count as new."""
    numbers = version.split(".")[:2]
    return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else (99,)
