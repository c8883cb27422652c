"""Pictures bent and recoloured, and their latents, once.

Every cell is one picture, which the denoiser knows by heart from its caption: a reference of its outline or colours
would tell nothing new. So outlines and colours are changed, and only the reference says how.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from recipes.base.autoencoder import pixels_of
from recipes.base.latents import shaken

from .cells import Cells

BENT, SQUEEZED, SHIFTED = 0.12, 0.12, 0.08  # deviations, of half a picture's side


def bent(pictures: np.ndarray) -> np.ndarray:
    """Pictures (count, 64, 64, 3) bent smoothly, squeezed, sheared, turned and shifted, each in a way of its own.

    The denoiser knows its pictures by heart, and every small move of them: outlines that differ less tell it little.
    """
    pixels, count = pixels_of(pictures), len(pictures)
    turn = torch.eye(2) + SQUEEZED * torch.randn(count, 2, 2)
    grid = F.affine_grid(torch.cat([turn, SHIFTED * torch.randn(count, 2, 1)], 2), list(pixels.shape), False)
    waves = F.interpolate(BENT * torch.randn(count, 2, 4, 4), pixels.shape[-2:], mode="bicubic", align_corners=True)
    return bytes_of(1 - F.grid_sample(1 - pixels, grid + waves.permute(0, 2, 3, 1), align_corners=False))


def bent_and_recoloured(pictures: np.ndarray) -> np.ndarray:
    """Pictures bent, half of them mirrored, and two thirds of them recoloured."""
    found = bent(pictures)
    mirrored, turned = np.random.random(len(found)) < 1 / 2, np.random.random(len(found)) < 2 / 3
    found[mirrored] = found[mirrored, :, ::-1]
    if turned.any():
        found[turned] = recoloured(found[turned])
    return found


def nudged(pictures: np.ndarray) -> np.ndarray:
    """Pictures moved a little: references that follow their targets, but not to the pixel."""
    return bytes_of(shaken(pixels_of(pictures), angle=0.02, size=0.02, shift=0.02))


def recoloured(pictures: np.ndarray) -> np.ndarray:
    """Pictures of turned hues, each by an angle of its own, and of paler or fuller colours; white stays white."""
    found = []
    for picture in pictures:
        hue, saturation, value = np.asarray(Image.fromarray(picture).convert("HSV")).transpose(2, 0, 1).astype(int)
        hue = (hue + np.random.randint(256)) % 256
        saturation = (saturation * np.random.uniform(0.6, 1.2)).clip(0, 255)
        bands = [Image.fromarray(band.astype(np.uint8)) for band in (hue, saturation, value)]
        found.append(np.asarray(Image.merge("HSV", bands).convert("RGB")))
    return np.stack(found)


def bytes_of(pixels: Tensor) -> np.ndarray:
    """Pixels (count, 3, height, width) from -1 to 1 as bytes (count, height, width, 3)."""
    return ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


@torch.no_grad()
def keep_changed(
    cells: Cells,
    change: Callable[[np.ndarray], np.ndarray],
    autoencoder: Path,
    out: Path,
    variants: int,
    batch: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Changed pictures (variants, cells, 64, 64, 3) and their latents (variants, cells, 16, 8, 8), made if not kept."""
    drawn, known = out / "pictures.npy", out / "latents.npy"
    if not known.exists():
        out.mkdir(parents=True, exist_ok=True)
        np.random.seed(0)
        torch.manual_seed(0)
        model = AutoencoderKL.from_pretrained(autoencoder).eval()
        shown = np.stack([change(cells.pictures) for _ in range(variants)])
        parts = np.array_split(shown.reshape(-1, *shown.shape[2:]), max(1, len(cells) * variants // batch))
        latents = [
            model.encode(pixels_of(part)).latent_dist.mean.half().numpy()
            for part in track(parts, description=f"encode {out.name}")
        ]
        np.save(drawn, shown)
        part = known.with_name("latents.part.npy")
        np.save(part, np.concatenate(latents).reshape(variants, len(cells), *latents[0].shape[1:]))
        part.replace(known)
    found = np.load(drawn, mmap_mode="r"), np.load(known, mmap_mode="r")
    if found[1].shape[:2] != (variants, len(cells)):
        raise SystemExit(f"{out} was made of other cells or another number of variants; remove it, or name other runs.")
    return found
