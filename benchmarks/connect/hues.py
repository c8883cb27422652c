"""Hues that mislead no judge, and a concept judge that they do not mislead.

References of colours have their hues turned, and so have the pictures that follow them. The judge of
`benchmarks.base_model` saw natural colours only: it takes a blue fire for water, and a module that does all that it
should would seem to lose the words. This one is that judge, fine-tuned on pictures whose hues are all turned by lot.
Not half of them: whoever can tell hearts by their colour where nobody shows one would hold it against those to whom one
is shown.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from benchmarks.base_model import probe
from benchmarks.base_model.judge import KEPT, returned
from benchmarks.base_model.world import World
from intarsia.shipped import model_folder
from recipes.modules.changed import bytes_of, recoloured

FULL, STRETCHED = 150, 3  # how full settled colours are, of 255; how much fuller pale ones may be made for it


def settled(pictures: np.ndarray) -> np.ndarray:
    """Pictures (count, 64, 64, 3) in bytes whose mean hue is red and whose mean fullness is that of all others.

    So what was recoloured looks as it did before, but for rounding, and hues still differ from each other.
    """
    found = []
    for picture in pictures:
        hue, fullness, value = np.asarray(Image.fromarray(picture).convert("HSV")).transpose(2, 0, 1).astype(float)
        mean = (fullness * value * np.exp(2j * np.pi * hue / 256)).sum()
        hue = (hue - np.angle(mean) * 128 / np.pi).round() % 256
        pale = (fullness**2).sum() / max(fullness.sum(), 1.0)
        fullness = (fullness * min(FULL / max(pale, 1.0), STRETCHED)).round().clip(0, 255)
        bands = [Image.fromarray(band.astype(np.uint8)) for band in (hue, fullness, value)]
        found.append(np.asarray(Image.merge("HSV", bands).convert("RGB")))
    return np.stack(found)


def turned(pictures: Tensor) -> Tensor:
    """Pictures (batch, 3, height, width) in [0, 1] with their hues turned by lot."""
    colours = recoloured(bytes_of(2 * pictures - 1))
    return torch.from_numpy(colours).permute(0, 3, 1, 2).float() / 255


def shaken(pictures: Tensor, autoencoder: AutoencoderKL) -> Tensor:
    """What the judge learns from: every hue turned, half of it back from the model's autoencoder, which draws some hues
    worse than others; and all else as the first judge learnt."""
    changed = turned(pictures)
    if torch.rand(()) < 0.5:
        back = returned(autoencoder, bytes_of(2 * changed - 1))
        changed = torch.from_numpy(back).permute(0, 3, 1, 2).float() / 255
    return probe.shaken(changed)


def train(world: World, judge: probe.Probe, out: Path, *, steps: int) -> None:
    """Fine-tune the judge of `benchmarks.base_model`; resumes.

    Args:
        judge: Any; it begins with that one's weights.
        steps: Of each process.
    """
    if not probe.load(KEPT, judge):
        raise SystemExit("train the judge first: python -m benchmarks.base_model.run")
    autoencoder = AutoencoderKL.from_pretrained(model_folder("emoji") / "vae")
    changed = partial(shaken, autoencoder=autoencoder)
    probe.train(world.pictures, world.cells, judge, out, steps=steps, rate=3e-4, shaken=changed)


@torch.no_grad()
def ranked(judge: probe.Probe, pictures: np.ndarray) -> np.ndarray:
    """For each picture (count, 64, 64, 3) in bytes the numbers of all concepts, likeliest first."""
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    shown = [torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255 for part in parts]
    return np.concatenate([(-judge.concept(judge.features(part))).argsort(1).numpy() for part in shown])
