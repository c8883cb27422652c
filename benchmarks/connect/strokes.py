"""A small network that tells styles, trained from nothing.

The style judge of `benchmarks.base_model` listens to the very layers of the pretrained network through which the module
`style` looks (`intarsia.connect.encoders.Texture`): a module might please it by what those layers see and nobody else
does. This one shares no weight with either, so that what both measures say is about style.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (24, 48, 64, 96)


class Strokes(nn.Module):
    """Pictures (batch, 3, 64, 64) in [0, 1] to style logits."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.GroupNorm(8, after), nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(),
            )
            for before, after, stride in zip((3, *CHANNELS), CHANNELS, (1, 2, 2, 2), strict=False)
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * sum(CHANNELS), styles))

    def logits(self, pictures: Tensor) -> Tensor:
        """(batch, styles), of the mean and deviation of every layer over the picture."""
        hidden, heard = 2 * pictures - 1, []
        for layer in self.layers:
            hidden = layer(hidden)
            heard += [hidden.mean((2, 3)), (hidden.var((2, 3)) + 1e-5).sqrt()]
        return self.head(torch.cat(heard, 1))

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        pictures, styles = batch
        logits = self.logits(pictures)
        right = (logits.argmax(1) == styles).float().mean()
        return {"loss": F.cross_entropy(logits, styles, label_smoothing=0.05), "right": right}
