"""The page ``docs/printed-ir.md``, made of what was measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lowering_hooks.cli.tables import table

from . import unreached
from .runs import CODE_LAYERS, DEADLINE, LAYERS, MEMORY, STOCK_LAYERS, ending, has_ended

if TYPE_CHECKING:
    from pathlib import Path

# The page names so many models beside a place.
SHOWN_MODELS = 4

HEAD = """\
# Where Inductor prints IR

<!-- Written by `nox -s printed-ir` from printed-ir/*.json. -->

The text of an IR node holds the texts of its operands, and theirs: it can double from layer to layer, and whoever asks for
it waits for all of it. This page lists who asks, what was tried to make each of them ask, and how that came out.

Every model of `tools/printed_ir/models.py` is made of custom ops with two outputs that the next one reads, in a namespace that
nobody has allowed. Each was compiled

* {layers} layers deep with lowering-hooks as it is installed, nothing set, with {deadline} seconds to end in;
* {stock} layers deep with stock PyTorch, to see that the place really prints IR, and how fast its text grows;
* {code} layers deep with every text bounded, to see that the generated code stays what it is in stock: no text of IR
  may reach code, the name of a kernel or a decision.

Each compile had a process that had compiled nothing before. In the models whose name ends in `-error` the lowering of the last op
fails; in those that end in `-log` Inductor's loggers write everything they have, and in those that end in `-files` it writes
its files, too. A compile that crashes, or is killed because it takes longer or needs more than {memory} GiB, has not ended, and its
code is not the same. All ran on CPU. Seconds are of one compile each: orders of magnitude, no benchmark.

"""


def results(folder: Path) -> dict[str, Any]:
    """Return what was measured, by series, the oldest first."""
    files = sorted(folder.glob("*.json"), key=lambda file: [int(part) for part in file.stem.split(".")])
    return {file.stem: json.loads(file.read_text()) for file in files}


def page(data: dict[str, Any]) -> str:
    head = HEAD.format(
        layers=LAYERS,
        deadline=DEADLINE,
        memory=MEMORY // 2**30,
        stock=" and ".join(map(str, STOCK_LAYERS)),
        code=CODE_LAYERS,
    )
    sections = [
        head + outcome(data),
        places(data),
        *(series_section(*item) for item in data.items()),
        read_section(),
    ]
    return "\n\n".join(sections) + "\n"


def ran(data: dict[str, Any]) -> dict[str, Any]:
    """Return the models of a series that its PyTorch has the means for."""
    return {name: model for name, model in data["models"].items() if "unavailable" not in model}


def outcome(data: dict[str, Any]) -> str:
    """Say in a few lines how all of it came out."""
    header = (
        "PyTorch",
        "Python",
        "models",
        "ended",
        "slowest",
        "largest message",
        "code compared",
        "the same",
    )
    rows = []
    for measured in data.values():
        models = ran(measured)
        ended = [model["hooked"] for model in models.values() if has_ended(model["hooked"])]
        compared = [model["same_code"] for model in models.values() if model["same_code"] is not None]
        rows.append(
            (
                measured["torch"],
                measured["python"],
                str(len(models)),
                str(len(ended)),
                f"{max((result['seconds'] for result in ended), default=0):.0f} s",
                f"{max((result['message'] for result in ended), default=0):,} characters",
                str(len(compared)),
                str(sum(compared)),
            )
        )
    return table(header, rows)


def places(data: dict[str, Any]) -> str:
    """List the functions of PyTorch that asked for a text of IR, or raised an error that holds one."""
    found: dict[str, dict[str, list[str]]] = {}
    for series, measured in data.items():
        for name, model in ran(measured).items():
            shallow = model["stock"][str(STOCK_LAYERS[0])]
            for place in shallow.get("asked_by", ()):
                found.setdefault(place, {}).setdefault(series, []).append(name)
    rows = []
    for place, by_series in sorted(found.items()):
        names = list(dict.fromkeys(name for names in by_series.values() for name in names))
        shown = ", ".join(f"`{name}`" for name in names[:SHOWN_MODELS])
        more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
        rows.append((f"`{place}`", ", ".join(by_series), shown + more))
    words = (
        "The functions that asked for the text of an IR node, as seen in stock. Where an error holds a node, that is whoever makes "
        "a message of it: `LoweringException` in `exc.py`, Dynamo, or who prints the traceback."
    )
    return f"## Who asks\n\n{words}\n\n{table(('asked by', 'seen in', 'models'), rows)}"


def series_section(series: str, measured: dict[str, Any]) -> str:
    shallow, deeper = map(str, STOCK_LAYERS)
    header = (
        "model",
        "how it is reached",
        f"stock, {shallow} layers: largest text",
        f"{deeper} layers",
        f"lowering-hooks, {LAYERS} layers",
        "largest text",
        "cause kept",
    )
    rows = []
    for name, model in ran(measured).items():
        hooked = model["hooked"]
        rows.append(
            (
                f"`{name}`",
                model["reached"],
                largest(model["stock"][shallow]),
                largest(model["stock"][deeper]),
                ending(hooked),
                largest(hooked),
                kept(hooked),
            )
        )
    missing = [
        f"`{name}` ({model['unavailable']})"
        for name, model in measured["models"].items()
        if "unavailable" in model
    ]
    without = f"\n\nNot in this release: {', '.join(missing)}." if missing else ""
    title = f"## PyTorch {measured['torch']}, Python {measured['python']}, {measured['date']}"
    return f"{title}\n\n{table(header, rows)}{without}"


def kept(result: dict[str, Any]) -> str:
    """Say whether the cause of an error is still in what was written; empty where none was wanted."""
    if result.get("way") not in ("error", "raises"):
        return ""
    if result["cause"]:
        return "yes"
    return "**no**" if result["error"] else "no error"


def largest(result: dict[str, Any]) -> str:
    """Return the size of the largest text, and where it stands."""
    if not has_ended(result):
        return ending(result)
    characters, logger = result["largest_log"]
    texts = [
        (result["message"], "message"),
        (characters, f"log of {logger.removeprefix('torch.')}"),
        (result["largest_file"], result["file"]),
    ]
    size, where = max(texts)
    return f"{size:,}, {where}" if size else "none"


def read_section() -> str:
    words = "Places that no model reaches on a machine without a GPU, or at all, found by reading."
    return f"## Found by reading\n\n{words}\n\n{table(unreached.HEADER, unreached.PLACES)}"
