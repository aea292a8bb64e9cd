"""Trying a model file out: `python -m infd.models.probe PATH --extra-bufts 0|1`.

It loads the file and decodes a few tokens, so that whatever would end the process ends this one.
The last line on standard output is JSON: {"ok": true} or {"error": sentence}; a death by a signal
is an answer too. `prober.py` asks.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Sequence

from infd import children, logs

PROMPT_TOKENS = 32
"""Enough for one tile of the matrix kernels (16 rows), which single tokens do not use."""
DECODED_TOKENS = 4
CONTEXT_TOKENS = 256
"""llama.cpp rounds smaller contexts up to this."""


def try_out(path: str, extra_bufts: bool) -> str:
    """Load and decode. Gives what is wrong with the file, or nothing."""
    from infd.engine.errors import EngineError
    from infd.engine.model import Model
    from infd.engine.plain import PlainLoop

    try:
        model = Model.load(path, extra_bufts=extra_bufts)
        if model.info.cannot_generate or not model.info.has_tokenizer:
            return ""
        loop = PlainLoop(model, n_ctx=CONTEXT_TOKENS, n_threads=1)
        loop.run([token % model.info.n_vocab for token in range(PROMPT_TOKENS)], DECODED_TOKENS)
        # That reply may have ended at once; the kernels for single tokens are others.
        loop.run([0], 1)
    except EngineError as error:
        return str(error)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infd.models.probe")
    parser.add_argument("path")
    parser.add_argument("--extra-bufts", type=int, choices=(0, 1), default=1)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.parent:
        children.end_with_parent(given.parent)
    # A core dump of a model's weights would fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logs.configure("json", "error")
    wrong = try_out(given.path, bool(given.extra_bufts))
    logs.close()
    print(json.dumps({"error": wrong} if wrong else {"ok": True}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
