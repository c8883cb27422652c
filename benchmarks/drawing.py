"""Pictures by the hundred: a seed each, processes sharing the work."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from intarsia.rig.meter import Seconds, measure_seconds
from intarsia.shipped import GUIDANCE
from intarsia.train import processes as processes

BATCH = 32
# What searches and fits watch; none of it is reported.
WATCHED = ("a fox in noto style", "a red apple in 3d style", "a guitar in high contrast style", "a tree in flat style")


def draw(
    call: Callable[..., Any],
    prompts: Sequence[str],
    *,
    steps: int,
    seed: int = 0,
    latents: bool = False,
    alone: bool = False,
    around: Callable[[slice], AbstractContextManager[Any]] = lambda _rows: nullcontext(),
) -> np.ndarray | torch.Tensor:
    """Pictures (count, height, width, 3) in bytes, or final latents; the n-th has the seed `seed + n`.

    Under `torchrun` every process must call this, draws its share, and gets them all.

    Args:
        call: A pipeline, or what stands for one.
        alone: Every process draws everything itself: for runs that are watched or metered.
        around: What is entered while some rows of the prompts are drawn.
    """
    state = processes()
    place, sharers = (0, 1) if alone else (state.process_index, state.num_processes)
    mine: list[tuple[int, Any]] = []
    for start in range(BATCH * place, len(prompts), BATCH * sharers):
        part = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(seed + start + number) for number in range(len(part))]
        with around(slice(start, start + len(part))):
            drawn = call(
                part, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators,
                output_type="latent" if latents else "pil",
            ).images  # fmt: skip
        mine.append((start, drawn if latents else np.stack([np.asarray(picture) for picture in drawn])))
    gathered = mine if alone else gather_object(mine)
    parts = [part for _, part in sorted(gathered, key=lambda pair: pair[0])]
    return torch.cat(parts) if latents else np.concatenate(parts)


def raced(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> Seconds:
    """Seconds of each, taken in turn by one process while the others wait. What is called must draw alone."""
    taken = [measure_seconds(calls, rounds=rounds)] if processes().is_main_process else []
    return gather_object(taken)[0]
