"""A perceiver block behind two gates: nothing at birth, and later as much as each carried token lets in.

Source: EMMA (Han et al. 2024), section 3.1, equations 3 to 6: AttnGate = scale x Linear(L) x A and
FFNGate = scale x Linear(L) x F, where L are the carried tokens, the linear answers one number for each of them (the
"separable" gates), and A and F are learned scalars of the whole block (the "global" ones).

The paper says nothing of a non-linearity, of how gates begin, or whether the carried tokens are among the keys. Ours:
A and F begin at 0 and go through tanh; the linear begins as the constant 1, so that A and F have a gradient from the
first step on and all else has none; keys are as in ELLA. `Gating` holds these choices.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .perceiver import Perceiver

PerToken = Literal["linear", "sigmoid", "none"]


@dataclass(frozen=True)
class Gating:
    """How the gates of a module are made.

    Attributes:
        scale: The fixed scale; the paper's lambda, whose value it does not give.
        per_token: The part that differs from token to token: "linear" as in the paper, "sigmoid" for twice the
            sigmoid of the linear (ours: between 0 and 2, so that many modules cannot add up without bound), "none" for
            the global scalar alone, the paper's ablation.
        bounded: Whether the global scalar goes through tanh (ours) or stands as it is.
        reads_itself: Whether the carried tokens are among the keys.
    """

    scale: float = 1.0
    per_token: PerToken = "linear"
    bounded: bool = True
    reads_itself: bool = True


class Gate(nn.Module):
    """How much of an addition each carried token (batch, tokens, width) lets in: (batch, tokens, 1), or one number.

    Attributes:
        opening: The learned global scalar; 0 is closed.
    """

    def __init__(self, width: int, gating: Gating) -> None:
        super().__init__()
        self.gating = gating
        self.opening = nn.Parameter(torch.zeros(()))
        self.linear = None
        if gating.per_token != "none":
            self.linear = nn.Linear(width, 1)
            nn.init.zeros_(self.linear.weight)
            nn.init.constant_(self.linear.bias, 1.0 if gating.per_token == "linear" else 0.0)

    def forward(self, carried: Tensor) -> Tensor:
        opening = self.opening.tanh() if self.gating.bounded else self.opening
        whole = self.gating.scale * opening
        if self.linear is None:
            return whole
        scores = self.linear(carried)
        return whole * (2 * scores.sigmoid() if self.gating.per_token == "sigmoid" else scores)


class GatedPerceiver(nn.Module):
    """A perceiver block of one modality; shapes are those of `Perceiver`.

    Args:
        width: Of the carried tokens.
        inner: The width that the block works in, and that what it reads has: its inputs are narrowed to that and its
            additions widened again, for a file of a fraction of the size. Ours; at the carried width, if none is
            given, it is the paper's block.
    """

    def __init__(self, width: int, heads: int, time_width: int, gating: Gating, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or width
        self.block = Perceiver(inner, heads, time_width, reads_itself=gating.reads_itself)
        narrowed = inner != width
        self.narrow = nn.Linear(width, inner) if narrowed else nn.Identity()
        self.widen_attended = nn.Linear(inner, width) if narrowed else nn.Identity()
        self.widen_fed = nn.Linear(inner, width) if narrowed else nn.Identity()
        self.attention_gate = Gate(width, gating)
        self.feed_gate = Gate(width, gating)

    def attend(self, carried: Tensor, read: Tensor, moment: Tensor, real: Tensor | None = None) -> Tensor:
        """What attention adds behind its gate: (batch, carried, width)."""
        attended = self.block.attend(self.narrow(carried), read, moment, real)
        return self.attention_gate(carried) * self.widen_attended(attended)

    def feed(self, carried: Tensor, moment: Tensor) -> Tensor:
        """What the feed-forward part adds behind its gate: (batch, carried, width)."""
        return self.feed_gate(carried) * self.widen_fed(self.block.feed(self.narrow(carried), moment))

    @property
    def openings(self) -> tuple[nn.Parameter, nn.Parameter]:
        """The global scalars of attention and of the feed-forward part."""
        return self.attention_gate.opening, self.feed_gate.opening

    @property
    def closed(self) -> bool:
        """Whether both gates are shut for every token, so that the block need not be computed."""
        return not any(bool(opening) for opening in self.openings)
