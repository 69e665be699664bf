"""Which strategy fits which PyTorch.

This package is a leaf: it imports nothing of ``lowering_hooks`` and nothing of ``torch``.  It is at the top
of the repository, so that ``noxfile.py`` can read the table without installing anything.  An install has it
as ``lowering_hooks.compat``.
"""

from __future__ import annotations

from .contract import (
    call_function_problems,
    function_in,
    inspect_module,
    ir_text_problems,
    lowering_class_of,
    operator_text_problems,
    passes_over,
    set_proxy_problems,
    wrapped_functions,
    wraps,
    wraps_one,
)
from .releases import RELEASES, Choice, LayoutConstraint, Release, Strategy, choose, release_of

__all__ = [
    "RELEASES",
    "Choice",
    "LayoutConstraint",
    "Release",
    "Strategy",
    "call_function_problems",
    "choose",
    "function_in",
    "inspect_module",
    "ir_text_problems",
    "lowering_class_of",
    "operator_text_problems",
    "passes_over",
    "release_of",
    "set_proxy_problems",
    "wrapped_functions",
    "wraps",
    "wraps_one",
]
