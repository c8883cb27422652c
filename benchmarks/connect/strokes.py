"""Which style a picture is in, told by a small network that was trained from nothing.

The style judge of `benchmarks.base_model` listens to the very layers of the pretrained network through which the module
`style` looks (`intarsia.connect.encoders.Texture`): a module might please it by what those layers see and nobody else
does. This one shares no weight with either, so that what both measures say is about style. Of half of its pictures the
hues are turned, as references of colours are: colours that someone asked for should not count as another style.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.base_model import style_probe
from benchmarks.base_model.judge import styled
from benchmarks.base_model.probe import shaken
from benchmarks.base_model.world import World
from benchmarks.connect.hues import turned
from benchmarks.drawing import processes

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


@torch.no_grad()
def styles_of(strokes: Strokes, pictures: np.ndarray) -> np.ndarray:
    """The number of the style of each picture (count, 64, 64, 3) in bytes."""
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    shown = [torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255 for part in parts]
    return np.concatenate([strokes.logits(part).argmax(1).numpy() for part in shown])


def trained(world: World, out: Path, *, steps: int) -> Strokes:
    """The network, trained now on all real pictures but the held-out cells if it is not yet; resumes."""
    strokes = Strokes(len(world.styles))
    if not style_probe.load(strokes, out):
        style_probe.train(strokes, *styled(world), lambda shown: shaken(turned(shown, 0.5)), out, steps=steps)
        processes().wait_for_everyone()
        style_probe.load(strokes, out)
    return strokes.eval()
