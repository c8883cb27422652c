"""Stage 2: the autoencoder, 64x64x3 pixels to 8x8x16 latents and back."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from intarsia.train import Schedule, fit

SHAPE = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [16, 32, 96, 160],
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 8,
    "sample_size": 64,
    "mid_block_add_attention": False,
}
KL_WEIGHT = 2e-4  # on the mean over latents: latents stay near unit size and a little noise does no harm


def reconstruction_losses(drawn: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """L1 at three scales and between neighbouring pixels, as `loss`, and the peak signal-to-noise ratio."""
    scales = [(drawn, pixels)]
    for _ in range(2):
        scales.append(tuple(F.avg_pool2d(picture, 2) for picture in scales[-1]))
    absolute = sum((a - b).abs().mean() for a, b in scales)
    edges = sum((torch.diff(drawn, dim=d) - torch.diff(pixels, dim=d)).abs().mean() for d in (2, 3))
    return {"loss": absolute + edges, "psnr": 10 * torch.log10(4 / (drawn - pixels).square().mean())}


def save_sheet(pixels: Tensor, drawn: Tensor, out: Path, step: int) -> None:
    """Draw 32 pictures above their reconstructions, and say how near they are."""
    psnr = 10 * torch.log10(4 / (drawn - pixels).square().mean())
    print(f"step {step}: held-out cells {psnr:.2f} dB")
    sheet = torch.cat([pixels, drawn]).clamp(-1, 1).add(1).mul(127.5).byte().permute(0, 2, 3, 1).numpy()
    grid = sheet.reshape(4, 16, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(256, 1024, 3)
    Image.fromarray(grid).save(out / f"sheet-{step:06d}.png")


class Reconstruction(nn.Module):
    """`reconstruction_losses`, plus a small pull of the latents towards a unit Gaussian."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        posterior = self.autoencoder.encode(pixels).latent_dist
        drawn = self.autoencoder.decode(posterior.sample()).sample.float()
        found = reconstruction_losses(drawn, pixels)
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return {**found, "loss": found["loss"] + KL_WEIGHT * kl, "kl": kl}


def pixels_of(pictures: np.ndarray) -> Tensor:
    """Bytes (batch, height, width, 3) as channels-last floats in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def train(pictures_folder: Path, out: Path, *, steps: int, batch: int = 16, stop_after: float | None = None) -> None:
    """Train both halves; resumes from the last checkpoint in `out`."""
    pictures = np.load(pictures_folder / "pictures.npy")
    cells = json.loads((pictures_folder / "cells.json").read_text())["cells"]
    train_rows = np.array([row for row, cell in enumerate(cells) if cell["part"] == "train"])
    shown = pixels_of(pictures[[row for row, cell in enumerate(cells) if cell["part"] == "cell"][::14][:32]])

    torch.manual_seed(0)
    autoencoder = AutoencoderKL(**SHAPE).to(memory_format=torch.channels_last)

    def batch_at(draw: int) -> Tensor:
        rows = np.random.choice(train_rows, batch, replace=False)
        chosen = pixels_of(pictures[rows])
        flipped = torch.rand(batch) < 0.5
        chosen[flipped] = chosen[flipped].flip(-1)
        return chosen.contiguous(memory_format=torch.channels_last)

    def show(objective: nn.Module, step: int) -> None:
        with torch.no_grad():
            drawn = autoencoder.decode(autoencoder.encode(shown).latent_dist.mean).sample
        save_sheet(shown, drawn, out, step)

    schedule = Schedule(
        steps=steps, learning_rate=1e-3, warmup=200, cooldown=steps // 2, final_rate=0.02, weight_decay=0.0
    )
    fit(Reconstruction(autoencoder), batch_at, schedule, out, show=show, stop_after=stop_after)
