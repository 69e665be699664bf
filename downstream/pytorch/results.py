"""Compares what compiled code returned with what eager did."""

from __future__ import annotations

import math
from typing import Any

import torch
from runs import TOLERANCE
from torch.utils._pytree import tree_flatten


def is_equal(found: Any, expected: Any) -> bool | None:
    """Whether two results are equal; None where no tensor was compared, which says nothing about generated code."""
    ours, theirs = tree_flatten(found)[0], tree_flatten(expected)[0]
    if len(ours) != len(theirs):
        return False
    if not all(map(_is_same, ours, theirs)):
        return False
    return True if any(isinstance(leaf, torch.Tensor) for leaf in theirs) else None


def _is_same(found: Any, expected: Any) -> bool:
    if not isinstance(expected, torch.Tensor):
        both_nan = (
            isinstance(expected, float)
            and isinstance(found, float)
            and math.isnan(found)
            and math.isnan(expected)
        )
        return type(found) is type(expected) and (both_nan or bool(found == expected))
    if not isinstance(found, torch.Tensor):
        return False
    is_rounded = expected.is_floating_point() or expected.is_complex()
    tolerance = TOLERANCE if is_rounded else 0.0
    try:
        torch.testing.assert_close(found, expected, equal_nan=True, rtol=tolerance, atol=tolerance)
    except AssertionError:
        return False
    return True
