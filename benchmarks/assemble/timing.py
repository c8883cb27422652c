"""What a call of each UNet takes, at the model's own size and at the proportions of 512 px."""

import functools
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from diffusers import DiffusionPipeline
from torch import nn

from intarsia import rig

WIDE = 64  # latents of 512 px
STEPS = 25  # of a sampler, whose time steps calls go through: kernels mixed by time are others at each
SHORT = 8  # calls timed at once at the model's own size


@torch.no_grad()
def timed(
    unets: Mapping[str, nn.Module], pipe: DiffusionPipeline, rounds: int, sides: Sequence[int]
) -> dict[str, rig.meter.Seconds]:
    """Guidance's two predictions in one batch, in single precision, by the sides of latents."""
    pipe.scheduler.set_timesteps(STEPS)
    times = pipe.scheduler.timesteps.tolist()
    found = {}
    for side in sides:
        generator = torch.Generator().manual_seed(0)
        channels, width = pipe.unet.config.in_channels, pipe.unet.config.cross_attention_dim
        sample = torch.randn(2, channels, side, side, generator=generator)
        words = torch.randn(2, pipe.tokenizer.model_max_length, width, generator=generator)
        count = 1 if side == WIDE else SHORT
        calls = {
            name: in_turn([functools.partial(unet, sample, time, words) for time in times], count)
            for name, unet in unets.items()
        }
        warmups = 1 + len(times) // count if not found else 2  # merged once, at all time steps, whatever the size
        found[size_of(side)] = rig.measure_seconds(calls, rounds=rounds, warmups=warmups)
    return found


def size_of(side: int) -> str:
    return f"{side}x{side} latents"


def in_turn(calls: Sequence[Callable[[], object]], count: int) -> Callable[[], None]:
    """The next so many calls, round and round: what is short is timed by the dozen."""
    ring = itertools.cycle(calls)

    def some() -> None:
        for call in itertools.islice(ring, count):
            call()

    return some


def overhead(seconds: Mapping[str, rig.meter.Seconds], dear: str, plain: str) -> float:
    """Seconds of one over those of another in the same round: the larger of the medians at the two sizes."""

    def ratios(taken: rig.meter.Seconds) -> list[float]:
        one, other = (taken.names.index(name) for name in (dear, plain))
        return [times[one] / times[other] for times in taken.rounds]

    return max(statistics.median(ratios(taken)) for taken in seconds.values())
