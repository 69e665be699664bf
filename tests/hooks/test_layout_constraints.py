"""Which constraint an allowed op gets on each series: the rules of the old ones, on a stand-in for Inductor."""

from __future__ import annotations

import types

import pytest

from lowering_hooks.compat import RELEASES
from lowering_hooks.hooks.allow_list import AllowListProxy
from lowering_hooks.hooks.layout_constraints import caveat

FIXED, FLEXIBLE = "needs_fixed_stride_order", "flexible_layout"
# The rule of the table, the tag of an op, and its constraint; "refused" where it cannot be recorded beforehand.
RULES = [
    ("none", FIXED, None),
    ("none", None, None),
    ("on arguments", FIXED, "refused"),
    ("on arguments", None, None),
    ("tag", FIXED, "as in FX"),
    ("tag", None, None),
    ("tag or contiguous", FIXED, "as in FX"),
    ("tag or contiguous", FLEXIBLE, None),
    ("tag or contiguous", None, "contiguous"),
]


@pytest.mark.parametrize(("rule", "tag", "expected"), RULES)
def test_rules(stand, rule: str, tag: str | None, expected: str | None) -> None:
    """The table of releases says what decides where PyTorch has no function that does."""
    release = next(row for row in RELEASES if row.layout_constraint == rule)
    stand.torch.__version__ = release.verified_with
    stand.torch.Tag = types.SimpleNamespace(**{name: name for name in (FIXED, FLEXIBLE)})
    lowering = stand.lowering
    del lowering.tag_to_layout_constraint
    lowering.constrain_to_fx_strides, lowering.require_contiguous = "as in FX", "contiguous"
    op = stand.torch.ops.lib.op.default
    op.tags = [tag]
    assert ("lib::op" in AllowListProxy(set(), {"lib"})) is (expected != "refused")
    recorded = {} if expected in (None, "refused") else {op: expected}
    assert lowering._maybe_layout_constraints == recorded
    assert (FIXED in caveat(lowering)) is (rule == "on arguments")


def test_a_pytorch_that_records_none(stand) -> None:
    """The op is let in, and the caveat says what that may cost."""
    del stand.lowering.add_layout_constraint
    assert "lib::op" in AllowListProxy(set(), {"lib"})
    assert "no known way to record a layout constraint" in caveat(stand.lowering)
