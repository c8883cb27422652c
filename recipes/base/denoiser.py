"""Stage 6: the denoiser, a UNet that predicts v at zero terminal SNR from cached latents and token states."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from intarsia.shipped import GUIDANCE
from intarsia.train import Schedule, fit
from intarsia.train.noising import noised

from .captions import WORDINGS, text_encoder
from .concepts import taught
from .crossing import Crossings, crossed
from .latents import importance

SHAPE = {
    "sample_size": 8,
    "in_channels": 16,
    "out_channels": 16,
    "block_out_channels": [128, 160, 192],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 2,
    "attention_head_dim": 4,  # the number of heads, by an old mistake of this class's config
    "cross_attention_dim": 384,
    "norm_num_groups": 16,
    "addition_embed_type": "text",  # the words' mean joins the time embedding: the thing is known before its parts
    "addition_embed_type_num_heads": 6,
}
NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "clip_sample": False,
}
WORDLESS = 0.1  # share of captions dropped, so that guidance has something to guide away from
AS_DRAWN = 0.3  # share of pictures that were not shaken
WORD_NOISE = 0.25  # of the deviation of token states: that no caption is known by heart, and neighbours help each other
# Less than 1: held-out pictures that were noised to half way and drawn on lost less of their style than above it.
LATE = 0.6
WORDING_WEIGHTS = np.array([0.3, 0.2, 0.15, 0.15, 0.1, 0.1])
SHOWN = (
    "a fox in noto style",
    "a red apple in flat style",
    "a rocket in 3d style",
    "a cat face in twemoji style",
    "a guitar in high contrast style",
    "a pizza in blob style",
    "a sunflower in shaded style",
    "an octopus in emojione style",
    "grinning face, noto style",
    "a house in firefox style",
    "a snowman in 3d style",
    "a whale in flat style",
    "a crown in noto style",
    "a bicycle in twemoji style",
    "a red heart in shaded style",
    "a tree",
)


def told(captions: Tensor, times: Tensor) -> dict[str, Tensor]:
    """What the UNet is told of captions (3, batch, tokens, width): one of the three, by the time step."""
    return {"encoder_hidden_states": crossed(*captions, times, NOISE["num_train_timesteps"])}


class Denoising(nn.Module):
    """The mean squared error of v, each latent channel weighted by what it shows.

    The weights do not move the best answer, for that is sought in each channel alone; they say where a small
    model should spend itself.
    """

    def __init__(self, unet: UNet2DConditionModel, weights: Tensor) -> None:
        super().__init__()
        self.unet = unet
        self.weights = weights.view(1, -1, 1, 1)
        self.noise = DDIMScheduler(**NOISE)

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        latents, captions = batch
        noisy, times, wanted = noised(self.noise, latents, late=LATE)
        found = self.unet(noisy, times, **told(captions, times)).sample.float()
        error = (found - wanted).square()
        return {"loss": (self.weights.to(error) * error).mean(), "plain": error.mean()}


def pipeline_of(unet: UNet2DConditionModel, autoencoder: AutoencoderKL) -> StableDiffusionPipeline:
    """The stock pipeline around a denoiser."""
    encoder, tokenizer = text_encoder()
    return StableDiffusionPipeline(
        vae=autoencoder, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(**NOISE),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def batches(
    pictures: Path, words: Path, latents: Path, batch: int, *, cross: bool = False
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """For `train.fit`: latents of taught cells, most of them shaken, and token states of their captions.

    Args:
        cross: Three captions for each, (3, batch, tokens, width): its own, with another style, of another thing.
    """
    listed = json.loads((pictures / "cells.json").read_text())
    cells, known_words = listed["cells"], [taught(concept) for concept in listed["concepts"]]
    parts = np.array([cell["part"] if known_words[cell["concept"]] else "untaught" for cell in cells])
    rows = np.flatnonzero(parts == "train")
    crossings = Crossings(cells, np.flatnonzero((parts == "train") | (parts == "cell")))
    known = torch.from_numpy(np.load(latents / "latents.npy"))
    variants = np.load(latents / "variants.npy", mmap_mode="r")
    states = np.load(words / "states.npy", mmap_mode="r")
    blank = np.load(words / "blank.npy")
    deviation = WORD_NOISE * float(states[::50].astype(np.float32).std())

    def caption(chosen: np.ndarray, wordless: np.ndarray) -> Tensor:
        wording = np.random.choice(WORDINGS, batch, p=WORDING_WEIGHTS)
        said = states[chosen, wording].astype(np.float32)
        said += deviation * np.random.standard_normal(said.shape).astype(np.float32)
        said[wordless] = blank
        return torch.from_numpy(said)

    def batch_at(_draw: int) -> tuple[Tensor, Tensor]:
        chosen = np.random.choice(rows, batch, replace=False)
        wordless = np.random.random(batch) < WORDLESS
        if cross:
            worded = (chosen, crossings.restyled(chosen), crossings.renamed(chosen))
            said = torch.stack([caption(words_of, wordless) for words_of in worded])
        else:
            said = caption(chosen, wordless)
        shown = known[chosen]
        shaken = np.random.random(batch) >= AS_DRAWN
        variant = np.random.randint(variants.shape[1], size=batch)
        shown[shaken] = torch.from_numpy(variants[chosen[shaken], variant[shaken]]).float()
        return shown.contiguous(memory_format=torch.channels_last), said

    return batch_at


@functools.cache
def channel_weights(latents: Path) -> Tensor:
    """What each latent channel counts in the loss."""
    autoencoder = AutoencoderKL.from_pretrained(latents / "autoencoder").eval()
    return importance(autoencoder, torch.from_numpy(np.load(latents / "latents.npy")))


def train(
    pictures: Path,
    words: Path,
    latents: Path,
    out: Path,
    *,
    steps: int,
    cooldown: int,
    batch: int,
    rate: float = 6e-4,
    start: Path | None = None,
    stop_after: float | None = None,
) -> None:
    """Train the denoiser; resumes from the last checkpoint in `out`, or begins with the weights in `start`."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**SHAPE).to(memory_format=torch.channels_last)
    nn.init.zeros_(unet.add_embedding.norm2.weight)  # joins the time embedding without a jolt
    if start is not None:
        found = unet.load_state_dict(
            {name.removeprefix("unet."): value for name, value in load_file(start).items()}, strict=False
        )
        if found.unexpected_keys or any(not name.startswith("add_embedding.") for name in found.missing_keys):
            raise SystemExit(f"{start}: not the weights of such a UNet; it lacks {found.missing_keys[:3]}")
    unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel

    def show(objective: nn.Module, step: int) -> None:
        unet.set_attn_processor(AttnProcessor2_0())
        pipe = pipeline_of(unet, AutoencoderKL.from_pretrained(latents / "autoencoder"))
        pipe.set_progress_bar_config(disable=True)
        images = []
        for guidance in (1.0, GUIDANCE):
            seeded = [torch.Generator().manual_seed(seed) for seed in range(len(SHOWN))]
            images += pipe(list(SHOWN), num_inference_steps=20, guidance_scale=guidance, generator=seeded).images
        sheet = Image.new("RGB", (16 * 64, 2 * 64))
        for place, image in enumerate(images):
            sheet.paste(image, (place % 16 * 64, place // 16 * 64))
        sheet.save(out / f"sheet-{step:07d}.png")
        unet.set_attn_processor(AttnProcessor())

    schedule = Schedule(steps=steps, learning_rate=rate, warmup=300, cooldown=cooldown, average=0.999)
    fit(
        Denoising(unet, channel_weights(latents)),
        batches(pictures, words, latents, batch, cross=True),
        schedule,
        out,
        show=show,
        show_every=2000,
        save_every=500,
        stop_after=stop_after,
    )
