"""A text-to-image model of scenes: a small UNet that hears ELLA's kind of connector, trained together, then frozen.

Pictures are their own latents: 2 by 2 pixels become the channels of one place, and nothing is lost.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor, nn
from torch.nn import functional as F

from intarsia.connect import SemanticConnector
from intarsia.train import Schedule, fit, processes, wear_average
from intarsia.train.noising import noised
from recipes.modules.ways import Ground

from .scenes import SIDE, drawn, some
from .words import MARKS, PLACES, WIDTH, said

FOLD = 2
NOISE = {
    "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing", "clip_sample": True,
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "sample_size": SIDE // FOLD,
    "in_channels": 3 * FOLD**2,
    "out_channels": 3 * FOLD**2,
    "block_out_channels": (48, 96),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),  # attention over 16 by 16 places would double the cost
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 96,
    "norm_num_groups": 8,
}
LATENTS, BLOCKS, HEADS, INNER = 16, 3, 4, 96
GUIDANCE, RESCALED = 1.8, 0.7  # more makes colours run over, and words are followed less
BATCH = 128  # pictures that are drawn at once
RATE = 6e-3  # of Muon
LEFT_OUT, WORDLESS = 0.3, 0.1  # shares of words, and of whole sentences
LATE = 0.6  # senses learn mostly where noise is high, and what a picture shows is settled


class Hosting(nn.Module):
    """The mean squared error of v, of a UNet and its connector together."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(**SHAPE).to(memory_format=torch.channels_last)
        self.unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel
        width = SHAPE["cross_attention_dim"]
        self.connector = SemanticConnector(
            WIDTH, width, blocks=BLOCKS, latents=LATENTS, heads=HEADS, time_channels=64, time_width=width
        )
        self.noise = DDIMScheduler(**NOISE)

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        latents, words = batch
        noisy, times, wanted = noised(self.noise, latents)
        found = self.unet(noisy, times, self.connector(words, times)).sample
        return {"loss": (found - wanted).square().mean()}


def folded(pictures: Tensor) -> Tensor:
    """Pictures (batch, 3, 32, 32) as latents (batch, 12, 16, 16)."""
    return F.pixel_unshuffle(pictures, FOLD)


def train_host(hosting: Hosting, out: Path, steps: int, seed: int, batch: int = 32) -> None:
    """Train UNet and connector; resumes from what is kept in `out`."""

    def batch_at(_draw: int) -> tuple[Tensor, Tensor]:
        scenes = some(batch)
        spoken = np.random.random((batch, len(PLACES))) >= LEFT_OUT
        spoken &= np.random.random((batch, 1)) >= WORDLESS
        return folded(drawn(scenes)).contiguous(memory_format=torch.channels_last), said(scenes, spoken)

    schedule = Schedule(steps, RATE, warmup=min(200, steps // 10), cooldown=steps // 2, optimizer="muon")
    fit(hosting, batch_at, schedule, out, seed=seed)
    wear_average(hosting, out)


@torch.no_grad()
def draw(
    ground: Ground, words: Tensor, around: Callable[[slice], AbstractContextManager[Any]], *, steps: int, seed: int
) -> Tensor:
    """Pictures (count, 3, 32, 32) from -1 to 1, drawn with guidance; the n-th has a seed of its own.

    Under `torchrun` every process must call this, draws its share, and gets them all.

    Args:
        words: What is said of each, (count, places, width).
        around: Entered while some rows are drawn; see `recipes.modules.ways.heard`. It has to tell the UNet's words.
    """
    noise = DDIMScheduler(**NOISE)
    state, mine = processes(), []
    for start in range(BATCH * state.process_index, len(words), BATCH * state.num_processes):
        told = words[start : start + BATCH]
        generators = [torch.Generator().manual_seed(seed + start + number) for number in range(len(told))]
        size = (SHAPE["in_channels"], SHAPE["sample_size"], SHAPE["sample_size"])
        latents = torch.stack([torch.randn(size, generator=generator) for generator in generators])
        noise.set_timesteps(steps)
        with around(slice(start, start + len(told))):
            both = torch.cat([MARKS.expand_as(told), told])
            for time in noise.timesteps:
                without, with_words = ground.unet(
                    torch.cat([latents, latents]), time, encoder_hidden_states=both
                ).sample.chunk(2)  # fmt: skip
                guided = without + GUIDANCE * (with_words - without)
                guided = rescale_noise_cfg(guided, with_words, guidance_rescale=RESCALED)
                latents = noise.step(guided, time, latents).prev_sample
        mine.append((start, F.pixel_shuffle(latents, FOLD).clamp(-1, 1)))
    return torch.cat([part for _, part in sorted(gather_object(mine), key=lambda pair: pair[0])])
