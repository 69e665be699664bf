"""The page of the releases stands on a matrix in which nothing failed.  Needs no PyTorch."""

from __future__ import annotations

import copy
import json
from typing import Any

import make_compatibility
import pytest
from make_compatibility import broken_claims, main

from compat import RELEASES


@pytest.fixture
def known(monkeypatch, tmp_path) -> dict[str, Any]:
    """What the last runs have measured; the files are in a folder of their own from now on."""
    found: dict[str, Any] = json.loads(make_compatibility.DATA.read_text())
    monkeypatch.setattr(make_compatibility, "DATA", tmp_path / "compatibility.json")
    monkeypatch.setattr(make_compatibility, "PAGE", tmp_path / "compatibility.md")
    return found


def test_what_holds(known) -> None:
    """No claim is broken where every series was measured and is as stock."""
    assert broken_claims(known) == []


@pytest.mark.parametrize(
    ("topic", "change", "claim"),
    [
        ("suite", {"failed": 2}, "PyTorch 2.12: 2 tests failed"),
        ("fidelity", {"cases_identical": 24}, "PyTorch 2.12: 1 cases have other generated code than stock"),
        (
            "fidelity",
            {"changed_by_call_function": 3},
            "PyTorch 2.12: 3 tensors have other strides than in stock, by call_function",
        ),
        (
            "fidelity",
            {"changed_by_set_proxy": 4},
            "PyTorch 2.12: 4 tensors have other strides than in stock, by set_proxy",
        ),
    ],
)
def test_what_breaks_a_claim(known, capsys, topic: str, change: dict[str, int], claim: str) -> None:
    """It is printed, and fails the run that wrote it down and every check of the page."""
    known["2.12"][topic] |= change
    assert broken_claims(known) == [claim]
    make_compatibility.DATA.write_text(json.dumps(known))
    assert main([str(make_compatibility.DATA.parent)]) == 1
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == f"{claim}\n{claim}\n"


def test_a_series_that_was_not_measured(known) -> None:
    """It breaks a claim: the page is about the whole table."""
    found = copy.copy(known)
    del found[RELEASES[-1].series]
    assert broken_claims(found) == [f"PyTorch {RELEASES[-1].series} was not measured"]
