"""What the downstream checks add to vLLM: a plugin, called in every process that vLLM starts.

``VLLM_DOWNSTREAM`` says, as one JSON object, what to add; without it the plugin does nothing:

====================  ==================================================================================
``observed``          folder into which each process writes ``PID.json`` (:class:`Observed`)
``seed``              of the weights that the load format ``seeded`` draws
``functional``        whether the kernels of ``vllm_functional_kernels`` replace vLLM's
``compiled_experts``  as ``vllm_functional_kernels.register`` takes it
``allow_list``        ``as found``; ``original``: vLLM's proxy is undone; ``plain set proxy``: one is put in
``disallowed``        namespaces that lowering-hooks, where it is loaded, no longer allows
``texts``             whether Inductor's texts are timed, which lowering-hooks does itself
====================  ==================================================================================

Stock must be stock: there, this imports nothing of lowering-hooks but the demo's plain set proxy, a module that
stands alone.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import multiprocessing
import os
import sys
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import wrapt

GRAPH = "torch._inductor.graph"


def plugin() -> None:
    wanted = os.environ.get("VLLM_DOWNSTREAM")
    if wanted is None:
        return
    spec = json.loads(wanted)
    Observer(Path(spec["observed"]), spec["texts"]).start()
    register_seeded_weights(spec["seed"])
    if spec["functional"]:
        import vllm_functional_kernels

        vllm_functional_kernels.register(spec["compiled_experts"])
    if spec["allow_list"] != "as found":
        replace_allow_list(spec["allow_list"])
    if spec["disallowed"]:
        import lowering_hooks

        lowering_hooks.disallow(*spec["disallowed"])


@dataclass
class Observed:
    """What the observer saw of one process.

    Attributes:
        process: Its script, or the name that vLLM gave it.
        lowerings: How many graphs were lowered to their end.
        lowering_seconds: How long that took, the texts included.
        lowering_since: When the lowering that is running began, in seconds since the epoch.
        texts: How many texts of ops Inductor wrote; 0 where texts are not timed, as the next two.
        text_seconds: How long these took.
        text_characters: How long these were.
        allow_lists: The types of Inductor's FALLBACK_ALLOW_LIST, where it is defined and where it is
            read, after the last lowering.
        lowering_hooks: Whether lowering-hooks was loaded, after the last lowering or at the plugin's call.
    """

    process: str
    lowerings: int = 0
    lowering_seconds: float = 0.0
    lowering_since: float | None = None
    texts: int = 0
    text_seconds: float = 0.0
    text_characters: int = 0
    allow_lists: tuple[str, ...] = ()
    lowering_hooks: bool = False


class Observer:
    """Times ``GraphLowering.run``, and writes what it saw before and after each call."""

    def __init__(self, folder: Path, texts: bool) -> None:
        name = multiprocessing.current_process().name
        self._seen = Observed(Path(sys.argv[0]).name if name == "MainProcess" else name)
        self._file = folder / f"{os.getpid()}.json"
        self._texts = texts

    def start(self) -> None:
        self._write()
        wrapt.register_post_import_hook(self._watch, GRAPH)

    def _watch(self, graph: Any) -> None:
        seen, run = self._seen, graph.GraphLowering.run

        @functools.wraps(run)
        def timed_run(lowering: Any, *args: Any) -> Any:
            if seen.lowering_since is not None:  # a subgraph
                return run(lowering, *args)
            seen.lowering_since = time.time()
            self._write()
            start = time.perf_counter()
            try:
                return run(lowering, *args)
            finally:
                seen.lowering_seconds += time.perf_counter() - start
                seen.lowerings += 1
                seen.lowering_since = None
                modules = (sys.modules["torch._inductor.lowering"], graph)
                seen.allow_lists = tuple(_type_name(module.FALLBACK_ALLOW_LIST) for module in modules)
                self._write()

        graph.GraphLowering.run = timed_run
        if self._texts:
            issue = sys.modules["torch._inductor.exc"].OperatorIssue
            issue.operator_str = staticmethod(self._timed_text(issue.operator_str))

    def _timed_text(self, operator_str: Any) -> Any:
        seen = self._seen

        @functools.wraps(operator_str)
        def timed_text(*args: Any) -> str:
            start = time.perf_counter()
            text: str = operator_str(*args)
            seen.text_seconds += time.perf_counter() - start
            seen.text_characters += len(text)
            seen.texts += 1
            return text

        return timed_text

    def _write(self) -> None:
        self._seen.lowering_hooks = "lowering_hooks" in sys.modules
        draft = self._file.with_suffix(".part")
        draft.write_text(json.dumps(asdict(self._seen)))
        draft.replace(self._file)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def register_seeded_weights(seed: int) -> None:
    """Register the load format ``seeded``: random weights as large as trained ones.

    vLLM's own format ``dummy`` draws them so small that all models answer alike.
    """
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader

    @register_model_loader("seeded")
    class SeededLoader(BaseModelLoader):
        def download_model(self, model_config: Any) -> None:
            pass

        @torch.no_grad()
        def load_weights(self, model: Any, model_config: Any) -> None:
            for name, weight in model.named_parameters():
                generator = torch.Generator().manual_seed(seed ^ zlib.crc32(name.encode()))
                drawn = torch.randn(weight.shape, generator=generator)
                # A vector scales or shifts; a matrix must keep its input's size.
                weight.copy_(1 + drawn / 10 if weight.ndim == 1 else drawn / weight.shape[-1] ** 0.5)


def replace_allow_list(wanted: str) -> None:
    """Replace Inductor's allow list.

    Args:
        wanted: ``original`` or ``plain set proxy``.
    """
    if wanted == "original":
        from torch._inductor import graph, lowering

        # vLLM 0.32.0: its proxy keeps the original under this name; if missing: AttributeError.
        graph.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST = lowering.FALLBACK_ALLOW_LIST._inner
        return
    # Importing lowering-hooks to find this folder would apply it.
    package = Path(importlib.util.find_spec("lowering_hooks").origin).parent
    sys.path.append(str(package / "cli" / "worker"))
    from demo_compiling import install_plain_set_proxy

    install_plain_set_proxy("vllm")
