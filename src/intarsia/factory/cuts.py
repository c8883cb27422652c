"""Models of a supernet in training: at random, or as an assembler's scores and a budget cut them out.

Source: NN-Factory (Xu et al. 2023). Differs from it: budgets are of MACs, and are met by the cut that is used when a
model is made, with straight-through gradients around its threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..errors import FitError
from ..hosts.timm_supernet import TimmSupernet
from .ranking import Grounds, Ranking

PARTS = 24  # random models in a batch
STRATA = 3  # of budgets: a batch has tasks of every one


def refuse_tasks(batch: int, tasks: int) -> None:
    """Raise `FitError` for tasks of a batch that are fewer than strata, or more than its pictures."""
    if not STRATA <= tasks <= batch:
        raise FitError(
            f"a batch of {batch} pictures for {tasks} tasks: give it {STRATA} or more, and each a picture or more."
        )


def refuse_folded(host: TimmSupernet) -> None:
    """Raise `FitError` for a supernet that is not for training: its batch norms are folded into convolutions."""
    if host.folded:
        raise FitError(
            "this supernet's batch norms are folded, so it cannot learn. Read the kit by load_kit(folder, fold=False), "
            "or train it by learned_further, which takes the supernet as it was."
        )


def strata(grounds: Grounds, lowest: float, highest: float = 1.0, count: int = STRATA) -> list[tuple[float, float]]:
    """Ranges of shares of MACs, narrower towards the low end, so that low budgets are drawn often.

    Raises:
        FitError: the supernet has no models of such shares.
    """
    if not grounds.floor <= lowest < highest <= 1:
        raise FitError(
            f"the shares of MACs to train for cannot be {lowest:.1%} to {highest:.1%}: this supernet's models have "
            f"from {grounds.floor:.1%} to 100%."
        )
    edges = np.geomspace(lowest, highest, count + 1)
    return [(float(low), float(high)) for low, high in pairwise(edges)]


def masks_of(rankings: Sequence[Ranking], lengths: Sequence[int]) -> Tensor:
    """(rankings, units): 1 for the units that each beginning keeps."""
    masks = torch.zeros(len(rankings), len(rankings[0].order))
    for row, (ranking, length) in enumerate(zip(rankings, lengths, strict=True)):
        masks[row, torch.from_numpy(ranking.beginning(length))] = 1.0
    return masks


def trained_masks(rankings: Sequence[Ranking], lengths: Sequence[int]) -> Tensor:
    """The same as `masks_of` in what models answer; in a block that is shut, what it keeps at least stays open.

    An empty block would tell its own gate nothing of what it is worth, and fill its batch norms' statistics with zeros.
    """
    masks = masks_of(rankings, lengths)
    for row, ranking in enumerate(rankings):
        masks[row, torch.from_numpy(ranking.inside)] = 1.0
    return masks


def by_site(grounds: Grounds, masks: Tensor) -> dict[str, Tensor]:
    """Masks of all units, by site: (rows, units of the site)."""
    return dict(zip(grounds.sites, masks.split(grounds.units.tolist(), dim=1), strict=True))


def random_parts(grounds: Grounds, ranges: Sequence[tuple[float, float]], cut: int, count: int) -> Tensor:
    """(count, units): masks of random models, of shares of MACs from all ranges, `cut` rows; then of the whole."""
    rankings, lengths = [], []
    for part in range(min(PARTS, cut)):
        rankings.append(Ranking.by_score(grounds, np.random.normal(size=len(grounds.site_of)), grounds.every_answer))
        lengths.append(rankings[-1].cut_at_share(np.random.uniform(*ranges[part % len(ranges)])))
    masks = torch.ones(count, len(grounds.site_of))
    masks[:cut] = trained_masks(rankings, lengths)[torch.arange(cut) % len(rankings)]
    return masks


@dataclass(frozen=True)
class Cuts:
    """How tasks' scores become gates in training: cut as orders are cut, with a gradient through the threshold.

    Attributes:
        strata: Ranges of shares of MACs; the tasks of a batch have budgets from all of them in turn.
        highest: The share of the largest model.
        temperature: Of the sigmoid that the gradient of a gate is taken from; scores have variance 1.
        noise: Added to scores when ranking, so that units near the threshold change places.
    """

    grounds: Grounds
    strata: Sequence[tuple[float, float]]
    highest: float = 1.0
    temperature: float = 0.5
    noise: float = 0.2

    def gates(self, scores: Tensor, offered: Tensor, least: float = 0.0) -> tuple[Tensor, Tensor]:
        """Gates of each task's largest model and of one at a budget drawn for it, (tasks, units) each.

        Args:
            scores: (tasks, units).
            offered: (tasks, answers): 1 for those that a task's models have.
            least: The share that budgets below it are raised to.

        Raises:
            FitError: fewer tasks than strata.
        """
        if len(scores) < len(self.strata):
            raise FitError(f"a batch of {len(scores)} tasks: give it at least {len(self.strata)}, one of each stratum.")
        scores = scores + self.noise * torch.randn_like(scores)
        rankings, lengths, longest = [], [], []
        for row, of in enumerate(offered):
            own = tuple(of.nonzero().flatten().tolist())
            ranking = Ranking.by_score(self.grounds, scores[row].detach().cpu().double().numpy(), own)
            rankings.append(ranking)
            share = np.random.uniform(*self.strata[row % len(self.strata)])
            lengths.append(ranking.cut_at_share(max(least, share)))
            longest.append(ranking.cut_at_share(self.highest))
        large, part = (self.through(scores, rankings, cuts) for cuts in (longest, lengths))
        return large, part

    def through(self, scores: Tensor, rankings: Sequence[Ranking], lengths: Sequence[int]) -> Tensor:
        """The masks of beginnings, with a gradient: of rankings that were made of these scores, (rankings, units)."""
        thresholds = [ranking.threshold(length) for ranking, length in zip(rankings, lengths, strict=True)]
        masks = trained_masks(rankings, lengths).to(scores)
        return straight_through(scores, masks, scores.new_tensor(thresholds), self.temperature)

    def by_budget(self, name: str, rates: Tensor) -> dict[str, Tensor]:
        """A figure of each task's model at a budget, the mean of each stratum, as logs name it.

        Args:
            rates: (tasks).
        """
        count = len(self.strata)
        return {
            f"{name}_{low:.0%}_to_{high:.0%}": rates[number::count].mean()
            for number, (low, high) in enumerate(self.strata)
        }


def straight_through(scores: Tensor, masks: Tensor, thresholds: Tensor, temperature: float) -> Tensor:
    """The masks, with the gradient of a sigmoid around the threshold between what is kept and what is not.

    Args:
        scores, masks: (rows, units).
        thresholds: (rows). Minus infinity where all is kept: there is no gradient.
    """
    soft = torch.sigmoid((scores - thresholds[:, None]) / temperature)
    return masks + (soft - soft.detach())
