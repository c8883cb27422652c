"""How many calls a sampler really makes."""

import copy
from typing import Protocol

import torch


class Sampler(Protocol):
    """A diffusers scheduler, as far as we need it."""

    timesteps: torch.Tensor

    def set_timesteps(self, num_inference_steps: int) -> None: ...


def rows(scheduler: Sampler, steps: int) -> int:
    """Calls of the model for a number of steps: 51 for PNDM at 50, 99 for Heun. Read, not assumed.

    The scheduler is left as it is.
    """
    trial = copy.deepcopy(scheduler)
    trial.set_timesteps(steps)
    return len(trial.timesteps)
