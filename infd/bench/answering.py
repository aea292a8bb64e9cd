"""A process that computes without the daemon and answers in lines of JSON: its own end (side.py is
the parent's).

It reads one request a line from standard input and writes one answer a line. The request's "do"
names what is asked: "load" a model first, then a method of what loading it gave; the other keys
are its arguments. A request that fails is answered {"error": words}, and the process goes on until
its input ends, or its parent does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from infd import children


class Served(Protocol):
    """A loaded model."""

    def about(self) -> dict[str, Any]:
        """The model and the library: the answer to "load"."""


def answer_requests(load: Callable[..., Served]) -> None:
    """Serve requests until standard input ends. `load`: what loads the model."""
    children.end_with_parent(os.getppid())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever llama.cpp prints is no answer
    served: Served | None = None
    for line in sys.stdin.buffer:
        request: dict[str, Any] = json.loads(line)
        do = request.pop("do")
        try:
            if do == "load":
                served = load(**request)
                answer = served.about()
            elif served is None:
                raise ValueError("no model is loaded")
            else:
                answer = getattr(served, do)(**request)
        except Exception as error:
            answer = {"error": " ".join(str(error).split()) or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
