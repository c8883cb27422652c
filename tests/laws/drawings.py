"""Drawings: what people ask of pipelines, with all that they attach, each in one line of `WAYS`."""

import inspect
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from torch import Tensor

from intarsia.hosts import pico

from .conftest import TINY

STEPS = 4
SAMPLERS = {
    "DDIM": lambda: DDIMScheduler(clip_sample=False, steps_offset=1),
    "Euler": EulerDiscreteScheduler,
    "PNDM": lambda: PNDMScheduler(skip_prk_steps=True),
    "Heun": HeunDiscreteScheduler,
}


@dataclass(frozen=True)
class Drawing:
    """A pipeline and what is asked of it; called, it draws the latents, the same ones for the same seed."""

    pipe: Any
    asked: Mapping[str, Any]

    def __call__(self, seed: int = 1, **changes: Any) -> Tensor:
        usual = {"num_inference_steps": STEPS, "guidance_scale": 3.0, "output_type": "latent"}
        return self.pipe(**usual | self.asked | changes, generator=torch.Generator().manual_seed(seed)).images

    def asking(self, **more: Any) -> "Drawing":
        """The same pipeline, asked for more."""
        return Drawing(self.pipe, {**self.asked, **more})

    def on(self, kind: Any, parts: Mapping[str, Any] | None = None, **more: Any) -> "Drawing":
        """The same parts, and others, in a pipeline of another kind that is asked for more."""
        known = inspect.signature(kind.__init__).parameters
        held = {**self.pipe.components, "requires_safety_checker": False, **(parts or {})}
        made = kind(**{name: part for name, part in held.items() if name in known})
        made.set_progress_bar_config(disable=True)
        return Drawing(made, {**self.asked, **more})

    def picture(self, seed: int) -> Tensor:
        """A picture of the size that the pipeline draws."""
        side = self.pipe.unet.config.sample_size * self.pipe.vae_scale_factor
        return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


Way = Callable[[Drawing], Drawing]


def from_words(sampler: str = "DDIM") -> Drawing:
    """What all others begin with: a picture from words, by the smallest UNet."""
    return around(pico.unet(**TINY), Drawing(pico.pipeline(scheduler=SAMPLERS[sampler]()), pico.prompt()))


def around(unet: UNet2DConditionModel, start: Drawing) -> Drawing:
    """The same around another UNet."""
    return start.on(type(start.pipe), {"unet": unet})


def randomly(*shape: int, seed: int, scale: float) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def image_to_image(start: Drawing) -> Drawing:
    return start.on(StableDiffusionImg2ImgPipeline, image=start.picture(2), strength=0.8)


def inpainting(start: Drawing) -> Drawing:
    """A usual UNet, told the rest of the picture at every step."""
    mask = start.picture(3)[:, :1].round()
    return start.on(StableDiffusionInpaintPipeline, image=start.picture(2), mask_image=mask, strength=0.6)


def inpainting_unet(start: Drawing) -> Drawing:
    """A UNet of nine channels, which sees the mask."""
    return inpainting(around(pico.unet(**TINY, in_channels=9), start)).asking(strength=1.0)


def control_of(unet: UNet2DConditionModel, scale: int) -> ControlNetModel:
    """A ControlNet that says something: its layers are no longer zero. Its picture is `scale` times the latents."""
    widths = [8] * (1 + int(math.log2(scale)))
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths).eval()
    for number, value in enumerate(control.parameters()):
        value.add_(randomly(*value.shape, seed=number, scale=0.05))
    return control


def controlled(start: Drawing, kind: Any = StableDiffusionControlNetPipeline, told: str = "image") -> Drawing:
    control = control_of(start.pipe.unet, start.pipe.vae_scale_factor)
    return start.on(kind, {"controlnet": control}, **{told: start.picture(4)})


def controlled_image_to_image(start: Drawing) -> Drawing:
    return controlled(image_to_image(start), StableDiffusionControlNetImg2ImgPipeline, "control_image")


def t2i_adapter(start: Drawing) -> Drawing:
    torch.manual_seed(0)
    widths = list(start.pipe.unet.config.block_out_channels)
    adapter = T2IAdapter(channels=widths, num_res_blocks=1, downscale_factor=start.pipe.vae_scale_factor).eval()
    return start.on(StableDiffusionAdapterPipeline, {"adapter": adapter}, image=start.picture(4))


def ip_adapter(start: Drawing, tokens: int = 4, width: int = 12) -> Drawing:
    """Pictures beside words, through an IP-Adapter of random weights."""
    unet = start.pipe.unet
    words = unet.config.cross_attention_dim
    layers, number = {}, 1
    for name in unet.attn_processors:
        if "attn2" in name:
            inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            for part in "kv":
                layers[f"{number}.to_{part}_ip.weight"] = randomly(inner, words, seed=number, scale=0.3)
            number += 2
    projection = {
        "proj.weight": randomly(tokens * words, width, seed=1, scale=0.3),
        "proj.bias": torch.zeros(tokens * words),
        "norm.weight": torch.ones(words),
        "norm.bias": torch.zeros(words),
    }
    unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": layers}])
    unet.eval().requires_grad_(False)
    return start.asking(ip_adapter_image_embeds=[randomly(2, 1, width, seed=4, scale=1.0)])


def controlled_ip_adapter(start: Drawing) -> Drawing:
    return ip_adapter(controlled(start))


def lora(start: Drawing) -> Drawing:
    peft = pytest.importorskip("peft", reason="LoRA in diffusers needs peft, which intarsia does not")
    torch.manual_seed(0)
    start.pipe.unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_v"], init_lora_weights=False)
    )
    return start


def fused_lora(start: Drawing) -> Drawing:
    lora(start).pipe.unet.fuse_lora()
    return start


def xl_unet(numbers: int) -> UNet2DConditionModel:
    """A UNet in the shape of SDXL, which is told of sizes in this many numbers: 6 for the base, 5 for the refiner."""
    torch.manual_seed(numbers)
    pooled, each = 8, 4
    return pico.unet(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=each,
        projection_class_embeddings_input_dim=pooled + numbers * each,
    )


def xl(start: Drawing) -> Drawing:
    pooled = {"pooled_prompt_embeds": torch.ones(1, 8), "negative_pooled_prompt_embeds": torch.zeros(1, 8)}
    two = {"text_encoder_2": None, "tokenizer_2": None, "unet": xl_unet(6)}
    return start.on(StableDiffusionXLPipeline, two, **pooled)


def xl_refiner(start: Drawing) -> Drawing:
    """It takes up the noise where a base left it, so its run begins late, and it is told how fair a picture is."""
    parts = {"unet": xl_unet(5), "requires_aesthetics_score": True}
    noisy = randomly(1, 4, 8, 8, seed=5, scale=1.0)
    return xl(start).on(StableDiffusionXLImg2ImgPipeline, parts, image=noisy, denoising_start=0.4)


def controlled_xl(start: Drawing) -> Drawing:
    return controlled(xl(start), StableDiffusionXLControlNetPipeline)


WAYS: dict[str, Way] = {
    "from words": lambda start: start,
    "three pictures": lambda start: start.asking(num_images_per_prompt=3),
    "without guidance": lambda start: start.asking(guidance_scale=1.0),
    "an odd size": lambda start: around(pico.unet(), start).asking(height=40, width=24),  # at the lower levels
    "image to image": image_to_image,
    "inpainting": inpainting,
    "inpainting, nine channels": inpainting_unet,
    "ControlNet": controlled,
    "ControlNet, image to image": controlled_image_to_image,
    "ControlNet, IP-Adapter": controlled_ip_adapter,
    "ControlNet, XL": controlled_xl,
    "T2I-Adapter": t2i_adapter,
    "IP-Adapter": ip_adapter,
    "LoRA": lora,
    "LoRA, fused": fused_lora,
    "XL": xl,
    "XL refiner": xl_refiner,
}


def cut_off(start: Drawing, after: int) -> Drawing:
    """Guidance is left off from a step on, by the official recipe: the batch is halved in mid-run."""

    def leave(pipe: Any, step: int, _time: Any, given: dict) -> dict:
        if step == after:
            given["prompt_embeds"] = given["prompt_embeds"].chunk(2)[-1]
            pipe._guidance_scale = 0.0
        return given

    return start.asking(callback_on_step_end=leave, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def in_step(drawings: Sequence[Drawing], seeds: Sequence[int]) -> list[Tensor]:
    """Draw in a thread each, none a step ahead of the others."""
    barrier = threading.Barrier(len(drawings))

    def wait(_pipe: Any, _step: int, _time: Any, given: dict) -> dict:
        barrier.wait(60)
        return given

    with ThreadPoolExecutor(len(drawings)) as pool:
        return list(pool.map(lambda draw, seed: draw(seed, callback_on_step_end=wait), drawings, seeds))
