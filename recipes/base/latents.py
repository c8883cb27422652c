"""Stage 4: every picture's latents, once, in channels of zero mean and unit deviation.

The change of scale is folded into the autoencoder's 1x1 convolutions (`quant_conv`, `post_quant_conv`), so a
stock pipeline needs to know nothing of it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from intarsia.train import wear_average

from .autoencoder import SHAPE, Reconstruction, pixels_of


@torch.no_grad()
def fold_scale(autoencoder: AutoencoderKL, mean: Tensor, deviation: Tensor) -> None:
    """Make latents z become (z - mean) / deviation, and decoding undo it, with no new layer."""
    channels = len(mean)
    narrow, widen = autoencoder.quant_conv, autoencoder.post_quant_conv
    narrow.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    narrow.bias[:channels] = (narrow.bias[:channels] - mean) / deviation
    narrow.bias[channels:] -= 2 * deviation.log()  # the second half holds log variances
    widen.bias += widen.weight[:, :, 0, 0] @ mean
    widen.weight *= deviation.view(1, -1, 1, 1)


@torch.no_grad()
def encode(pictures_folder: Path, run: Path, out: Path) -> None:
    """Write `latents.npy` (cells, 16, 8, 8) in single precision and the folded `autoencoder/`."""
    if (out / "latents.npy").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    pictures = np.load(pictures_folder / "pictures.npy")
    cells = json.loads((pictures_folder / "cells.json").read_text())["cells"]
    autoencoder = AutoencoderKL(**SHAPE).eval()
    wear_average(Reconstruction(autoencoder), run)

    def all_latents() -> Tensor:
        parts = [pixels_of(part) for part in np.array_split(pictures, len(pictures) // 64)]
        return torch.cat([autoencoder.encode(part).latent_dist.mean for part in parts])

    raw = all_latents()
    train = raw[[row for row, cell in enumerate(cells) if cell["part"] == "train"]]
    fold_scale(autoencoder, train.mean((0, 2, 3)), train.std((0, 2, 3)))
    autoencoder.register_to_config(scaling_factor=1.0)
    autoencoder.save_pretrained(out / "autoencoder")
    np.save(out / "latents.npy", all_latents().numpy())


@torch.no_grad()
def importance(autoencoder: AutoencoderKL, latents: Tensor, step: float = 0.3) -> Tensor:
    """How much of the picture each latent channel carries: squared change of pixels per unit of noise in it, mean 1.

    Channels of unit deviation are far from equal: the first of sixteen moves sixty times the pixels of the last.
    """
    generator = torch.Generator().manual_seed(0)
    some = latents[torch.randperm(len(latents), generator=generator)[:64]]
    drawn = autoencoder.decode(some).sample
    changes = []
    for channel in range(latents.shape[1]):
        moved = some.clone()
        moved[:, channel] += step * torch.randn(moved[:, channel].shape, generator=generator)
        changes.append((autoencoder.decode(moved).sample - drawn).square().mean())
    found = torch.stack(changes)
    return found / found.mean()
