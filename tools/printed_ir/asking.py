"""Finds out which functions of PyTorch ask for the text of IR."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# These functions write IR; whoever called them is the one who asked.
WRITERS = {"__str__", "__repr__", "str_helper", "_to_str", "common_repr"}


class Askers:
    """Finds out which functions of PyTorch ask for the text of IR."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    def watch(self) -> None:
        """Wrap the text methods of all classes of IR; lowering-hooks must not be there."""
        from torch._inductor import ir

        seen: set[type] = set()
        pending: list[type] = [ir.IRNode, *([ir.Layout] if hasattr(ir, "Layout") else [])]
        while pending:
            kind = pending.pop()
            if kind in seen:
                continue
            seen.add(kind)
            pending += kind.__subclasses__()
            for name in ("__str__", "__repr__"):
                original = vars(kind).get(name)
                if callable(original):
                    setattr(kind, name, self._wrapped(original, issubclass(kind, ir.IRNode)))

    def _wrapped(self, original: Callable[..., str], is_node: bool) -> Callable[..., str]:
        def __str__(node: Any, *args: Any, **kwargs: Any) -> str:  # noqa: N807
            if is_node:
                self._ask()
            return original(node, *args, **kwargs)

        return __str__

    def _ask(self) -> None:
        frame: Any = sys._getframe(2)
        root = str(Path(torch.__file__).parent) + os.sep
        while frame is not None:
            file, name = frame.f_code.co_filename, frame.f_code.co_name
            # A comprehension, a method that dataclasses generated, and logging stand for whoever called them.  A
            # node's text within that of another node stands for whoever asked for the other's.
            passed_on = name.startswith("<") or name == "wrapper" or file.startswith(root + "_logging")
            if file.startswith(root) and not passed_on and not (file.endswith("ir.py") and name in WRITERS):
                place = f"{file[len(root) :]}: {name}"
                self.found[place] = self.found.get(place, 0) + 1
                return
            frame = frame.f_back
        self.found["outside of PyTorch"] = self.found.get("outside of PyTorch", 0) + 1
