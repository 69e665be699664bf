"""A process that has imported PyTorch and compiled nothing, and that forks a child for each model.

``python -m printed_ir.server`` says which PyTorch and which models it has.  Then it reads tasks from standard input, one JSON object a line, and answers each with the
exit status of its child.  It imports nothing of lowering-hooks, which only those children do that are to have it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from forked import last_of_process


def serve() -> None:
    """Import PyTorch once, then read tasks, and run each one in a child of this process."""
    import torch._inductor.codegen.cpp
    import torch._inductor.compile_fx

    from .models import MODELS

    reached = {name: model.reached for name, model in MODELS.items()}
    print(json.dumps({"torch": str(torch.__version__), "reached": reached}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            run_task(task)
        print(json.dumps(os.waitpid(child, 0)[1]), flush=True)


def run_task(task: dict[str, Any]) -> None:
    """Run one model, write down what was measured, and end this process."""
    with last_of_process():
        signal.alarm(task["deadline"])
        resource.setrlimit(resource.RLIMIT_AS, (task["memory"], task["memory"]))
        output = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(task["variables"])
        if os.environ.get("LOWERING_HOOKS") != "0":
            import lowering_hooks

            assert lowering_hooks.status().state == "active", lowering_hooks.status()
        from . import measuring

        measured = measuring.run_model(task["model"], task["layers"], task["askers"])
        Path(task["output"]).write_text(json.dumps(measured))


if __name__ == "__main__":
    serve()
