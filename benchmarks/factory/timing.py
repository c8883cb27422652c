"""Models of a kit timed in pairs, one beside another: where a machine grows slower, it does so for both."""

import math
import statistics
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from intarsia.factory import Kit, Task
from intarsia.factory.clocks import Clock
from intarsia.rig import bake

PAIRS = 7
STILL, TRIES = 0.02, 6  # machines are a tenth faster or slower now and then, for some ten seconds at a time
STEPS = ("assemble", "bake", "convert", "measure")  # from an order to its measured model


def order_seconds(row: Mapping[str, float]) -> float:
    """Seconds from an order to its measured model, of a row that tells what each step took."""
    return sum(row[step] for step in STEPS)


def shown_to(size: tuple[int, int, int]) -> Tensor:
    """What models are timed on: noise, as where devices are measured."""
    return torch.randn(1, *size, generator=torch.Generator().manual_seed(0))


def made_at(kit: Kit, task: Task, share: float) -> nn.Module:
    """The model of a task at a share of the MACs."""
    ranking = kit.assembler.rank([task], kit.grounds)[0]
    return bake(ranking.plan(ranking.cut_at_share(share)), kit.host)[0].eval()


def seconds_over(model: nn.Module, other: nn.Module, size: tuple[int, int, int], clock: Clock) -> float:
    """Seconds of a call of one model over another's: the median of pairs."""
    shown = shown_to(size)
    return statistics.median(clock.seconds(model, shown) / clock.seconds(other, shown) for _ in range(PAIRS))


def dense_seconds(dense: nn.Module, size: tuple[int, int, int], clock: Clock) -> float:
    """Seconds of a call, the median of as many measurements: what budgets are shares of."""
    return statistics.median(clock.seconds(dense, shown_to(size)) for _ in range(PAIRS))


def while_still(dense: Callable[[], float], row_of: Callable[[float], dict[str, object]]) -> dict[str, object]:
    """A row about shares of a dense model's seconds, of a while in which these stayed the same: told by them alone.

    Args:
        dense: Measures the dense model.
        row_of: Makes the row, given its seconds.
    """
    drift, tries, row = math.inf, 0, {}
    while abs(drift) > STILL and tries < TRIES:
        before, tries = dense(), tries + 1
        row = row_of(before)
        drift = dense() / before - 1
    return row | {"drift": drift, "tries": tries}


def fastest_over_dense(kit: Kit, task: Task, clock: Clock) -> float:
    """Seconds of a task's smallest model over those of its largest."""
    small, large = (made_at(kit, task, share) for share in (kit.lowest, kit.highest))
    return seconds_over(small, large, kit.host.size, clock)
