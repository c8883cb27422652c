"""One block of a timestep-aware perceiver: carried tokens look at themselves and at what they read, as time tells them.

Source: ELLA (Hu et al. 2024), the Timestep-Aware Semantic Connector: pre-norm attention of
the carried tokens over themselves and the read tokens in one, then a feed-forward part with a squared ReLU; every norm
is shifted and scaled by the time step (AdaLN), and there is no output gate. The order of operations is the released
model's, so that its weights give its answers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4  # of the feed-forward part, as released


class AdaptiveNorm(nn.Module):
    """A layer norm whose shift and scale come from the time step; at birth it is a plain norm without either."""

    def __init__(self, width: int, time_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(time_width, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, tokens: Tensor, moment: Tensor) -> Tensor:
        """Tokens (batch, tokens, width) at a moment (batch or 1, 1, time_width); the same shape as the tokens."""
        shift, scale = self.linear(F.silu(moment)).chunk(2, dim=-1)
        return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * (1 + scale) + shift


class Perceiver(nn.Module):
    """What a block adds to carried tokens (batch, carried, width).

    Both parts return what is to be added, so that whoever calls them can weigh it, or sum it with another block's.

    Args:
        width: Of the carried and of the read tokens.
        heads: Of the attention; divides `width`.
        time_width: Of the moment, a vector for the time step.
        reads_itself: Whether the carried tokens are among the keys, as in ELLA's code. What EMMA does in its gated
            blocks is not said.
    """

    def __init__(self, width: int, heads: int, time_width: int, *, reads_itself: bool = True) -> None:
        super().__init__()
        self.reads_itself = reads_itself
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.widen = nn.Linear(width, EXPANSION * width)
        self.narrow = nn.Linear(EXPANSION * width, width)
        self.norm_carried = AdaptiveNorm(width, time_width)
        self.norm_read = AdaptiveNorm(width, time_width)
        self.norm_feed = AdaptiveNorm(width, time_width)

    def attend(self, carried: Tensor, read: Tensor, moment: Tensor, real: Tensor | None = None) -> Tensor:
        """What attention adds: (batch, carried, width).

        Args:
            read: Tokens to look at, (batch, read, width).
            moment: (batch or 1, 1, time_width).
            real: (batch, read), true where a read token is not padding; all are real if it is not given. A sample
                without a single key to look at gets NaN.
        """
        asking, heard = self.norm_carried(carried, moment), self.norm_read(read, moment)
        keys = torch.cat([asking, heard], dim=1) if self.reads_itself else heard
        padding = None if real is None else F.pad(~real, (keys.shape[1] - heard.shape[1], 0), value=False)
        return self.attention(asking, keys, keys, key_padding_mask=padding, need_weights=False)[0]

    def feed(self, carried: Tensor, moment: Tensor) -> Tensor:
        """What the feed-forward part adds: (batch, carried, width)."""
        return self.narrow(F.relu(self.widen(self.norm_feed(carried, moment))).square())

    def forward(self, carried: Tensor, read: Tensor, moment: Tensor) -> Tensor:
        """The carried tokens after both parts."""
        carried = carried + self.attend(carried, read, moment)
        return carried + self.feed(carried, moment)
