"""How good a kit's models for one task are, from the smallest that was trained for to the largest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import FitError
from ..rig import bake
from .clocks import Clock
from .exams import Marks
from .kit import Kit
from .metering import picture_for
from .ranking import refuse_share
from .task import Task


@dataclass(frozen=True)
class Point:
    """One model.

    Attributes:
        share: Of the MACs of the whole model for the task, that was asked for.
        accuracy: In 0 to 1; of things, average precision at an overlap of one half.
        seconds: Of one call with one picture, if a clock was given.
    """

    share: float
    macs: int
    params: int
    accuracy: float
    seconds: float | None


def shares_between(kit: Kit, count: int) -> tuple[float, ...]:
    """Shares of MACs from the lowest to the highest that was trained for, closer towards the low end."""
    if count < 2:
        raise FitError(f"a frontier of {count} models is none: ask for two or more.")
    inner = np.geomspace(kit.lowest, kit.highest, count)[1:-1]
    return (kit.lowest, *map(float, inner), kit.highest)  # the ends exactly, whatever rounding does


def frontier(
    kit: Kit,
    task: Task,
    pictures: Tensor,
    marks: Marks,
    shares: Sequence[float],
    *,
    clock: Clock | None = None,
) -> list[Point]:
    """Make a task's model at each share, and see how good it is.

    Args:
        pictures: (count, channels, height, width), normalised.
        marks: How good answers to them are; see `exams`.
        clock: Measures a call of each; without one, none is measured.

    Raises:
        FitError: a share was not trained for.
    """
    for share in shares:
        refuse_share(share, kit.lowest, kit.highest)
    ranking = kit.assembler.rank([task], kit.grounds)[0]
    points = []
    for share in shares:
        length = ranking.cut_at_share(share)
        model = bake(ranking.plan(length), kit.host)[0].eval()
        macs, params = (int(ranking.costs[name][length - ranking.least]) for name in ("macs", "params"))
        seconds = None if clock is None else clock.seconds(model, picture_for(kit.host))
        points.append(Point(share, macs, params, marked(model, pictures, marks), seconds))
    return points


@torch.no_grad()
def marked(model: nn.Module, pictures: Tensor, marks: Marks, batch: int = 64) -> float:
    """How good a task's model, in evaluation mode, is on an exam; pictures in batches of so many, for memory's sake."""
    return marks(torch.cat([model(part) for part in pictures.split(batch)]))
