"""How long a vLLM engine takes to start against its depth, where stock hangs.

``python benchmarks/vllm_engine.py OUTPUT.json`` runs in the environment of ``nox -s bench-vllm``, which has a
vLLM from before it had a set proxy.  The model has dense layers of functional kernels, as ROCm's aiter has
them, and routed experts in its last one.  Fails, once the file is written, where one of :func:`claims` does not hold.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowering_hooks.cli.compile_process import OURS, PLAIN_SET_PROXY, STOCK

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "downstream" / "vllm"), str(ROOT / "tools")]
from engine import Case, Outcome, run
from machine import facts
from models import qwen2_moe
from verdicts import Verdict

# The models have so many dense layers.  No text of the first model passes the limit of lowering-hooks, and stock does not
# end with the last.
DEPTHS = (0, 4, 8, 24)
# One engine has an op that a proxy for vllm::* does not cover, at a depth where stock ends.
COMPILED_EXPERTS_DEPTH = 8
# The lowering of one graph may take so many seconds.
DEADLINE = 60.0
# Names lowering-hooks where no namespace is allowed, so that texts are Inductor's up to the limit.
NOTHING_ALLOWED = f"{OURS}, nothing allowed"
# Lowering may take so many times as long as with a plain set proxy where the namespaces are allowed.
TIMES = 1.5


def case(variant: str, layers: int, compiled_experts: bool = False) -> Case:
    found = Case(
        variant, qwen2_moe(layers), functional=True, compiled_experts=compiled_experts, deadline=DEADLINE
    )
    return found.allowing_nothing() if variant == NOTHING_ALLOWED else found


def row(variant: str, measured: Case, outcome: Outcome) -> dict[str, Any]:
    """Return what was measured.

    Seconds are None where the deadline came first, and so are the characters, which lowering-hooks never
    writes, and the texts that were cut, which nothing else does.
    """
    found = {
        "variant": variant,
        "dense_layers": measured.config["num_hidden_layers"] - 1,
        "late_op": "_C::cpu_fused_moe" if measured.compiled_experts else "vllm::moe_forward_shared",
        "ended": outcome.answer is not None,
        "engine_seconds": None,
        "lowering_seconds": None,
        "text_seconds": None,
        "stock_text_characters": None,
        "texts_cut": None,
    }
    if outcome.answer is not None:
        found["engine_seconds"] = outcome.answer["engine_seconds"]
        found["lowering_seconds"] = outcome.total("lowering_seconds")
        found["text_seconds"] = outcome.total("text_seconds")
        if measured.variant == OURS:
            found["texts_cut"] = outcome.cut
        else:
            found["stock_text_characters"] = outcome.total("text_characters")
    return found


def claims(rows: list[dict[str, Any]]) -> Iterator[Verdict]:
    """Return what must hold of the engines, and whether it does."""
    known = {
        (row["variant"], row["dense_layers"]): row for row in rows if row["late_op"].startswith("vllm::")
    }
    shallowest, *_, deepest = DEPTHS
    yield Verdict(
        f"{deepest} dense layers: stock's lowering does not end in {DEADLINE:g} s",
        not known[STOCK, deepest]["ended"],
    )
    for variant in (OURS, NOTHING_ALLOWED):
        ended = [layers for layers in DEPTHS if known[variant, layers]["ended"]]
        yield Verdict(
            f"{variant}: it ends at every depth",
            len(ended) == len(DEPTHS),
            f"{', '.join(map(str, ended))} dense layers",
        )
    below, above = (known[NOTHING_ALLOWED, layers]["texts_cut"] for layers in (shallowest, deepest))
    yield Verdict(
        f"{NOTHING_ALLOWED}: no text is cut with {shallowest} dense layers, and texts are with {deepest}",
        below == 0 and bool(above),
        f"{below}, {above}",
    )
    to_proxy = ratio(rows, deepest, OURS, PLAIN_SET_PROXY)
    yield Verdict(
        f"{deepest} dense layers: lowering takes at most {TIMES:g} times as long as with a plain set proxy",
        to_proxy is not None and to_proxy <= TIMES,
        "" if to_proxy is None else f"{to_proxy:.2f} times",
    )


def main(output: str) -> None:
    variants = (STOCK, PLAIN_SET_PROXY, OURS, NOTHING_ALLOWED)
    cases = [(variant, case(variant, layers)) for variant in variants for layers in DEPTHS]
    cases.append((PLAIN_SET_PROXY, case(PLAIN_SET_PROXY, COMPILED_EXPERTS_DEPTH, compiled_experts=True)))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="vllm-engine-") as folder:
        # What is measured finds Python's bytecode and the kernels' machine code, which this one leaves.
        warm = run(case(OURS, 2), Path(folder)).answer or {}
        for variant, measured in cases:
            outcome = run(measured, Path(folder))
            rows.append(row(variant, measured, outcome))
            print(json.dumps(rows[-1]), flush=True)
    told = list(claims(rows))
    found = {
        **facts(),
        **{name: warm[name] for name in ("vllm", "torch", "python")},
        "deadline_seconds": DEADLINE,
        "lowering_stock_to_ours_8_layers": ratio(rows, 8, STOCK, OURS),
        "lowering_ours_to_plain_set_proxy_24_layers": ratio(rows, 24, OURS, PLAIN_SET_PROXY),
        "verdicts": [verdict._asdict() for verdict in told],
        "rows": rows,
    }
    Path(output).write_text(json.dumps(found, indent=2) + "\n")
    for verdict in told:
        print(verdict)
    if not all(verdict.holds for verdict in told):
        sys.exit(1)


def ratio(rows: list[dict[str, Any]], layers: int, one: str, other: str) -> float | None:
    """Return the quotient of two variants' seconds of lowering, where the late op is one of ``vllm::*``.

    It is None where one of them did not end.
    """
    seconds = {
        row["variant"]: row["lowering_seconds"]
        for row in rows
        if row["dense_layers"] == layers and row["late_op"].startswith("vllm::")
    }
    if seconds[one] is None or seconds[other] is None:
        return None
    quotient: float = seconds[one] / seconds[other]
    return quotient


if __name__ == "__main__":
    main(sys.argv[1])
