"""Two small networks that learn to see drawn scenes: the eye that modules look through, and the judge of what is drawn.

They differ in width, depth and seed, and share nothing but the scenes, so what the judge says is no echo of the eye.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intarsia.train import Schedule, fit, wear_average

from .scenes import BINS, NAMED, PATTERNS, SHAPES, Scenes, bin_of, drawn, some

EYE, JUDGE = (32, 48, 64), (24, 56, 96, 96)  # channels of each resolution
KINDS = {"shape": len(SHAPES), "pattern": len(PATTERNS), "side": 2, "small_shape": NAMED, "small_hue": BINS}
TURNS = ("hue", "ground")  # told as a direction on the circle of hues


class Sight(nn.Module):
    """Pictures (batch, 3, 32, 32) to what they show.

    Attributes:
        width: Of the feature tokens.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *channels), channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.trunk = nn.Sequential(*layers)
        self.width = channels[-1]
        cells = (32 >> len(channels)) ** 2
        self.hidden = nn.Sequential(nn.Linear(self.width * cells, 128), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, count) for name, count in KINDS.items()})
        self.turns = nn.ModuleDict({name: nn.Linear(128, 2) for name in TURNS})

    def tokens(self, pictures: Tensor) -> Tensor:
        """Feature tokens, (batch, places, width): what is where."""
        return self.trunk(pictures).flatten(2).mT

    def answers(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits of kinds, and directions of hues, (batch, 2)."""
        hidden = self.hidden(self.trunk(pictures).flatten(1))
        return {name: head(hidden) for name, head in (*self.heads.items(), *self.turns.items())}

    def forward(self, batch: tuple[Tensor, dict[str, Tensor]]) -> dict[str, Tensor]:
        pictures, truth = batch
        found = self.answers(pictures)
        kinds = [F.cross_entropy(found[name], truth[name]) for name in KINDS]
        turns = [F.mse_loss(found[name], truth[name]) for name in TURNS]
        return {"loss": torch.stack(kinds + turns).sum()}

    @torch.no_grad()
    def seen(self, pictures: Tensor) -> dict[str, np.ndarray]:
        """What each picture shows: the number of each kind, and hues from 0 to 1."""
        parts = [self.answers(part) for part in pictures.split(256)]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        kinds = {name: found[name].argmax(1).numpy() for name in KINDS}
        return kinds | {name: (torch.atan2(*found[name].T) / (2 * torch.pi) % 1).numpy() for name in TURNS}


def truth_of(scenes: Scenes) -> dict[str, Tensor]:
    """What `Sight` should answer."""
    kinds = {name: bin_of(scenes.small_hue) if name == "small_hue" else getattr(scenes, name) for name in KINDS}
    angles = {name: 2 * np.pi * getattr(scenes, name) for name in TURNS}
    turns = {name: np.stack([np.sin(one), np.cos(one)], 1).astype(np.float32) for name, one in angles.items()}
    return {name: torch.from_numpy(np.asarray(value)) for name, value in (kinds | turns).items()}


def worn(pictures: Tensor) -> Tensor:
    """Pictures a little noisy and blurred, as generated ones are, each by as much as its own lot says."""
    noisy = pictures + 0.12 * torch.rand(len(pictures), 1, 1, 1) * torch.randn_like(pictures)
    share = 0.7 * torch.rand(len(pictures), 1, 1, 1)
    return noisy + share * (F.avg_pool2d(noisy, 3, stride=1, padding=1, count_include_pad=False) - noisy)


def train_sight(sight: Sight, out: Path, steps: int, seed: int, batch: int = 64) -> None:
    """Train a network with scenes of all kinds, none leaning; resumes from what is kept in `out`."""

    def batch_at(_draw: int) -> tuple[Tensor, dict[str, Tensor]]:
        scenes = some(batch)
        return worn(drawn(scenes)), truth_of(scenes)

    schedule = Schedule(steps, 2e-3, warmup=min(50, steps // 10), cooldown=steps * 2 // 3, average=0.99)
    fit(sight, batch_at, schedule, out, seed=seed)
    wear_average(sight, out)
