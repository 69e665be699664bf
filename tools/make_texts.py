"""Writes docs/texts.md: one fallback as stock PyTorch, ``args`` and ``graph`` write it.

``python docs/make_texts.py`` compiles a small model in fresh processes of the Python that runs it.
"""

from __future__ import annotations

import json
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
SHOWN_LAYERS = 2
COUNTED_LAYERS = (2, 4, 6, 8, 10)
# What is set for a process that writes the text so; stock's has nothing of ours but the line that forbids it.
VARIANTS = {
    "stock": {"LOWERING_HOOKS": "0"},
    "args": {"LOWERING_HOOKS_DETAIL": "args"},
    "graph": {"LOWERING_HOOKS_DETAIL": "graph"},
}

MODEL = """\
def model(x, norm, weight):
    residual = x
    for _ in range(LAYERS):
        x, residual = add_rms_norm(x, residual, norm)
    return matmul(x, weight)
"""

PAGE = """\
# The log line

<!-- Written by `nox -s texts`. -->

What "Creating implicit fallback" reads like for the last op of this model, with {shown} layers (PyTorch {torch},
CPU, `TORCH_LOGS=inductor`):

```python
{model}```

`add_rms_norm` has two outputs, and both are read by the next layer: from layer to layer Inductor's own text
doubles. Its characters, and those of the texts of lowering-hooks:

{table}

## `LOWERING_HOOKS_DETAIL=args`, the default

```text
{args}
```

## `LOWERING_HOOKS_DETAIL=graph`

```text
{graph}
```

## Stock PyTorch

With lowering-hooks: `LOWERING_HOOKS_DETAIL=full`.

```text
{stock}
```
"""


def main() -> None:
    texts = {(variant, layers): text_of(variant, layers) for variant in VARIANTS for layers in COUNTED_LAYERS}
    head = "| layers | " + " | ".join(VARIANTS) + " |\n| --- |" + " --- |" * len(VARIANTS)
    rows = [
        f"| {layers} | " + " | ".join(f"{len(texts[variant, layers][1]):,}" for variant in VARIANTS) + " |"
        for layers in COUNTED_LAYERS
    ]
    shown = {variant: texts[variant, SHOWN_LAYERS][1] for variant in VARIANTS}
    page = PAGE.format(
        shown=SHOWN_LAYERS,
        torch=texts["stock", SHOWN_LAYERS][0],
        model=MODEL.replace("LAYERS", str(SHOWN_LAYERS)),
        table="\n".join([head, *rows]),
        **shown,
    )
    (DOCS / "texts.md").write_text(page)


def text_of(variant: str, layers: int) -> tuple[str, str]:
    """Return the version of PyTorch and the text, from a fresh process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOWERING_HOOKS")}
    kept |= VARIANTS[variant] | {"TORCHINDUCTOR_VEC_ISA_OK": "0", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    command = [sys.executable, __file__, "compile", str(layers)]
    done = subprocess.run(command, env=kept, stdout=subprocess.PIPE, text=True, check=True)
    torch_version, text = json.loads(done.stdout.splitlines()[-1])
    return torch_version, text


def compile_model(layers: int) -> None:
    """Compile the model, and print PyTorch's version and what was logged for its last op."""
    import torch
    import torch._inductor.compile_fx

    import lowering_hooks

    demo = runpy.run_path(str(DOCS.parent / "lowering_hooks" / "cli" / "worker" / "demo_worker.py"))
    demo["define_ops"].__globals__["NAMESPACE"] = "mylib"
    lowering_hooks.allow("mylib")

    messages: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    demo["log_to"](Kept(), logging.INFO)
    library = torch.library.Library("mylib", "DEF")  # held: its kernels go with it
    ops = demo["define_ops"](library, "op", [])
    x, _, norm, weight, _, _ = demo["tensors"]()
    scope: dict[str, Any] = {"LAYERS": layers, "add_rms_norm": ops.add_rms_norm_, "matmul": ops.matmul_}
    # Under a name of its own, since Inductor records where each op stands.
    exec(compile(MODEL, "model.py", "exec"), scope)
    torch.compile(scope["model"], fullgraph=True)(x, norm, weight)
    (text,) = (m for m in messages if m.startswith("Creating implicit fallback") and "matmul" in m)
    print(json.dumps([torch.__version__, text]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["compile"]:
        compile_model(int(sys.argv[2]))
    else:
        main()
