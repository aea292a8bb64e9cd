"""How well this build of llama.cpp computes: `python -m infd.models.checkup --extra-bufts 0|1`.

It decodes with the bundled (quantised) model in this process, which a broken build may end, and
prints JSON. `infd doctor` asks.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Sequence
from typing import Any

from infd import children, logs
from infd.demo import MODEL_PATH

PROMPT_TOKENS = 256
DECODED_TOKENS = 64
ROUNDS = 3
"""The best counts: the first one reads the weights from disk, others may be disturbed."""


def measure(extra_bufts: bool) -> dict[str, Any]:
    """Tokens a second of a prompt and of decoding with one thread, and what the build is."""
    from infd.engine.library import kernels, version
    from infd.engine.model import Model
    from infd.engine.plain import PlainLoop

    model = Model.load(MODEL_PATH, extra_bufts=extra_bufts)
    loop = PlainLoop(model, n_ctx=PROMPT_TOKENS + DECODED_TOKENS, n_threads=1)
    prompt = [token % model.info.n_vocab for token in range(PROMPT_TOKENS)]
    runs = [loop.run(prompt, DECODED_TOKENS) for _ in range(ROUNDS)]
    return {
        "version": version(),
        "kernels": kernels(),
        "prompt": max(PROMPT_TOKENS / run.prompt_s for run in runs),
        "decode": max(len(run.tokens) / run.decode_s if run.tokens else 0.0 for run in runs),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infd.models.checkup")
    parser.add_argument("--extra-bufts", type=int, choices=(0, 1), default=1)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.parent:
        children.end_with_parent(given.parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logs.configure("json", "error")
    measured = measure(bool(given.extra_bufts))
    logs.close()
    print(json.dumps(measured), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
