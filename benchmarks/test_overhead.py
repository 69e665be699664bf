"""What a wrapper costs where it has nothing to do.  ``overhead.py`` runs this; it is not one of the tests.

Inductor's own functions are stand-ins that return at once: lowering a node takes a thousand times longer than
the wrapper, and varies by more.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._inductor import lowering
from torch.library import Library

from lowering_hooks.hooks import Writer, make_hook
from lowering_hooks.hooks.allow_list import AllowListProxy
from lowering_hooks.inductor.modules import Inductor
from lowering_hooks.namespaces import DEFAULT, Namespaces
from lowering_hooks.records import Records

# Calls in a round, and rounds; the fastest round is the one least disturbed.
ITERATIONS, ROUNDS = 2000, 300

ALLOWED, OTHER = min(DEFAULT), "lowering_hooks_bench"
libraries = [Library(namespace, "DEF") for namespace in (ALLOWED, OTHER)]


def op(library: Library) -> Any:
    library.define("overhead(Tensor x) -> Tensor")
    return getattr(torch.ops, library.ns).overhead.default


KNOWN, ELSEWHERE = map(op, libraries)
TARGETS = {
    "aten op": torch.ops.aten.add.Tensor,
    "known allowed op": KNOWN,
    "op of another namespace": ELSEWHERE,
}


class GraphLowering:
    def call_function(self, target: Any, args: Any, kwargs: Any) -> None:
        return None


class OperatorIssue:
    @staticmethod
    def operator_str(target: Any, args: Any, kwargs: Any) -> str:
        return ""


@pytest.fixture
def hooked() -> Iterator[None]:
    inductor = Inductor(
        torch,
        types.SimpleNamespace(GraphLowering=GraphLowering),
        types.SimpleNamespace(lowerings={KNOWN: None}),
        types.SimpleNamespace(OperatorIssue=OperatorIssue),
        GraphLowering,
    )
    records = Records()
    hook = make_hook("call_function", inductor, Namespaces(DEFAULT), records, "args", Writer(records))
    hook.install()
    yield
    hook.remove()


@pytest.mark.parametrize("target", TARGETS)
def test_unwrapped_call(benchmark: Any, target: str) -> None:
    time_call(benchmark, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.usefixtures("hooked")
def test_wrapped_call(benchmark: Any, target: str) -> None:
    time_call(benchmark, target)


def time_call(benchmark: Any, target: str) -> None:
    args: Any = (TARGETS[target], (), {})
    benchmark.pedantic(GraphLowering().call_function, args, rounds=ROUNDS, iterations=ITERATIONS)


@pytest.mark.parametrize("target", TARGETS)
def test_plain_set_membership(benchmark: Any, target: str) -> None:
    time_membership(benchmark, lowering.FALLBACK_ALLOW_LIST, target)


@pytest.mark.parametrize("target", TARGETS)
def test_proxy_membership(benchmark: Any, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lowering.lowerings, KNOWN, None)
    time_membership(benchmark, AllowListProxy(lowering.FALLBACK_ALLOW_LIST, DEFAULT), target)


def time_membership(benchmark: Any, allow_list: Any, target: str) -> None:
    name = TARGETS[target].name()
    benchmark.pedantic(lambda: name in allow_list, rounds=ROUNDS, iterations=ITERATIONS)
