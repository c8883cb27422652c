"""Stage 2: the autoencoder, 64x64x3 pixels to 8x8x16 latents and back.

Trained in two runs: `autoencoder` learns both halves; `decoder` goes on with the decoder alone, so that the
latents which the denoiser is learning stay as they are.
"""

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


class Reconstruction(nn.Module):
    """L1 at three scales, plus a small pull of the latents towards a unit Gaussian."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        posterior = self.autoencoder.encode(pixels).latent_dist
        drawn = self.autoencoder.decode(posterior.sample()).sample.float()
        scales = [(drawn, pixels)]
        for _ in range(2):
            scales.append(tuple(F.avg_pool2d(picture, 2) for picture in scales[-1]))
        absolute = sum((a - b).abs().mean() for a, b in scales)
        edges = sum((torch.diff(drawn, dim=d) - torch.diff(pixels, dim=d)).abs().mean() for d in (2, 3))
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        square = (drawn - pixels).square().mean()
        return {"loss": absolute + edges + KL_WEIGHT * kl, "kl": kl, "psnr": 10 * torch.log10(4 / square)}


def pixels_of(pictures: np.ndarray) -> Tensor:
    """Bytes (batch, height, width, 3) as channels-last floats in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def train(
    pictures_folder: Path,
    out: Path,
    *,
    steps: int,
    batch: int = 16,
    folded: Path | None = None,
    stop_after: float | None = None,
) -> None:
    """Train the autoencoder; or, if `folded` names the one that latents were made with, its decoder alone."""
    pictures = np.load(pictures_folder / "pictures.npy")
    cells = json.loads((pictures_folder / "cells.json").read_text())["cells"]
    train_rows = np.array([row for row, cell in enumerate(cells) if cell["part"] == "train"])
    shown = pixels_of(pictures[[row for row, cell in enumerate(cells) if cell["part"] == "cell"][::14][:32]])

    torch.manual_seed(0)
    autoencoder = AutoencoderKL(**SHAPE) if folded is None else AutoencoderKL.from_pretrained(folded)
    autoencoder = autoencoder.to(memory_format=torch.channels_last)
    if folded is not None:
        autoencoder.encoder.requires_grad_(False)
        autoencoder.quant_conv.requires_grad_(False)
    objective = Reconstruction(autoencoder)

    def batch_at(draw: int) -> Tensor:
        rows = np.random.choice(train_rows, batch, replace=False)
        chosen = pixels_of(pictures[rows])
        flipped = torch.rand(batch) < 0.5
        chosen[flipped] = chosen[flipped].flip(-1)
        return chosen.contiguous(memory_format=torch.channels_last)

    def show(objective: nn.Module, step: int) -> None:
        with torch.no_grad():
            latents = autoencoder.encode(shown).latent_dist.mean
            drawn = autoencoder.decode(latents).sample
        psnr = 10 * torch.log10(4 / (drawn - shown).square().mean())
        print(f"step {step}: held-out cells {psnr:.2f} dB, latent std {latents.std():.3f}")
        sheet = torch.cat([shown, drawn]).clamp(-1, 1).add(1).mul(127.5).byte().permute(0, 2, 3, 1).numpy()
        grid = sheet.reshape(4, 16, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(256, 1024, 3)
        Image.fromarray(grid).save(out / f"sheet-{step:06d}.png")

    schedule = Schedule(
        steps=steps, learning_rate=1e-3, warmup=200, cooldown=steps // 2, final_rate=0.02, weight_decay=0.0
    )
    fit(objective, batch_at, schedule, out, show=show, stop_after=stop_after)
