"""How a supernet and its assembler learn: two objectives for `train.fit`, one after the other.

First concepts: what is to be seen is learned, whole and in random parts, so that any subnet is alive; gates that are
learned from nothing stayed at chance. Then gates and weights together: for tasks and budgets drawn anew at each step,
the model cut out by the assembler learns the answers and what the largest model for the same task says.

Where all tasks share one head, only the gates tell them apart. Then the largest model is not the whole supernet, which
is the same for every task, but the one at the highest share of MACs.

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

PARTS = 24  # random models in a step of the first stage
FAR = -1e4  # of answers that a task does not have, before the softmax
Batch = tuple[Tensor, Tensor, Tensor]


def strata(grounds: Grounds, lowest: float, highest: float = 1.0, count: int = 3) -> list[tuple[float, float]]:
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
        masks[row, torch.from_numpy(ranking.order[:length])] = 1.0
    return masks


def by_site(grounds: Grounds, masks: Tensor) -> dict[str, Tensor]:
    """Masks of all units, by site: (rows, units of the site)."""
    return dict(zip(grounds.sites, masks.split(grounds.units.tolist(), dim=1), strict=True))


def straight_through(scores: Tensor, masks: Tensor, temperature: float) -> Tensor:
    """The masks, with the gradient of a sigmoid around the threshold between what is kept and what is not.

    Where all is kept there is no threshold, and no gradient.

    Args:
        scores, masks: (rows, units).
    """
    lowest_kept = scores.masked_fill(masks == 0, torch.inf).amin(1, keepdim=True)
    highest_out = scores.masked_fill(masks == 1, -torch.inf).amax(1, keepdim=True)
    threshold = torch.where(torch.isinf(highest_out), -torch.inf, (lowest_kept + highest_out) / 2).detach()
    soft = torch.sigmoid((scores - threshold) / temperature)
    return masks + (soft - soft.detach())


def within(logits: Tensor, tasks: Tensor) -> Tensor:
    """Logits in which the answers that a task does not have are out of the question: (rows, answers)."""
    return logits.masked_fill(tasks == 0, FAR)


class Probe(nn.Module):
    """Tells what is in each cell of a picture, from a layer of a supernet: a teacher's aid, thrown away afterwards.

    Args:
        layer: The module whose map, (batch, channels, height, width), is looked at.
        concepts: How many things there are to tell apart.
        cells: Rows and columns of the grid; the map's sides are multiples of it.
    """

    def __init__(self, host: TimmSupernet, layer: str, concepts: int, cells: int) -> None:
        super().__init__()
        self.layer, self.cells = layer, cells
        with torch.no_grad():
            channels = self.map_of(host.module, torch.zeros(2, *host.size)).shape[1]
        self.told = nn.Conv2d(channels, concepts, 1)

    def map_of(self, net: nn.Module, pictures: Tensor) -> Tensor:
        """What the layer hands on in a call."""
        seen: list[Tensor] = []
        handle = net.get_submodule(self.layer).register_forward_hook(lambda _module, _args, out: seen.append(out))
        try:
            net(pictures)
        finally:
            handle.remove()
        return seen[0]

    def forward(self, net: nn.Module, pictures: Tensor) -> Tensor:
        """(batch, concepts, cells, cells)."""
        return self.told(F.adaptive_avg_pool2d(self.map_of(net, pictures), self.cells))


class Concepts(nn.Module):
    """First stage: all answers, or what is in each cell of a picture, by the whole supernet and by random parts of it.

    A batch is (pictures, answers): (batch, channels, height, width), and (batch), or with a probe (batch, rows,
    columns).

    Args:
        lowest: The smallest share of MACs to train for.
        probe: Where concepts are not the answers: looks for them in place of the classifier.
    """

    def __init__(self, host: TimmSupernet, lowest: float, probe: Probe | None = None) -> None:
        super().__init__()
        self.net, self.probe = host.module, probe
        self.host: list[TimmSupernet] = [host]  # in a list: no module, and saved elsewhere
        self.grounds = Grounds.of(host.outline, host.answers)
        self.strata = strata(self.grounds, lowest)

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        pictures, answers = batch
        self.net.train()
        half = len(pictures) // 2
        rankings, lengths = [], []
        for part in range(min(PARTS, half)):
            scores = np.random.normal(size=len(self.grounds.site_of))
            rankings.append(Ranking.by_score(self.grounds, scores, self.grounds.every_answer))
            lengths.append(rankings[-1].cut_at_share(np.random.uniform(*self.strata[part % len(self.strata)])))
        masks = torch.ones(len(pictures), len(self.grounds.site_of))
        masks[:half] = masks_of(rankings, lengths)[torch.arange(half) % len(rankings)]
        with gated(self.host[0], by_site(self.grounds, masks.to(pictures.device))):
            logits = self.net(pictures) if self.probe is None else self.probe(self.net, pictures)
        right = (logits.argmax(1) == answers).float()
        return {
            "loss": F.cross_entropy(logits, answers),
            "accuracy_whole": right[half:].mean(),
            "accuracy_parts": right[:half].mean(),
        }


class Customising(nn.Module):
    """Second stage: the assembler and the supernet together, over tasks and budgets.

    A batch is (pictures, answers, tasks): (tasks * each, channels, height, width), (tasks * each), and (tasks, parts)
    with 1 where a part belongs to a task; the pictures of the first task come first. Every picture goes through the
    largest model for its task and through the one that the assembler cuts out at a budget. The budgets of a step come
    from all strata in turn, so there are at least as many tasks as strata.

    Args:
        lowest, highest: The shares of MACs to train for.
        shared_head: All tasks have all answers, and only the gates tell them apart. The highest share is then below 1.
        temperature: Of the sigmoid that the gradient of a gate is taken from; scores have variance 1.
        noise: Added to scores when ranking, so that units near the threshold change places.
        distilled: Weight of what the largest model for the same task says, beside the answers themselves.

    Raises:
        FitError: there are no such shares; or a head is shared by models that could not tell their tasks apart.
    """

    def __init__(
        self,
        host: TimmSupernet,
        assembler: Assembler,
        lowest: float,
        *,
        highest: float = 1.0,
        shared_head: bool = False,
        temperature: float = 0.5,
        noise: float = 0.2,
        distilled: float = 1.0,
    ) -> None:
        super().__init__()
        self.net, self.assembler = host.module, assembler
        self.host: list[TimmSupernet] = [host]
        self.grounds = Grounds.of(host.outline, host.answers)
        if shared_head and highest >= 1:
            raise FitError("with a shared head the whole supernet answers all tasks alike: train for less than 100%.")
        self.strata = strata(self.grounds, lowest, highest)
        self.highest, self.shared_head = highest, shared_head
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
        every = self.grounds.every_answer
        offered = tasks.new_ones(len(tasks), len(every)) if self.shared_head else tasks
        rankings, lengths, longest = [], [], []
        for row, of in enumerate(offered):
            own = tuple(of.nonzero().flatten().tolist())
            ranking = Ranking.by_score(self.grounds, scores[row].detach().cpu().double().numpy(), own)
            rankings.append(ranking)
            lengths.append(ranking.cut_at_share(np.random.uniform(*self.strata[row % len(self.strata)])))
            longest.append(ranking.cut_at_share(self.highest))
        gates = [
            straight_through(scores, masks_of(rankings, cuts).to(scores.device), self.temperature)
            for cuts in (longest, lengths)
        ]
        # One pass for both paths: batch norms then see in training the mixture that their running statistics are of.
        with gated(self.host[0], by_site(self.grounds, torch.cat(gates).repeat_interleave(each, 0))):
            logits = self.net(torch.cat([pictures, pictures]))
        large, part = within(logits, torch.cat([offered, offered]).repeat_interleave(each, 0)).chunk(2)
        taught = F.kl_div(part.log_softmax(1), large.detach().log_softmax(1), log_target=True, reduction="batchmean")
        losses = {
            "loss": F.cross_entropy(large, answers) + F.cross_entropy(part, answers) + self.distilled * taught,
            "accuracy_largest": (large.argmax(1) == answers).float().mean(),
        }
        right = (part.argmax(1) == answers).float().reshape(len(tasks), each).mean(1)
        for number, (low, high) in enumerate(self.strata):
            losses[f"accuracy_{low:.0%}_to_{high:.0%}"] = right[number :: len(self.strata)].mean()
        return losses
