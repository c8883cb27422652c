"""Pictures by the hundred: a seed each, processes sharing the work."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object

GUIDANCE, BATCH = 3.0, 32


def draw(
    call: Callable[..., Any], prompts: Sequence[str], *, steps: int, seed: int = 0, latents: bool = False
) -> np.ndarray | torch.Tensor:
    """Pictures (count, height, width, 3) in bytes, or final latents; the n-th has the seed `seed + n`.

    Under `torchrun` every process must call this, draws its share, and gets them all.

    Args:
        call: A pipeline, or what stands for one.
    """
    state = PartialState()
    mine: list[tuple[int, Any]] = []
    for start in range(BATCH * state.process_index, len(prompts), BATCH * state.num_processes):
        part = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(seed + start + place) for place in range(len(part))]
        drawn = call(
            part, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators,
            output_type="latent" if latents else "pil",
        ).images  # fmt: skip
        mine.append((start, drawn if latents else np.stack([np.asarray(picture) for picture in drawn])))
    parts = [part for _, part in sorted(gather_object(mine), key=lambda pair: pair[0])]
    return torch.cat(parts) if latents else np.concatenate(parts)
