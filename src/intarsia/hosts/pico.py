"""The smallest Stable-Diffusion-shaped pipeline, with random weights: for tests, examples and timing."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from .diffusers_unet import UNetHost

TOKENS, WIDTH = 5, 16


def unet(seed: int = 0, **changes: object) -> UNet2DConditionModel:
    """A UNet of four levels and 0.6 million parameters, in evaluation mode.

    Args:
        changes: Entries of the config that shall differ.
    """
    torch.manual_seed(seed)
    config: dict = {
        "sample_size": 16,
        "block_out_channels": (16, 32, 32, 32),
        "layers_per_block": 2,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**config | changes).eval().requires_grad_(False)


def host(seed: int = 0, **changes: object) -> UNetHost:
    """The UNet, as a host of plans."""
    return UNetHost(unet(seed, **changes))


def pipeline(seed: int = 0, scheduler: object | None = None) -> StableDiffusionPipeline:
    """The stock pipeline around it. It has no text encoder: pass `prompt_embeds=prompt(...)`."""
    network = unet(seed)
    autoencoder = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )
    pipe = StableDiffusionPipeline(
        vae=autoencoder.eval(),
        text_encoder=None,
        tokenizer=None,
        unet=network,
        scheduler=scheduler or DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def prompt(seed: int = 0, count: int = 1) -> dict[str, torch.Tensor]:
    """Token states for `pipeline`, with and without words."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randn(count, TOKENS, WIDTH, generator=generator)
    return {"prompt_embeds": words, "negative_prompt_embeds": torch.zeros_like(words)}
