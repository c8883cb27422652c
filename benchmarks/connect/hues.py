"""A concept judge that turned hues do not mislead.

References of colours have their hues turned, and so have the pictures that follow them. The judge of
`benchmarks.base_model` saw natural colours only: it takes a blue fire for water, and a module that does all that it
should would seem to lose the words. This one is that judge, fine-tuned on pictures whose hues are all turned by lot.
Not half of them: whoever can tell hearts by their colour where nobody shows one would hold it against those to whom one
is shown.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.base_model import probe
from benchmarks.base_model.judge import KEPT
from benchmarks.base_model.world import World
from benchmarks.drawing import processes
from recipes.modules.changed import recoloured


def turned(pictures: Tensor, share: float = 1.0) -> Tensor:
    """Pictures (batch, 3, height, width) in [0, 1], so many of them with their hues turned by lot."""
    chosen = np.random.random(len(pictures)) < share
    if not chosen.any():
        return pictures
    found = pictures.clone()
    colours = recoloured((found[chosen] * 255).round().byte().permute(0, 2, 3, 1).numpy())
    found[chosen] = torch.from_numpy(colours).permute(0, 3, 1, 2).float() / 255
    return found


def shaken(pictures: Tensor) -> Tensor:
    """What the judge learns from: every hue turned, and all else as the first judge learnt."""
    return probe.shaken(turned(pictures))


def trained(world: World, out: Path, *, steps: int) -> probe.Probe:
    """The judge, fine-tuned now if it is not yet; resumes.

    Args:
        steps: Of all processes together.
    """
    judge, state = probe.Probe(len(world.concepts), len(world.styles)), processes()
    if not probe.load(out, judge):
        if not probe.load(KEPT, judge):
            raise SystemExit("train the judge first: python -m benchmarks.base_model.run")
        each = steps // state.num_processes
        probe.train(world.pictures, world.cells, judge, out, steps=each, rate=3e-4, shaken=shaken)
        state.wait_for_everyone()
        probe.load(out, judge)
    return judge.eval()


@torch.no_grad()
def ranked(judge: probe.Probe, pictures: np.ndarray) -> np.ndarray:
    """For each picture (count, 64, 64, 3) in bytes the numbers of all concepts, likeliest first."""
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    shown = [torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255 for part in parts]
    return np.concatenate([(-judge.concept(judge.features(part))).argsort(1).numpy() for part in shown])
