"""Train a student beside its teacher, from the first step to the averaged weights; a killed run goes on."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from ..train import Schedule, fit, wear_average
from .distill import Distilling, Tell, Weights, told
from .incubation import hybrid, level_blocks, levels_that_differ

Batch = tuple[Tensor, Any]


@dataclass(frozen=True)
class Taught:
    """How a training ended.

    Attributes:
        finished: Whether all steps are done; if not, the student is not yet what it will be.
        seconds: Of training, over all stages and sessions.
        last: `step` and losses at the end of the last stage that ran.
    """

    finished: bool
    seconds: float
    last: Mapping[str, float]


def teach(
    student: UNet2DConditionModel,
    teacher: UNet2DConditionModel,
    noise: Any,
    batch_at: Callable[[int], Batch],
    pairs: Mapping[str, str],
    schedule: Schedule,
    out: Path,
    *,
    weights: Weights = Weights(),
    incubate: float = 0.0,
    channel_weights: Tensor | None = None,
    late: float = 1.0,
    tell: Tell = told,
    seed: int = 0,
    save_every: int = 500,
    stop_after: float | None = None,
) -> Taught:
    """Distil a teacher into a student, which wears the averaged weights afterwards.

    Args:
        noise: A diffusers scheduler with `add_noise` and, for v-prediction, `get_velocity`.
        batch_at: The batch of one draw: latents and what the UNet is told of them. See `train.fit`.
        pairs: For each path in the student whose answer is compared, the path in the teacher.
        schedule: Of all steps together.
        out: Folder of the run: `whole/`, and `level-<n>/` for each stage of incubation.
        incubate: Share of the steps spent on one resolution after another inside the frozen teacher.
        channel_weights, late, tell: See `Distilling`.
        stop_after: Seconds after which this session saves and stops.

    Returns:
        How far it came, and the losses of the last stage that ran.

    Raises:
        FitError: incubation was asked for, and the student has another number of resolutions.
    """
    began, spent = time.monotonic(), 0.0
    levels = levels_that_differ(student, teacher) if incubate > 0 else []
    each = int(schedule.steps * incubate / len(levels)) if levels else 0

    def left() -> float | None:
        return None if stop_after is None else max(0.0, stop_after - (time.monotonic() - began))

    for level in levels if each else ():
        raised = hybrid(student, teacher, level).train()
        heard = {path: pairs[path] for path in level_blocks(student, level) if path in pairs}
        objective = Distilling(raised, teacher, noise, heard, weights, channel_weights, late, tell)
        stage = replace(schedule, steps=each, cooldown=each // 2, warmup=min(schedule.warmup, each // 4))
        done = fit(objective, batch_at, stage, out / f"level-{level}", seed=seed + 1 + level, save_every=save_every,
                   stop_after=left())  # fmt: skip
        spent += done["seconds"]
        if done["step"] < each:
            return Taught(False, spent, done)
        wear_average(objective, out / f"level-{level}")

    student.train().requires_grad_(True)
    objective = Distilling(student, teacher, noise, pairs, weights, channel_weights, late, tell)
    remaining = schedule.steps - each * len(levels)
    stage = replace(schedule, steps=remaining, cooldown=min(schedule.cooldown, remaining))
    done = fit(objective, batch_at, stage, out / "whole", seed=seed, save_every=save_every, stop_after=left())
    wear_average(objective, out / "whole")
    student.eval().requires_grad_(False)
    return Taught(done["step"] == remaining, spent + done["seconds"], done)
