"""Stage 5: the decoder alone, made sharp. Latents stay as they are, so the denoiser may be learning them meanwhile.

What the mean of many likely pictures looks like is blur, and L1 asks for little more. A second network learns to
tell drawn patches from real ones; the decoder learns to be mistaken for the real thing, and to agree with it in
that network's features (pix2pixHD, 3.2).
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from intarsia.train import Schedule, fit

from .autoencoder import pixels_of, reconstruction_losses, save_sheet

ADVERSARIAL, FEATURES = 0.05, 1.0  # beside a reconstruction loss of about 0.2
LATENT_NOISE = 0.1  # the denoiser's latents are not exact either


class PatchCritic(nn.Module):
    """Pictures (batch, 3, 64, 64) to how real each patch looks (batch, 1, 8, 8), and the features on the way."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(narrow, wide, 4, stride=2, padding=1)) for narrow, wide in pairwise(widths)
        )
        self.last = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        features, hidden = [], pictures
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        return self.last(hidden), features


class Sharpening(nn.Module):
    """Reconstruction, features and the critic's opinion for the decoder; the hinge loss for the critic.

    One sum serves both: the decoder's part sees the critic's weights detached, the critic's part detached pictures.
    """

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.critic = PatchCritic()

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        latents, pixels = batch
        drawn = self.autoencoder.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample.float()
        found = reconstruction_losses(drawn, pixels)
        count = len(pixels)

        opinion, features = self.critic(torch.cat([drawn.detach(), pixels]))
        critic = F.relu(1 + opinion[:count]).mean() + F.relu(1 - opinion[count:]).mean()
        fixed = {name: value.detach() for name, value in self.critic.named_parameters()}
        fooled, own = functional_call(self.critic, fixed, (drawn,))
        agreed = sum((mine - real[count:].detach()).abs().mean() for mine, real in zip(own, features, strict=True))
        loss = found["loss"] - ADVERSARIAL * fooled.mean() + FEATURES * agreed + critic
        return {"loss": loss, "critic": critic, "features": agreed, "psnr": found["psnr"]}


def train(
    pictures_folder: Path,
    latents_folder: Path,
    out: Path,
    *,
    steps: int,
    batch: int = 16,
    stop_after: float | None = None,
) -> None:
    """Go on with the decoder that latents were made with; resumes from the last checkpoint in `out`."""
    pictures = np.load(pictures_folder / "pictures.npy", mmap_mode="r")
    cells = json.loads((pictures_folder / "cells.json").read_text())["cells"]
    latents = torch.from_numpy(np.load(latents_folder / "latents.npy"))
    train_rows = np.array([row for row, cell in enumerate(cells) if cell["part"] == "train"])
    held_out = np.array([row for row, cell in enumerate(cells) if cell["part"] == "cell"][::14][:32])

    torch.manual_seed(0)
    autoencoder = AutoencoderKL.from_pretrained(latents_folder / "autoencoder").to(memory_format=torch.channels_last)
    autoencoder.encoder.requires_grad_(False)
    autoencoder.quant_conv.requires_grad_(False)

    def batch_at(_draw: int) -> tuple[Tensor, Tensor]:
        rows = np.random.choice(train_rows, batch, replace=False)
        return tuple(
            part.contiguous(memory_format=torch.channels_last) for part in (latents[rows], pixels_of(pictures[rows]))
        )

    def show(objective: nn.Module, step: int) -> None:
        with torch.no_grad():
            drawn = autoencoder.decode(latents[held_out]).sample
        save_sheet(pixels_of(pictures[held_out]), drawn, out, step)

    schedule = Schedule(
        steps=steps, learning_rate=6e-4, warmup=200, cooldown=steps // 2, final_rate=0.02, weight_decay=0.0
    )
    fit(Sharpening(autoencoder), batch_at, schedule, out, show=show, show_every=500, stop_after=stop_after)
