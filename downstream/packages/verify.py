"""Compiles ops of published packages with and without lowering-hooks, and writes ``docs/downstream-packages.md``.

``python downstream/packages/verify.py``, in an environment that has the packages, takes minutes, and fails where a
claim does not hold.  ``--check`` changes nothing, and fails where the page is not the one that
``docs/downstream-packages.json`` makes; it needs nothing but ``packaging``.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "downstream"), str(ROOT / "tools")]

import pages
from compiling import Ended, Seen, differences, end_on_sigterm, run_worker
from machine import facts
from verdicts import Verdict, claims

from lowering_hooks.cli.tables import table

DATA, PAGE = ROOT / "docs" / "downstream-packages.json", ROOT / "docs" / "downstream-packages.md"
WORKER: Final = Path(__file__).with_name("packages_worker.py")
# Names the modes that are compared with stock.
HOOKED: Final = ("nothing_allowed", "call_function", "set_proxy")
# Names stock with what others do against the hang, which must not come out the same.
PLAIN: Final = "plain"
# Seconds that stock may compile a deep model for, and that any worker may take, with its imports.
STOCK_DEADLINE, DEADLINE = 30.0, 900.0

HEAD = """\
# Ops of published packages

<!-- Written by `nox -s downstream-packages` from downstream-packages.json. -->

Models of custom ops of published packages, compiled on a CPU with and without lowering-hooks: layers of ops that
Inductor has no lowering for, and behind them one more op that it has not met before. Nothing in lowering-hooks names
the packages.

At a depth that stock survives, each is compiled in four ways: as stock; with lowering-hooks and nothing allowed
(`nothing_allowed`), where the text of the last op is so long that it is cut; with every namespace allowed
(`call_function`); and with the strategy `set_proxy` and every namespace allowed. "The same as stock" means the
generated code, guards, layout constraints and warnings, the error that comes where Inductor may make no fallback, and
results that have the values, strides and types of eager's. Stock with a plain set proxy in the place of Inductor's allow
list is compiled as well: that must not be the same.

A deep model is compiled as stock, which is ended after {deadline:.0f} s, and with lowering-hooks and nothing allowed.
With nothing allowed Inductor logs at DEBUG, and every message is formatted; the seconds include that. `downstream/packages/`
has the code.

These were looked at with PyTorch 2.12.1 on 2026-11-29, and left out, because on a CPU no op of theirs comes to an
implicit fallback that runs. zentorch 2.12.1.1 gives 59 of its 62 ops lowerings of its own; of the others two have no kernel
for tensors of type Meta, which a compile wants, and one takes and returns nothing. The ops of torchcodec 0.17.0 have no
such kernel. Those of executorch 1.5.1 that serve a model (`llama`) have no kernel but that. The libraries of
torchaudio 2.11.1, xformers 0.0.35 and sgl-kernel 0.3.21 do not load with this PyTorch, or without a GPU. torch-scatter, torch-sparse,
torch-cluster, natten, flash-attn, mamba-ssm and causal-conv1d have no wheels.
"""


def shallow(models: Mapping[str, Any], cache: Path) -> dict[str, dict[str, Seen]]:
    """Compile every model in every way, and return what was seen, by way and model."""
    arguments = [word for name, model in models.items() for word in (name, str(model.survived))]
    ways = {mode: (mode, *arguments) for mode in ("stock", *HOOKED)} | {PLAIN: ("stock", *arguments, PLAIN)}
    found = {}
    for way, (mode, *rest) in ways.items():
        ended = run(mode, cache, DEADLINE, *rest)
        if ended.status != 0:
            raise RuntimeError(f"{way} ended with {ended.status}: {ended.errors}")
        found[way] = {line["model"]: line for line in ended.lines}
    return found


def run(mode: str, cache: Path, seconds: float, *arguments: str) -> Ended:
    print(f"{mode} {' '.join(arguments)} ...", end=" ", flush=True)
    ended = run_worker(WORKER, mode, cache, DEADLINE, str(seconds), *arguments)
    print(f"{ended.seconds:.0f} s", flush=True)
    return ended


def comes_out_the_same(name: str, model: Any, found: Mapping[str, Mapping[str, Seen]]) -> Iterable[Verdict]:
    """Check a model at a depth that stock survives."""
    stock, label = found["stock"][name], f"{model.package}, {name}, {model.survived} layers"
    yield Verdict(
        f"{label}: stock compiles it, and the result is eager's",
        stock["compiled"]["equal"] is True and stock["refused"]["error"] is not None,
    )
    proxied = differences(stock["compiled"], found[PLAIN][name]["compiled"])
    yield Verdict(
        f"{label}: that comparison can tell: a plain set proxy in the place of the allow list is not the same as stock",
        bool(proxied),
        ", ".join(proxied),
    )
    for mode in HOOKED:
        ours = found[mode][name]
        kinds = {kind: differences(stock[kind], ours[kind]) for kind in ("compiled", "refused")}
        different = [f"{kind}: {what}" for kind, names in kinds.items() for what in names]
        yield Verdict(f"{label}: the same as stock, {mode}", not different, ", ".join(different))
        told = ours["told"]
        yield Verdict(
            f"{label}: lowering-hooks is active and counts each op, {mode}",
            told["state"] == "active"
            and told["strategy"] == ("set_proxy" if mode == "set_proxy" else "call_function")
            and set(model.names()) <= {op.rpartition(".")[0] for op in told["fallbacks"]},
        )
    late = model.names()[-1]
    cut = found["nothing_allowed"][name]["told"]["cut"]
    characters = max((size for op, size in cut.items() if op.rpartition(".")[0] == late), default=0)
    yield Verdict(
        f"{label}: with nothing allowed, the text of the last op is cut",
        characters > 0,
        f"{characters:,} characters",
    )


def can_tell_by_code(found: Mapping[str, Mapping[str, Seen]]) -> Verdict:
    """Check that a plain set proxy, which records no layout constraint, also comes out as other code somewhere."""
    telling = [
        name
        for name, stock in found["stock"].items()
        if "code" in differences(stock["compiled"], found[PLAIN][name]["compiled"])
    ]
    return Verdict(
        "with the plain set proxy the generated code of one model at least is another",
        bool(telling),
        ", ".join(telling),
    )


def deep(name: str, model: Any, layers: int, cache: Path) -> tuple[dict[str, Any], list[Verdict]]:
    """Compile a deep model as stock and with lowering-hooks."""
    stock = run("stock", cache, STOCK_DEADLINE, name, str(layers))
    ours = run("nothing_allowed", cache, DEADLINE, name, str(layers))
    label = f"{model.package}, {name}, {layers} layers"
    line = ours.lines[0] if ours.lines else None
    seconds = line["seconds"] if line else None
    is_equal = bool(line) and line["compiled"]["equal"] is True
    row = {
        "package": model.package,
        "model": name,
        "layers": layers,
        "stock_ended": stock.status != -signal.SIGALRM,
        "stock_peak_mib": stock.peak_mib,
        "seconds": seconds,
        "text_seconds": line["told"]["text_seconds"] if line else None,
        "peak_mib": ours.peak_mib,
    }
    return row, [
        Verdict(
            f"{label}: stock's compile does not end in {STOCK_DEADLINE:.0f} s",
            stock.status == -signal.SIGALRM and not stock.lines,
            f"exit status {stock.status}",
        ),
        Verdict(
            f"{label}: with lowering-hooks and nothing allowed it ends, and the result is eager's",
            ours.status == 0 and is_equal,
            f"{seconds:.1f} s" if seconds is not None else ours.errors[-200:],
        ),
    ]


def measure() -> dict[str, Any]:
    from models import DEEP, MODELS

    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="packages-downstream-") as folder:
        cache = Path(folder)
        found = shallow(MODELS, cache)
        verdicts: list[Verdict] = []
        for name, model in MODELS.items():
            verdicts += comes_out_the_same(name, model, found)
        verdicts.append(can_tell_by_code(found))
        rows = []
        for name, model in MODELS.items():
            row, more = deep(name, model, DEEP, cache)
            rows.append(row)
            verdicts += more
    for verdict in verdicts:
        print(f"  {verdict}")
    stock = found["stock"]
    return {
        **facts(),
        "torch": next(iter(stock.values()))["torch"],
        "seconds": time.monotonic() - begun,
        "models": [
            {
                "package": model.package,
                "version": stock[name]["version"],
                "model": name,
                "layer": list(model.layer),
                "late": model.late,
            }
            for name, model in MODELS.items()
        ],
        "deep": rows,
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }


def page(data: Mapping[str, Any]) -> str:
    models = [
        (f"{row['package']} {row['version']}", row["model"], code(*row["layer"]), code(row["late"]))
        for row in data["models"]
    ]
    deep_rows = [
        (
            row["package"],
            row["model"],
            str(row["layers"]),
            "ended" if row["stock_ended"] else f"not in {STOCK_DEADLINE:.0f} s",
            f"{row['stock_peak_mib']:,.0f}",
            "" if row["seconds"] is None else f"{row['seconds']:.1f}",
            "" if row["text_seconds"] is None else f"{row['text_seconds']:.2f}",
            f"{row['peak_mib']:,.0f}",
        )
        for row in data["deep"]
    ]
    heads = (
        "package",
        "model",
        "layers",
        "stock",
        "stock, peak MiB",
        "lowering-hooks, s",
        "of them in texts, s",
        "peak MiB",
    )
    return (
        f"{HEAD.format(deadline=STOCK_DEADLINE)}\nPyTorch {data['torch']}; {data['date']}, {data['cpu']}, "
        f"{data['cores']} cores; {data['seconds'] / 60:.0f} minutes.\n\n"
        f"{table(('package', 'model', 'ops of a layer', 'op behind the layers'), models)}\n\n"
        f"## Where stock does not end\n\n{table(heads, deep_rows)}\n\n"
        f"## Claims\n\n{claims(Verdict(**verdict) for verdict in data['verdicts'])}\n"
    )


def code(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        return pages.check(PAGE, page(json.loads(DATA.read_text())), "nox -s downstream-packages")
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    end_on_sigterm()
    data = measure()
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(data))
    return 0 if all(verdict["holds"] for verdict in data["verdicts"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
