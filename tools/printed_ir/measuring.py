"""Compiles one model in this process, and measures how much text that writes, and how it ends.

``python -m printed_ir.measuring NAME [LAYERS]``, with ``tools`` on the path, compiles one with the PyTorch that
runs it, and prints one JSON object.  Without arguments it lists the names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from .asking import Askers
from .building import Ops, UnavailableError
from .models import MODELS

DEFAULT_LAYERS = 60
# What is written down names files from here, wherever a clone stands.
ROOT = str(Path(__file__).resolve().parents[2]) + os.sep


class Texts:
    """Counts what the loggers of PyTorch write.

    Args:
        cause: A text that one of them may hold; :attr:`has_cause` says whether one does.
    """

    def __init__(self, cause: str) -> None:
        self.cause, self.has_cause = cause, False
        self.total = 0
        self.largest = (0, "")

    def count(self, logger: str, text: str) -> None:
        self.total += len(text)
        self.has_cause = self.has_cause or self.cause in text
        self.largest = max(self.largest, (len(text), logger))

    def listen(self, everything: bool) -> None:
        """Replace the output of PyTorch's log handlers.

        Args:
            everything: Whether Inductor logs at DEBUG, with all its artifacts.
        """
        if hasattr(torch, "_logging") and hasattr(torch._logging, "_internal"):
            internal = torch._logging._internal
            if everything:
                names = ["+inductor", "+aot"]
                loggers = internal.log_registry.artifact_log_qnames
                artifacts = {
                    name.rpartition(".__")[2] for name in loggers if name.startswith("torch._inductor")
                }
                os.environ["TORCH_LOGS"] = ",".join(names + sorted(artifacts))
            internal._init_logs()
            loggers = [
                logging.getLogger(name)
                for name in list(logging.Logger.manager.loggerDict)
                # torch.__trace writes what TORCH_TRACE asks for, into a file.
                if name.split(".")[0] == "torch" and name != "torch.__trace"
            ]
            for logger in loggers:
                for handler in logger.handlers:
                    handler.emit = self._emit(handler)  # type: ignore[method-assign]
            return
        import torch._dynamo.logging as dynamo_logging

        # PyTorch 2.0 sets up its loggers anew at every compile.
        dynamo_logging.init_logging = lambda *args, **kwargs: None
        handler = logging.Handler()
        handler.emit = self._emit(handler)  # type: ignore[method-assign]
        for name in ("torch._dynamo", "torch._inductor", "torch._functorch"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(logging.DEBUG if everything else logging.WARNING)

    def _emit(self, handler: logging.Handler) -> Callable[[logging.LogRecord], None]:
        return lambda record: self.count(record.name, handler.format(record))


def output_of_files(folder: Path) -> tuple[int, int, str]:
    """Return the size of all files together, and the size and the name of the largest one."""
    sizes = [(file.stat().st_size, file.name) for file in folder.rglob("*") if file.is_file()]
    return sum(size for size, _ in sizes), *max(sizes, default=(0, ""))


def digests_of_code(cache: str) -> list[str]:
    """Return the digest of each generated source file, without paths and addresses."""
    found: list[str] = []
    for file in sorted(Path(cache).rglob("*")):
        if file.suffix in (".py", ".cpp") and file.is_file():
            text = file.read_text(errors="replace").replace(cache, "CACHE")
            # Beside a frozen parameter stands its address.
            text = re.sub(r"\b[0-9a-f]{12}$", "ADDRESS", text, flags=re.MULTILINE)
            found.append(file.suffix + hashlib.sha256(text.encode()).hexdigest()[:16])
    return sorted(found)


def raised_in(error: BaseException) -> str:
    """Return the function of PyTorch that raised the first of the error's causes."""
    root = str(Path(torch.__file__).parent) + os.sep
    place = ""
    seen: BaseException | None = error
    while seen is not None:
        frames = [f for f in traceback.extract_tb(seen.__traceback__) if f.filename.startswith(root)]
        if frames:
            place = f"{frames[-1].filename[len(root) :]}: {frames[-1].name}"
        seen = seen.__cause__
    return place


@contextlib.contextmanager
def writing_files(folder: Path) -> Iterator[None]:
    """Have Inductor write all the files it can."""
    from torch._inductor import config

    os.environ["TORCH_COMPILE_DEBUG"] = "1"
    os.environ["TORCH_TRACE"] = str(folder / "trace")
    (folder / "trace").mkdir()
    os.chdir(folder)
    torch._dynamo.config.debug_dir_root = str(folder)  # PyTorch 2.0-2.15
    config.trace.enabled = True
    config.trace.debug_log = config.trace.info_log = True
    yield


def run_model(name: str, layers: int, askers: bool = False) -> dict[str, Any]:
    """Compile a model in this process, which must not have compiled anything before."""
    model = MODELS[name]
    from torch._inductor import config

    # Scalar code saves the time of finding out what vector instructions there are; PyTorch 2.0 has no such setting.
    if hasattr(config.cpp, "vec_isa_ok"):
        config.cpp.vec_isa_ok = False
    config.compile_threads = 1
    measured: dict[str, Any] = {"torch": str(torch.__version__), "layers": layers, "way": model.way}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        if model.way == "files":
            stack.enter_context(writing_files(folder))
        try:
            act = model.build(Ops(failing=model.way == "error"), layers)
        except UnavailableError as missing:
            return measured | {"unavailable": str(missing)}
        texts, asked = Texts(model.cause), Askers()
        texts.listen(everything=model.way in ("log", "files"))
        if askers:
            asked.watch()
        start = time.perf_counter()
        error: BaseException | None = None
        message = ""
        try:
            act()
        except Exception as raised:
            error = raised
            message = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        measured |= {
            "seconds": time.perf_counter() - start,
            "error": type(error).__name__ if error else "",
            "message": len(message),
            "raised_in": raised_in(error) if error else "",
            "cause": model.cause in message or texts.has_cause,
            "head": str(error).replace(ROOT, "")[:300] if error else "",
            "log": texts.total,
            "largest_log": texts.largest,
        }
        measured["files"], measured["largest_file"], measured["file"] = output_of_files(folder)
        if askers:
            measured["asked_by"] = asked.found
        if cache := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
            measured["code"] = digests_of_code(cache)
    return measured


def main(arguments: list[str]) -> int:
    if not arguments:
        print("\n".join(MODELS))
        return 2
    if arguments[0] not in MODELS:
        print(f"no such model: {arguments[0]!r}; accepted: {', '.join(MODELS)}", file=sys.stderr)
        return 2
    layers = int(arguments[1]) if len(arguments) > 1 else DEFAULT_LAYERS
    print(json.dumps(run_model(arguments[0], layers)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
