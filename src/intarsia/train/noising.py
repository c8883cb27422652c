"""Noise for training a denoiser, as its scheduler makes it, and how far off its answer is."""

from typing import Any

import torch
from torch import Tensor

from ..errors import FitError


def noised(noise: Any, latents: Tensor, *, late: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latents, their time steps (spread over the batch), and what a perfect model answers.

    Args:
        noise: A diffusers scheduler with `add_noise` and, for v-prediction, `get_velocity`.
        latents: (batch, channels, height, width).
        late: 1 spreads time steps evenly; less than 1 dwells where noise is high: the density at the share `t` of
            all time steps is proportional to `t ** (1 / late - 1)`.

    Raises:
        FitError: the scheduler predicts something else than noise, velocity or the sample.
    """
    count, steps = len(latents), noise.config.num_train_timesteps
    spread = (torch.arange(count) + torch.rand(count)) / count
    times = (spread**late * steps).long().clamp(max=steps - 1).to(latents.device)
    drawn = torch.randn_like(latents)
    kind = noise.config.prediction_type
    if kind == "v_prediction":
        wanted = noise.get_velocity(latents, drawn, times)
    elif kind in ("epsilon", "sample"):
        wanted = drawn if kind == "epsilon" else latents
    else:
        raise FitError(f"the scheduler predicts {kind!r}; epsilon, v_prediction and sample can be trained on.")
    return noise.add_noise(latents, drawn, times), times, wanted


def errors_of(found: Tensor, wanted: Tensor, channels: Tensor | None = None) -> Tensor:
    """The mean squared error of each sample: (batch).

    Args:
        channels: What each latent channel counts, (channels); all alike if not given.
    """
    error = (found.float() - wanted).square()
    return (error if channels is None else channels.to(error).view(-1, 1, 1) * error).flatten(1).mean(1)
