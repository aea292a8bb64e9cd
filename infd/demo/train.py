"""Trains the demo model: ``python -m infd.demo.train --out DIR --minutes 82``.

Rules: the schedule follows the clock: the learning rate is constant for the first part of the
given minutes and then falls to zero, so a slower machine sees fewer tokens and still ends well.
A checkpoint is written every three minutes, and at SIGTERM; started again, training goes on
from it. What is exported is the running average of the weights. Data is generated as it is
needed, by SEED.
Limits: two threads by default; the figures depend on the machine, so two runs are alike, not
equal.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from infd.demo.conversations import opened
from infd.demo.network import Network, Shape
from infd.demo.tokenizer import Coder

SEED = 20264633
TOKENS = 4096  # a step
SAVE_EVERY = 180.0  # seconds
# Lengths of the sequences and how often a step is made of each: before LATE, and after it.
LENGTHS = {256: 75, 512: 22, 1024: 3}
LATE_LENGTHS = {256: 60, 512: 30, 1024: 10}
LATE = 0.6
FLAT = 0.35  # of the time, at the full learning rate
WARM = 100  # steps
MUON_RATE, ADAM_RATE = 2e-3, 3e-3


class Source:
    """An endless source of batches of one length each."""

    def __init__(self, coder: Coder, rng: random.Random) -> None:
        self.coder = coder
        self.rng = rng

    def row(self, length: int) -> tuple[list[int], list[bool]]:
        """A conversation that fills ``length`` tokens but for less than a turn."""
        while True:
            talk = opened(self.rng)
            tokens: list[int] = []
            asked: list[bool] = []
            done = 0
            while True:
                for message in talk.messages[done:]:
                    more, labels = self.coder.message(message)
                    tokens += more
                    asked += labels
                if len(tokens) > length:
                    break
                kept, done = len(tokens), len(talk.messages)
                talk.turn()
            if done > 1:
                pad = length - kept
                return tokens[:kept] + [0] * pad, asked[:kept] + [False] * pad

    def batch(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (rows, length), positions whose next token is asked for, and those tokens."""
        rows = [self.row(length) for _ in range(TOKENS // length)]
        tokens = torch.tensor([row[0] for row in rows])
        asked = torch.tensor([row[1] for row in rows])
        nexts = torch.roll(tokens, -1, dims=1).flatten()
        where = torch.roll(asked, -1, dims=1).flatten().nonzero().flatten()
        return tokens, where, nexts[where]


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, out: Path, seconds: float, shape: Shape, coder: Coder) -> None:
        self.out = out
        self.seconds = seconds
        self.network = Network(shape)
        named = dict(self.network.named_parameters())
        deep = [w for name, w in named.items() if w.dim() == 2 and "embedding" not in name]
        rest = [w for name, w in named.items() if w.dim() != 2 or "embedding" in name]
        self.weights = [*named.values()]
        self.average = [weight.detach().clone() for weight in self.weights]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(deep, lr=MUON_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0, fused=True),
        ]
        self.rng = random.Random(SEED)
        self.source = Source(coder, self.rng)
        self.step = self.tokens = 0
        self.spent = 0.0

    def save(self) -> None:
        """Write the checkpoint, never half of one."""
        names = [name for name, _ in self.network.named_parameters()]
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": dict(zip(names, self.average, strict=True)),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": self.rng.getstate(),
            "step": self.step,
            "tokens": self.tokens,
            "spent": self.spent,
            "shape": self.network.shape,
        }
        part = self.out / "checkpoint.part"
        torch.save(state, part)
        os.replace(part, self.out / "checkpoint.pt")

    def load(self) -> None:
        """Go on from the checkpoint, if there is one."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=False)
        self.network.load_state_dict(state["network"])
        self.average = list(state["average"].values())
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.rng.setstate(state["rng"])
        self.step, self.tokens, self.spent = state["step"], state["tokens"], state["spent"]

    def rate(self) -> float:
        """The share of the full learning rate that this moment has."""
        left = 1 - self.spent / self.seconds
        return max(0.0, min(1.0, (self.step + 1) / WARM, left / (1 - FLAT)))

    def learn(self, body: Any) -> float:
        """One step; gives the loss."""
        late = self.spent > LATE * self.seconds
        lengths = LATE_LENGTHS if late else LENGTHS
        length = self.rng.choices(list(lengths), list(lengths.values()))[0]
        inputs, where, targets = self.source.batch(length)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = body(inputs).flatten(0, 1)[where]
            logits = self.network.logits(hidden)
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        for optimizer, full in zip(self.optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = full * self.rate()
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.tokens += inputs.numel()
        with torch.no_grad():
            keep = min(0.998, 1 - 1 / (1 + self.step / 3))
            torch._foreach_lerp_(self.average, self.weights, 1 - keep)
        return float(loss.detach())


def main() -> None:
    """Train until the minutes are spent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=82)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    options.out.mkdir(parents=True, exist_ok=True)
    coder = Coder()
    run = Run(options.out, options.minutes * 60, Shape(coder.size), coder)
    run.load()
    body = torch.compile(run.network, dynamic=False)
    last = saved = logged = time.monotonic()
    losses: list[float] = []
    before = run.tokens
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    while run.spent < run.seconds and not ended:
        losses.append(run.learn(body))
        now = time.monotonic()
        run.spent += now - last
        last = now
        if now - logged > 30:
            speed = (run.tokens - before) / (now - logged)
            loss = sum(losses) / len(losses)
            print(
                f"{run.spent:.0f} s  step {run.step}  {run.tokens / 1e6:.2f} M tokens  "
                f"{speed:.0f} a second  loss {loss:.4f}  rate {run.rate():.2f}",
                flush=True,
            )
            logged, before, losses = now, run.tokens, []
        if now - saved > SAVE_EVERY:
            run.save()
            saved = now
    run.save()


if __name__ == "__main__":
    main()
