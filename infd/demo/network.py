"""The network of the demo model: a plain Llama in PyTorch, small enough for two processor cores.

Rules: RMS norm before attention and feed-forward, rotary positions on halves (permuted to pairs
when exported), SwiGLU, input embedding and output tied. ``forward`` gives the hidden states; the
caller multiplies only the positions it needs by the embedding.
Limits: no cache of keys and values: generation here would be slow and is llama.cpp's work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The sizes of the network; ``context`` is the longest sequence it is trained on."""

    vocabulary: int
    width: int = 192
    layers: int = 6
    heads: int = 6
    inner: int = 512
    context: int = 1024
    epsilon: float = 1e-5
    theta: float = 10000.0


def rotation(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (context, head size), for halves laid side by side."""
    size = shape.width // shape.heads
    step = shape.theta ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
    angle = torch.outer(torch.arange(shape.context, dtype=torch.float32), step)
    angle = torch.cat((angle, angle), dim=1)
    return angle.cos(), angle.sin()


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x (batch, heads, time, head size) by its positions."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Layer(nn.Module):  # type: ignore[misc, unused-ignore]
    """One block: attention, then feed-forward, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.attention_norm = nn.RMSNorm(width, eps=shape.epsilon)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.merge = nn.Linear(width, width, bias=False)
        self.inner_norm = nn.RMSNorm(width, eps=shape.epsilon)
        self.gate = nn.Linear(width, shape.inner, bias=False)
        self.up = nn.Linear(width, shape.inner, bias=False)
        self.down = nn.Linear(shape.inner, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x is (batch, time, width)."""
        batch, time, width = x.shape
        into = (batch, time, self.heads, width // self.heads)
        h = self.attention_norm(x)
        query = turn(self.query(h).view(into).transpose(1, 2), cos, sin)
        key = turn(self.key(h).view(into).transpose(1, 2), cos, sin)
        value = self.value(h).view(into).transpose(1, 2)
        seen = F.scaled_dot_product_attention(
            query.to(value.dtype), key.to(value.dtype), value, is_causal=True
        )
        x = x + self.merge(seen.transpose(1, 2).reshape(batch, time, width))
        h = self.inner_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return out


class Network(nn.Module):  # type: ignore[misc, unused-ignore]
    """The whole model; its output matrix is ``embedding.weight``."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        cos, sin = rotation(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("merge.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if deep else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Hidden states (batch, time, width) of tokens (batch, time)."""
        time = tokens.shape[1]
        x = self.embedding(tokens)
        cos, sin = self.cos[:time], self.sin[:time]
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states (..., width)."""
        return F.linear(hidden, self.embedding.weight)
