"""How many calls a sampler really makes."""

import copy
from typing import Protocol

import torch

from ..errors import FitError


class Sampler(Protocol):
    """A diffusers scheduler, as far as we need it."""

    timesteps: torch.Tensor

    def set_timesteps(self, num_inference_steps: int) -> None: ...


def rows(scheduler: Sampler, steps: int) -> int:
    """Calls of the model for a number of steps: 51 for PNDM at 50, 99 for Heun. Read, not assumed.

    The scheduler is left as it is.

    Raises:
        FitError: the scheduler cannot make so many steps.
    """
    trial = copy.deepcopy(scheduler)
    try:
        trial.set_timesteps(steps)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise FitError(f"{type(scheduler).__name__} cannot make {steps} steps: {said}") from error
    return len(trial.timesteps)
