"""A user's script that uses every public name: ``nox -s wheel`` has mypy and pyright check it, and runs it.

Both look at the installed package, without PyTorch.  What they must report is marked ``type: ignore``: both fail
where such a mark is not needed, as all of them would be if the package's types were not found.
"""

from __future__ import annotations

from pathlib import Path

from typing_extensions import assert_type  # typing has it from Python 3.11 on

import lowering_hooks


def namespaces() -> None:
    assert_type(lowering_hooks.allow("mylib", "other"), frozenset[str])
    assert_type(lowering_hooks.disallow("other"), frozenset[str])
    assert_type(lowering_hooks.allowed_namespaces(), frozenset[str])
    with lowering_hooks.allowing("mine") as inside:
        assert_type(inside, frozenset[str])
        assert "mine" in inside

    @lowering_hooks.allowing("mine")
    def decorated(number: int) -> str:
        return str(number)

    assert_type(decorated(1), str)


def status() -> None:
    assert_type(lowering_hooks.remove(), lowering_hooks.Status)
    assert_type(lowering_hooks.apply(), lowering_hooks.Status)
    assert_type(lowering_hooks.apply("call_function"), lowering_hooks.Status)
    assert_type(lowering_hooks.bounded_ir(), lowering_hooks.Status)
    assert_type(lowering_hooks.bounded_ir(False), lowering_hooks.Status)
    found = lowering_hooks.status()
    assert_type(found, lowering_hooks.Status)
    assert_type(found.strategy, lowering_hooks.Strategy)
    assert_type(found.state, lowering_hooks.State)
    assert_type(found.reason, str)
    assert_type(found.version, str | None)
    assert_type(lowering_hooks.__version__, str)
    assert_type(found.torch_version, str | None)
    assert_type(found.namespaces, frozenset[str])
    assert_type(found.conflicts, tuple[str, ...])
    print(found)


def report() -> None:
    found = lowering_hooks.report()
    assert_type(found, lowering_hooks.Report)
    assert_type(found.seconds, float)
    assert_type(found.ops, tuple[lowering_hooks.OpReport, ...])
    for op in found.ops:
        assert_type(op, lowering_hooks.OpReport)
        assert_type(op.op, str)
        assert_type(op.fallbacks, int)
        assert_type(op.seconds, float)
    lowering_hooks.reset_report()
    print(found)


def mistakes() -> None:
    """Never called: both must report each line."""
    lowering_hooks.allow(1)  # type: ignore[arg-type]
    lowering_hooks.disallow(b"mylib")  # type: ignore[arg-type]
    lowering_hooks.allowing(None)  # type: ignore[arg-type]
    lowering_hooks.apply(1)  # type: ignore[arg-type]
    lowering_hooks.apply("fast")  # type: ignore[arg-type]
    lowering_hooks.bounded_ir(2.5)  # type: ignore[arg-type]
    lowering_hooks.bounded_ir("some")  # type: ignore[arg-type]
    lowering_hooks.remove(now=True)  # type: ignore[call-arg]
    lowering_hooks.status().reason = 1  # type: ignore[misc,assignment]
    lowering_hooks.report().ops[0].no_such_name()  # type: ignore[attr-defined]
    lowering_hooks.no_such_name()  # type: ignore[attr-defined]


if __name__ == "__main__":
    namespaces()
    status()
    report()
    own = Path(__file__).read_text()
    unused = [name for name in lowering_hooks.__all__ if f"lowering_hooks.{name}" not in own]
    assert not unused, f"public, and not used here: {unused}"
