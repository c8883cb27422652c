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

    RePaint's are too many: its steps back in time are counted, at which it calls no model. A plan of so many rows
    serves it, for each jump back begins a run of its own, with features of its own.

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


def first_row_below(scheduler: Sampler, steps: int, *, time: float | None = None, snr: float | None = None) -> int:
    """The first call at which the time step has fallen to `time`, or the signal-to-noise ratio has risen to `snr`.

    A boundary said in time or noise becomes a whole number of calls, which a plan can hold. If no call comes so far,
    it is the number of calls.

    Raises:
        FitError: not one of the two is said, or the scheduler does not know its noise.
    """
    if (time is None) == (snr is None):
        raise FitError("say either a time step or a signal-to-noise ratio.")
    trial = copy.deepcopy(scheduler)
    trial.set_timesteps(steps)
    times = [float(one) for one in trial.timesteps]
    if snr is None:
        return next((row for row, one in enumerate(times) if time is not None and one <= time), len(times))
    kept = getattr(trial, "alphas_cumprod", None)
    if kept is None:
        raise FitError(f"{type(scheduler).__name__} does not say its signal-to-noise ratios; name a time step.")
    ratios = [float(kept[round(one)] / (1 - kept[round(one)])) for one in times]
    return next((row for row, one in enumerate(ratios) if one >= snr), len(ratios))
