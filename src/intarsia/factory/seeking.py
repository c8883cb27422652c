"""How a detector's supernet and its assembler learn: the two stages of `learning`, with things in place of answers.

First every name of every thing, whole and in random parts. Then tasks: of a red sword it matters only whether a thing
is red and a sword, so that is the one likelihood that is learned, and boxes only of what fits. The largest model for
the same task is a teacher beside the truth.

Source: NN-Factory (Xu et al. 2023), attribute-specified detection. Differs from it: the names that a task asks for are
answers of the head, so a pair of names that never met in training can be asked for; focal loss towards the teacher's
probabilities is quality focal loss (Li et al. 2020).
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import FitError
from ..hosts.detector import BOX
from ..hosts.timm_supernet import TimmSupernet
from ..rig import gated
from ..rig.bare import bare_copy
from ..rig.outlining import on_meta
from .assembler import Assembler
from .boxes import Cells, answering, as_logits, crowded, fitting, losses, sure_of
from .cuts import Cuts, by_site, random_parts, refuse_folded, strata
from .ranking import Grounds
from .task import groups_mask

Batch = tuple[Tensor, ...]
BOXES = 2.0  # what a box counts beside a name


def cells_of(host: TimmSupernet) -> Cells:
    """The cells of a host's detector.

    Raises:
        FitError: it is none, or its backbone gives others at this size of picture.
    """
    strides = getattr(host.module, "strides", None)
    if strides is None:
        raise FitError(f"{host.name} finds no things: create it as timm's 'anchor_free_detector'.")
    cells = Cells.of(strides, host.size)
    with on_meta(bare_copy(host.module).eval(), {}) as (run, *_):
        given = cast(Tensor, run(host.inputs())).shape[1]
    if given != len(cells.centres):
        channels, *sides = host.size
        fits = (channels, *(-(-side // strides[-1]) * strides[-1] for side in sides))
        raise FitError(
            f"{host.name} has {given} cells in pictures of {host.size}, and {len(cells.centres)} are wanted: its "
            f"backbone rounds sides down. Take sides that are multiples of {strides[-1]}, such as {fits}."
        )
    return cells


class Naming(nn.Module):
    """First stage: every thing with every name, by the whole supernet and by random parts of it.

    A batch is (pictures, boxes, names): (batch, channels, height, width), (batch, things, 4) in pixels, zero where
    there is no thing, and (batch, things, names), 1 for each that fits. It may end with crowds, in the same way, and
    1 for each name that may fit one of them: a cell in these need not deny what it may see.

    Args:
        lowest: The smallest share of MACs to train for.
    """

    def __init__(self, host: TimmSupernet, lowest: float) -> None:
        super().__init__()
        refuse_folded(host)
        self.net, self.cells = host.module, cells_of(host)
        self.host: list[TimmSupernet] = [host]  # in a list: no module, and saved elsewhere
        self.grounds = Grounds.of(host.outline, host.answers)
        self.strata = strata(self.grounds, lowest)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        pictures, boxes, names, *crowds = batch
        self.net.train()
        half = len(pictures) // 2
        masks = random_parts(self.grounds, self.strata, half, len(pictures)).to(pictures.device)
        with gated(self.host[0], by_site(self.grounds, masks)):
            answers = self.net(pictures)
        owner = answering(self.cells, boxes.cpu()).to(boxes.device)
        unknown = crowded(self.cells, *crowds) if crowds else None
        wrong = losses(answers[..., BOX:], answers[..., :BOX], owner, names, boxes, unknown)
        return {"loss": wrong["names"] + BOXES * wrong["boxes"], **wrong}


class Seeking(nn.Module):
    """Second stage: the assembler and the supernet together, over tasks and budgets.

    A batch is (pictures, boxes, names, tasks), as for `Naming`, with (tasks, names): 1 for what is asked for. There
    are as many pictures for each task; those of the first come first. It may end with crowds, as there.

    Args:
        groups: Which names are alternatives; see `Space.groups_of`.
        lowest, highest: The shares of MACs to train for.
        distilled: Weight of what the largest model for the same task says, beside the truth.
    """

    groups: Tensor

    def __init__(
        self,
        host: TimmSupernet,
        assembler: Assembler,
        groups: Sequence[Sequence[int]],
        lowest: float,
        *,
        highest: float = 1.0,
        distilled: float = 1.0,
    ) -> None:
        super().__init__()
        refuse_folded(host)
        self.net, self.assembler, self.cells = host.module, assembler, cells_of(host)
        self.host: list[TimmSupernet] = [host]
        grounds = Grounds.of(host.outline, host.answers)
        self.cuts = Cuts(grounds, strata(grounds, lowest, highest), highest)
        self.distilled = distilled
        self.register_buffer("groups", groups_mask(groups, len(grounds.every_answer)), persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        pictures, boxes, names, tasks, *crowds = batch
        if len(pictures) % len(tasks):
            raise FitError(f"{len(pictures)} pictures of {len(tasks)} tasks: give each task as many.")
        self.net.train()
        each = len(pictures) // len(tasks)
        gates = torch.cat(self.cuts.gates(self.assembler(tasks), tasks)).repeat_interleave(each, 0)
        # One pass for both paths: batch norms then see in training the mixture that their running statistics are of.
        with gated(self.host[0], by_site(self.cuts.grounds, gates)):
            answers = self.net(torch.cat([pictures, pictures]))
        asked = (tasks[:, None] * self.groups).repeat_interleave(each, 0)  # (pictures, groups, names)
        owner = answering(self.cells, boxes.cpu()).to(boxes.device)
        fits = fitting(names, asked)[..., None]
        unknown = crowded(self.cells, crowds[0], fitting(crowds[1], asked)[..., None]) if crowds else None
        whole, cut = answers.chunk(2)
        large, part = (as_logits(sure_of(one[..., BOX:], asked)) for one in (whole, cut))
        wrong = [
            losses(said[..., None], one[..., :BOX], owner, fits, boxes, unknown)
            for said, one in ((large, whole), (part, cut))
        ]
        likely = large.detach().sigmoid()
        apart = F.binary_cross_entropy_with_logits(part, likely, reduction="none") * (part.sigmoid() - likely).square()
        there = self.there(owner, fits)
        taught = apart.sum() / there.sum().clamp(min=1)
        loss = sum(one["names"] + BOXES * one["boxes"] for one in wrong) + self.distilled * taught
        sure = ((part.sigmoid() * there).sum(1) / there.sum(1).clamp(min=1)).reshape(len(tasks), each)
        met = there.any(1).reshape(len(tasks), each)
        rates = (sure * met).sum(1) / met.sum(1).clamp(min=1)
        return {"loss": loss, "taught": taught, **wrong[0], **self.cuts.by_budget("sure", rates)}

    @staticmethod
    def there(owner: Tensor, fits: Tensor) -> Tensor:
        """(batch, cells): 1 where a cell answers for a thing that is asked for."""
        return fits[..., 0].gather(1, owner.clamp(min=0)) * (owner >= 0)
