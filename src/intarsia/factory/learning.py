"""How a supernet and its assembler learn: two objectives for `train.fit`, one after the other.

First concepts: every answer is learned, whole and in random parts, so that any subnet is alive; gates that are learned
from nothing stayed at chance. Then gates and weights together: for tasks and budgets drawn anew at each step, the
model cut out by the assembler learns the answers and what the whole model says of the same task.

Source: NN-Factory (Xu et al. 2023), joint training over sampled tasks and budgets; the sandwich of whole and cut paths
and the distillation between them are BigNAS's (Yu et al. 2020). Differs from NN-Factory: budgets are of MACs and are
met by the cut that is used when the model is made, with straight-through gradients around its threshold.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import FitError
from ..hosts.timm_supernet import TimmSupernet
from ..rig import gated
from .assembler import Assembler
from .ranking import Grounds, Ranking

FAR = -1e4  # of answers that a task does not have, before the softmax
Batch = tuple[Tensor, Tensor, Tensor]


def strata(grounds: Grounds, lowest: float, count: int = 3) -> list[tuple[float, float]]:
    """Ranges of shares of MACs, narrower towards the low end, so that low budgets are drawn often.

    Raises:
        FitError: the supernet has no models as small as the lowest share.
    """
    if not grounds.floor <= lowest < 1:
        raise FitError(
            f"the lowest share of MACs to train for cannot be {lowest:.1%}: this supernet's models have from "
            f"{grounds.floor:.1%} to 100%."
        )
    edges = np.geomspace(lowest, 1.0, count + 1)
    return [(float(low), float(high)) for low, high in pairwise(edges)]


def masks_of(rankings: Sequence[Ranking], lengths: Sequence[int]) -> Tensor:
    """(rankings, units): 1 for the units that each beginning keeps."""
    masks = torch.zeros(len(rankings), len(rankings[0].order))
    for row, (ranking, length) in enumerate(zip(rankings, lengths, strict=True)):
        masks[row, torch.from_numpy(ranking.order[:length])] = 1.0
    return masks


def by_site(grounds: Grounds, masks: Tensor) -> dict[str, Tensor]:
    """Masks of all units, by site: (rows, units of the site)."""
    return dict(zip(grounds.sites, masks.split(grounds.units.tolist(), dim=1), strict=True))


def straight_through(scores: Tensor, masks: Tensor, temperature: float) -> Tensor:
    """The masks, with the gradient of a sigmoid around the threshold between what is kept and what is not.

    Args:
        scores, masks: (rows, units).
    """
    lowest_kept = scores.masked_fill(masks == 0, torch.inf).amin(1, keepdim=True)
    highest_out = scores.masked_fill(masks == 1, -torch.inf).amax(1, keepdim=True)
    threshold = torch.where(torch.isinf(highest_out), lowest_kept - 1, (lowest_kept + highest_out) / 2).detach()
    soft = torch.sigmoid((scores - threshold) / temperature)
    return masks + soft - soft.detach()


def within(logits: Tensor, tasks: Tensor) -> Tensor:
    """Logits in which the answers that a task does not have are out of the question: (rows, answers)."""
    return logits.masked_fill(tasks == 0, FAR)


class Concepts(nn.Module):
    """First stage: all answers, by the whole supernet and by random parts of it.

    A batch is (pictures, answers): (batch, channels, height, width), (batch).

    Args:
        lowest: The smallest share of MACs to train for.
    """

    def __init__(self, host: TimmSupernet, lowest: float) -> None:
        super().__init__()
        self.net = host.module
        self.host: list[TimmSupernet] = [host]  # in a list: no module, and saved elsewhere
        self.grounds = Grounds.of(host.outline, host.answers)
        self.strata = strata(self.grounds, lowest)

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        pictures, answers = batch
        self.net.train()
        parts = np.resize(np.arange(len(self.strata)), len(pictures) // 2)
        rankings, lengths = [], []
        for part in parts:
            scores = np.random.normal(size=len(self.grounds.site_of))
            rankings.append(Ranking.by_score(self.grounds, scores, self.grounds.every_answer))
            lengths.append(rankings[-1].cut_at_share(np.random.uniform(*self.strata[part])))
        masks = torch.ones(len(pictures), len(self.grounds.site_of))
        masks[: len(parts)] = masks_of(rankings, lengths)
        with gated(self.host[0], by_site(self.grounds, masks.to(pictures.device))):
            logits = self.net(pictures)
        right = (logits.argmax(1) == answers).float()
        return {
            "loss": F.cross_entropy(logits, answers),
            "accuracy_whole": right[len(parts) :].mean(),
            "accuracy_parts": right[: len(parts)].mean(),
        }


class Customising(nn.Module):
    """Second stage: the assembler and the supernet together, over tasks and budgets.

    A batch is (pictures, answers, tasks): (tasks * each, channels, height, width), (tasks * each), and (tasks, answers)
    with 1 where an answer belongs to a task; the pictures of the first task come first. Every picture goes through the
    whole supernet and through the part that the assembler cuts out for its task at a budget. The budgets of a step come
    from all strata in turn, so there are at least as many tasks as strata.

    Args:
        lowest: The smallest share of MACs to train for.
        temperature: Of the sigmoid that the gradient of a gate is taken from; scores have variance 1.
        noise: Added to scores when ranking, so that units near the threshold change places.
        distilled: Weight of what the whole supernet says of the same task, beside the answers themselves.
    """

    def __init__(
        self,
        host: TimmSupernet,
        assembler: Assembler,
        lowest: float,
        *,
        temperature: float = 0.5,
        noise: float = 0.2,
        distilled: float = 1.0,
    ) -> None:
        super().__init__()
        self.net, self.assembler = host.module, assembler
        self.host: list[TimmSupernet] = [host]
        self.grounds = Grounds.of(host.outline, host.answers)
        self.strata = strata(self.grounds, lowest)
        self.temperature, self.noise, self.distilled = temperature, noise, distilled

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        pictures, answers, tasks = batch
        if len(tasks) < len(self.strata) or len(pictures) % len(tasks):
            raise FitError(
                f"{len(pictures)} pictures of {len(tasks)} tasks: give each task as many, and at least "
                f"{len(self.strata)} tasks."
            )
        self.net.train()
        each = len(pictures) // len(tasks)
        scores = self.assembler(tasks)
        scores = scores + self.noise * torch.randn_like(scores)
        rankings, lengths = [], []
        for row, task in enumerate(tasks):
            own = tuple(task.nonzero().flatten().tolist())
            rankings.append(Ranking.by_score(self.grounds, scores[row].detach().cpu().double().numpy(), own))
            lengths.append(rankings[-1].cut_at_share(np.random.uniform(*self.strata[row % len(self.strata)])))
        cut = straight_through(scores, masks_of(rankings, lengths).to(scores.device), self.temperature)
        cut = cut.repeat_interleave(each, 0)
        # One pass for both paths: batch norms then see in training the mixture that their running statistics are of.
        with gated(self.host[0], by_site(self.grounds, torch.cat([torch.ones_like(cut), cut]))):
            logits = self.net(torch.cat([pictures, pictures]))
        whole, part = within(logits, tasks.repeat_interleave(each, 0).repeat(2, 1)).chunk(2)
        taught = F.kl_div(part.log_softmax(1), whole.detach().log_softmax(1), log_target=True, reduction="batchmean")
        losses = {
            "loss": F.cross_entropy(whole, answers) + F.cross_entropy(part, answers) + self.distilled * taught,
            "accuracy_whole": (whole.argmax(1) == answers).float().mean(),
        }
        right = (part.argmax(1) == answers).float().reshape(len(tasks), each).mean(1)
        for number, (low, high) in enumerate(self.strata):
            losses[f"accuracy_{low:.0%}_to_{high:.0%}"] = right[number :: len(self.strata)].mean()
        return losses
