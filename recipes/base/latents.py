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
from torch.nn import functional as F

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
    """Write `latents.npy` (cells, 16, 8, 8) in single precision and the folded `autoencoder/`.

    An `autoencoder/` that lies there already, that of the shipped folder say, is used as it is.
    """
    if (out / "latents.npy").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    pictures = np.load(pictures_folder / "pictures.npy")
    cells = json.loads((pictures_folder / "cells.json").read_text())["cells"]
    folded = (out / "autoencoder").exists()
    autoencoder = AutoencoderKL.from_pretrained(out / "autoencoder") if folded else AutoencoderKL(**SHAPE)
    autoencoder.eval()

    def all_latents() -> Tensor:
        parts = [pixels_of(part) for part in np.array_split(pictures, len(pictures) // 64)]
        return torch.cat([autoencoder.encode(part).latent_dist.mean for part in parts])

    if not folded:
        wear_average(Reconstruction(autoencoder), run)
        raw = all_latents()
        train = raw[[row for row, cell in enumerate(cells) if cell["part"] == "train"]]
        fold_scale(autoencoder, train.mean((0, 2, 3)), train.std((0, 2, 3)))
        autoencoder.register_to_config(scaling_factor=1.0)
        autoencoder.save_pretrained(out / "autoencoder")
    np.save(out / "latents.npy", all_latents().numpy())


def shaken(
    pixels: Tensor, *, angle: float, size: float, shift: float, generator: torch.Generator | None = None
) -> Tensor:
    """Each picture (batch, 3, height, width), in which white is 1, turned, scaled and moved a little, on white.

    Args:
        angle, size, shift: Deviations, of radians, of the scale, and of half the picture's side.
    """
    count = len(pixels)
    turned = angle * torch.randn(count, generator=generator)
    scale = 1 + size * torch.randn(count, generator=generator)
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = scale * turned.cos()
    turn[:, 0, 1], turn[:, 1, 0] = -scale * turned.sin(), scale * turned.sin()
    turn[:, :, 2] = shift * torch.randn(count, 2, generator=generator)
    grid = F.affine_grid(turn, list(pixels.shape), align_corners=False)
    return 1 - F.grid_sample(1 - pixels, grid, align_corners=False)


@torch.no_grad()
def encode_variants(pictures_folder: Path, known: Path, variants: int = 5) -> None:
    """Write `variants.npy` (cells, variants, 16, 8, 8) in half precision: latents of shaken pictures."""
    if (known / "variants.npy").exists():
        return
    pictures = np.load(pictures_folder / "pictures.npy")
    autoencoder = AutoencoderKL.from_pretrained(known / "autoencoder").eval()
    generator = torch.Generator().manual_seed(0)
    made = np.empty((len(pictures), variants, 16, 8, 8), dtype=np.float16)
    for start in range(0, len(pictures), 64):
        pixels = pixels_of(pictures[start : start + 64])
        for variant in range(variants):
            moved = shaken(pixels, angle=0.06, size=0.05, shift=0.05, generator=generator)
            latents = autoencoder.encode(moved).latent_dist.mean
            made[start : start + 64, variant] = latents.numpy()
    np.save(known / "variants.part.npy", made)
    (known / "variants.part.npy").replace(known / "variants.npy")


@torch.no_grad()
def importance(autoencoder: AutoencoderKL, latents: Tensor, step: float = 0.3) -> Tensor:
    """How much of the picture each latent channel carries: squared change of pixels per unit of noise in it, mean 1.

    Channels of unit deviation are far from equal: some move many times the pixels that others do.
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
