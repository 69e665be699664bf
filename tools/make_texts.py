"""Writes ``docs/texts.md``: one fallback as stock PyTorch, ``args`` and ``graph`` write it.

``python tools/make_texts.py`` compiles a small model in fresh processes of the Python that runs it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lowering_hooks.cli.compile_process import WORKER_FOLDER
from lowering_hooks.cli.environment import uncached
from lowering_hooks.cli.tables import table

PAGE_FILE = Path(__file__).resolve().parent.parent / "docs" / "texts.md"
NAMESPACE = "mylib"
SHOWN_LAYERS = 2
COUNTED_LAYERS = (2, 4, 6, 8, 10)
# The variables with which a process writes the text in each of these ways.
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
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-texts-") as cache:
        texts = {
            (variant, layers): text_of(variant, layers, cache)
            for variant in VARIANTS
            for layers in COUNTED_LAYERS
        }
    rows = [
        (str(layers), *(f"{len(texts[variant, layers][1]):,}" for variant in VARIANTS))
        for layers in COUNTED_LAYERS
    ]
    shown = {variant: texts[variant, SHOWN_LAYERS][1] for variant in VARIANTS}
    page = PAGE.format(
        shown=SHOWN_LAYERS,
        torch=texts["stock", SHOWN_LAYERS][0],
        model=MODEL.replace("LAYERS", str(SHOWN_LAYERS)),
        table=table(("layers", *VARIANTS), rows),
        **shown,
    )
    PAGE_FILE.write_text(page)


def text_of(variant: str, layers: int, cache: str) -> tuple[str, str]:
    """Return the version of PyTorch and the text, from a fresh process."""
    environment = uncached(cache) | VARIANTS[variant]
    command = [sys.executable, __file__, "compile", str(layers)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    torch_version, text = json.loads(done.stdout.splitlines()[-1])
    return torch_version, text


def compile_model(layers: int) -> None:
    """Compile the model, and print PyTorch's version and what was logged for its last op."""
    import torch
    import torch._inductor.compile_fx

    import lowering_hooks

    sys.path.insert(0, str(WORKER_FOLDER))
    from demo_compiling import log_to
    from demo_decoder import define_ops, tensors

    lowering_hooks.allow(NAMESPACE)

    messages: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    log_to(Kept(), logging.INFO)
    library = torch.library.Library(NAMESPACE, "DEF")  # held, since its kernels go with it
    ops = define_ops(library, "op", [])
    x, _, norm, weight, _, _ = tensors()
    scope: dict[str, Any] = {"LAYERS": layers, "add_rms_norm": ops.add_rms_norm, "matmul": ops.matmul}
    # The text names the file in which each op stands, so the model gets the name of one.
    exec(compile(MODEL, "model.py", "exec"), scope)
    torch.compile(scope["model"], fullgraph=True)(x, norm, weight)
    (text,) = (m for m in messages if m.startswith("Creating implicit fallback") and "matmul" in m)
    print(json.dumps([torch.__version__, text]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["compile"]:
        compile_model(int(sys.argv[2]))
    else:
        main()
