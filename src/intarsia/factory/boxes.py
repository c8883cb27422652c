"""What a detector should answer, how wrong it is, and the boxes that its answers mean.

Source: FCOS (Tian et al. 2019): cells near the middle of a thing answer for it, at the resolution that its size suits;
the smallest thing wins. Focal loss (Lin et al. 2017) and generalised IoU (Rezatofighi et al. 2019) are torchvision's.
Differs from FCOS: names are independent of each other, for a thing has several, and there is no branch for centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import batched_nms, generalized_box_iou_loss, sigmoid_focal_loss

from ..hosts.detector import BOX, centres_of

NEAR = 1.5  # cells: how far from a thing's middle a cell may answer for it
FAR = -1e4  # of names that are not asked for, before the largest is taken
LARGEST = 3.0  # cells: the longest reach from a cell of a level; what reaches farther is the next level's


@dataclass(frozen=True)
class Things:
    """What is in one picture.

    Attributes:
        boxes: (things, 4): left, top, right, bottom in pixels.
        names: (things, names): 1 for each name that fits.
    """

    boxes: Tensor
    names: Tensor


@dataclass(frozen=True)
class Cells:
    """The cells of a detector at one size of picture.

    Attributes:
        centres: (cells, 2): x and y in pixels.
        stride: (cells): pixels of each cell.
        least, most: (cells): the reaches, in pixels, that each answers for.
    """

    centres: Tensor
    stride: Tensor
    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, strides: Sequence[int], size: tuple[int, int, int]) -> "Cells":
        """For pictures of (channels, height, width)."""
        centres, stride, least, most = [], [], [], []
        for place, step in enumerate(strides):
            here = centres_of(-(-size[1] // step), -(-size[2] // step), step).flatten(1).T
            last = place == len(strides) - 1
            centres.append(here)
            stride.append(torch.full((len(here),), float(step)))
            least.append(torch.full((len(here),), 0.0 if not place else LARGEST * strides[place - 1]))
            most.append(torch.full((len(here),), torch.inf if last else LARGEST * step))
        return cls(torch.cat(centres), torch.cat(stride), torch.cat(least), torch.cat(most))


def reaches(cells: Cells, boxes: Tensor) -> Tensor:
    """(batch, cells, things, 4): how far each side of a box is from a cell's centre; below zero from outside.

    Args:
        boxes: (batch, things, 4).
    """
    centres, boxes = cells.centres[:, None], boxes[:, None]
    return torch.cat([centres - boxes[..., :2], boxes[..., 2:] - centres], 3)


def crowded(cells: Cells, boxes: Tensor, kinds: Tensor) -> Tensor:
    """(batch, cells, kinds): whether a cell lies in a crowd that may hold a kind, so that nobody knows what is there.

    Args:
        boxes: (batch, crowds, 4).
        kinds: (batch, crowds, kinds): 1 for each that a crowd may hold.
    """
    inside = (reaches(cells, boxes.cpu()).amin(3) > 0).to(kinds)
    return inside @ kinds > 0


def answering(cells: Cells, boxes: Tensor) -> Tensor:
    """(batch, cells): the number of the thing that each cell answers for, -1 for none.

    Args:
        boxes: (batch, things, 4); what has no area is nothing.
    """
    if not boxes.shape[1]:
        return torch.full((len(boxes), len(cells.centres)), -1)
    reach = reaches(cells, boxes)
    centres, boxes = cells.centres[:, None], boxes[:, None]
    longest = reach.amax(3)
    apart = (centres - (boxes[..., :2] + boxes[..., 2:]) / 2).abs().amax(3)
    fits = (reach.amin(3) > 0) & (apart < NEAR * cells.stride[:, None])
    fits &= (longest >= cells.least[:, None]) & (longest < cells.most[:, None])
    area = (boxes[..., 2:] - boxes[..., :2]).prod(3).expand(-1, len(cells.centres), -1)
    smallest, thing = area.masked_fill(~fits, torch.inf).min(2)
    return torch.where(smallest.isinf(), -1, thing)


def padded(things: Sequence[Things]) -> tuple[Tensor, Tensor]:
    """Things of several pictures as a batch: boxes (batch, most, 4) and names (batch, most, names), zero where none.

    The most is one at least.
    """
    boxes, names = ([getattr(found, part) for found in things] for part in ("boxes", "names"))
    nothing = [boxes[0].new_zeros(1, BOX)], [names[0].new_zeros(1, names[0].shape[1])]
    rows = (pad_sequence(one + none, batch_first=True)[:-1] for one, none in zip((boxes, names), nothing, strict=True))
    return next(rows), next(rows)


def sure_of(logits: Tensor, asked: Tensor) -> Tensor:
    """How likely it is that a cell's thing is what is asked for, as a logarithm: (batch, cells).

    Names of a group are alternatives, and the likeliest counts; groups that are asked about must all fit, and their
    likelihoods are multiplied.

    Args:
        logits: (batch, cells, names).
        asked: (batch, groups, names): 1 where a name is asked for. A group without any is of no matter.
    """
    best = [logits.masked_fill(group[:, None] == 0, FAR).amax(2) for group in asked.unbind(1)]
    likely = F.logsigmoid(torch.stack(best, 2).float())
    return torch.where(asked.any(2)[:, None], likely, 0.0).sum(2)


def as_logits(likely: Tensor) -> Tensor:
    """Logits of logarithms of probabilities."""
    return likely - torch.log(-torch.expm1(likely.clamp(max=-1e-6)))


def fitting(names: Tensor, asked: Tensor) -> Tensor:
    """Whether things are what is asked for: (batch, things), 0 or 1.

    Args:
        names: (batch, things, names): 1 for each that fits.
        asked: As for `sure_of`.
    """
    fits = torch.stack([(names * group[:, None]).amax(2) for group in asked.unbind(1)], 2)
    return torch.where(asked.any(2)[:, None], fits, 1.0).prod(2)


def losses(
    said: Tensor, placed: Tensor, owner: Tensor, fits: Tensor, boxes: Tensor, unknown: Tensor | None = None
) -> dict[str, Tensor]:
    """How wrong a detector is, for each cell that should answer: `names` by focal loss, `boxes` by generalised IoU.

    Args:
        said: (batch, cells, kinds): logits of what is in a cell.
        placed: (batch, cells, 4): boxes.
        owner: (batch, cells): the thing that each cell answers for, -1 for none; see `answering`.
        fits: (batch, things, kinds): 1 for each kind that a thing is of. Boxes of things of no kind are not asked for.
        boxes: (batch, things, 4).
        unknown: (batch, cells, kinds): where a kind may be or not; see `crowded`. There it is not wrong to say it.
    """
    kinds = fits.shape[2]
    rows = owner.clamp(min=0)[..., None]
    wanted = fits.gather(1, rows.expand(-1, -1, kinds)) * (owner >= 0)[..., None]
    mine = wanted.amax(2) > 0
    true = boxes.gather(1, rows.expand(-1, -1, BOX))
    count = mine.sum().clamp(min=1)
    missed = sigmoid_focal_loss(said.float(), wanted.float(), reduction="none")
    if unknown is not None:
        missed = missed.masked_fill(unknown & (wanted == 0), 0.0)
    named = missed.sum() / count
    around = generalized_box_iou_loss(placed[mine].float(), true[mine].float(), reduction="sum") / count
    return {"names": named, "boxes": around}


@dataclass(frozen=True)
class Found:
    """What a detector found in one picture, the surest first.

    Attributes:
        boxes: (things, 4) in pixels, within the picture.
        scores: (things), in 0 to 1.
    """

    boxes: Tensor
    scores: Tensor


def found(
    answers: Tensor, groups: Sequence[Sequence[int]], size: tuple[int, int, int], *, least: float = 0.05,
    overlap: float = 0.5, most: int = 100,
) -> list[Found]:  # fmt: skip
    """The things that a task asks for.

    Args:
        answers: (batch, cells, 4 + names).
        groups: Names of which a thing must have one of each group: one of these colours, one of these classes.
        size: Of the pictures: (channels, height, width).
        least: The score below which nothing is said.
        overlap: IoU above which the surer of two boxes stays.
        most: Things in a picture.
    """
    asked = answers.new_zeros(len(answers), len(groups), answers.shape[2] - BOX)
    for number, group in enumerate(groups):
        asked[:, number, list(group)] = 1
    score = sure_of(answers[..., BOX:], asked).exp()
    across = answers.new_tensor([size[2], size[1]], dtype=torch.float32).repeat(2)
    seen = []
    for boxes, scores in zip(answers[..., :BOX].float(), score, strict=True):
        sure = scores >= least
        boxes, scores = boxes[sure].clamp(min=0).minimum(across), scores[sure]
        kept = batched_nms(boxes, scores, torch.zeros(len(boxes), device=boxes.device), overlap)[:most]
        seen.append(Found(boxes[kept], scores[kept]))
    return seen
