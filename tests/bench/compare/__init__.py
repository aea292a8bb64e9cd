"""The comparison: infd beside other servers and llama.cpp alone, in one run with one libllama.

    python tests/bench/compare [--quick] [--rounds N] [--only SCENARIO] [--contender NAME] …

from the repository's root. It needs `pip install ".[server,compare]"`, and llama-server and
llama-bench as build_llama.py makes them; what is not there is named, and the rest is compared.

Fairness. Every contender gets the same model file, the same text (the same tokens), greedy
sampling, the same limits, as many threads as the machine has cores and its own defaults beyond
that, but infd batched has flash attention, as llama-server has it of itself. All are up during a
scenario; one computes at a time; their order is another in each round; each is warmed up alike.
HTTP contenders are read by a client as small as infd's (sse.py), with the connection made before
the clock starts. Ratios are taken within a round, and medians of them quoted. What a contender
cannot do (llama-cpp-python's server computes one request at a time) it is measured doing in its own
way.

contenders: side.py (what they have in common), daemon.py (infd), servers.py (over HTTP),
alone.py (llama.cpp without a server). scenarios: speed.py, prompts.py, sharing.py. rounds.py
runs them, targets.py judges, report.py and plot.py show.
"""

from __future__ import annotations
