"""One vLLM engine, in a process of its own: run by path in the engine's environment.

Reads one JSON object from ``sys.argv[1]``, starts the engine on a model made of a ``config.json`` and random
weights, generates greedily, shuts down, and writes ``answer.json`` into the folder that it was given.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

# Token ids; all the models have a vocabulary of 256.
PROMPTS = ([1, 5, 9, 13, 17], [3, 200, 77])
TOKENS = 8
TOP_LOGPROBS = 5


def main(spec: dict[str, Any]) -> None:
    folder = Path(spec["folder"])
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(spec["config"]))

    import torch

    applied_by_torch = "lowering_hooks" in sys.modules

    start = time.perf_counter()
    import vllm

    llm = vllm.LLM(
        str(model),
        load_format="seeded",
        skip_tokenizer_init=True,
        max_model_len=128,
        max_num_batched_tokens=128,
        max_num_seqs=4,
        tensor_parallel_size=spec["tensor_parallel"],
        enforce_eager=spec["eager"],
    )
    seconds = time.perf_counter() - start
    sampling = vllm.SamplingParams(
        temperature=0, max_tokens=TOKENS, detokenize=False, ignore_eos=True, logprobs=TOP_LOGPROBS
    )
    results = llm.generate([{"prompt_token_ids": ids} for ids in PROMPTS], sampling)
    completions = [result.outputs[0] for result in results]
    answer = {
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "applied_by_torch": applied_by_torch,
        "engine_seconds": seconds,
        "tokens": [list(completion.token_ids) for completion in completions],
        "logprobs": [[likeliest(place) for place in completion.logprobs] for completion in completions],
    }
    (folder / "answer.json").write_text(json.dumps(answer))
    # By default vLLM kills the engine core's process after 5 s, and with it what is written at its end.
    llm.llm_engine.engine_core.shutdown(timeout=60)


def likeliest(place: dict[int, Any]) -> list[tuple[int, float]]:
    return sorted((token, entry.logprob) for token, entry in place.items())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
