"""What a detector should answer, how wrong it is, and the boxes that its answers mean.

Source: FCOS (Tian et al. 2019): cells near the middle of a thing answer for it, at the resolution that its size suits;
the smallest thing wins. Focal loss (Lin et al. 2017) and generalised IoU (Rezatofighi et al. 2019) are torchvision's.
Differs from FCOS: names are independent of each other, for a thing has several, and there is no branch for centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, generalized_box_iou_loss, sigmoid_focal_loss

from ..hosts.detector import BOX, cells_of

NEAR = 1.5  # cells: how far from a thing's middle a cell may answer for it
LARGEST = 5.0  # cells: the longest reach from a cell of a level; what reaches farther is the next level's


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
            here = cells_of(-(-size[1] // step), -(-size[2] // step), step).flatten(1).T
            last = place == len(strides) - 1
            centres.append(here)
            stride.append(torch.full((len(here),), float(step)))
            least.append(torch.full((len(here),), 0.0 if not place else LARGEST * strides[place - 1]))
            most.append(torch.full((len(here),), torch.inf if last else LARGEST * step))
        return cls(torch.cat(centres), torch.cat(stride), torch.cat(least), torch.cat(most))


def answering(cells: Cells, boxes: Tensor) -> Tensor:
    """(cells): the number of the thing that each cell answers for, -1 for none.

    Args:
        boxes: (things, 4).
    """
    if not len(boxes):
        return torch.full((len(cells.centres),), -1)
    reach = torch.cat([cells.centres[:, None] - boxes[:, :2], boxes[:, 2:] - cells.centres[:, None]], 2)
    longest = reach.amax(2)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = (cells.centres[:, None] - middle).abs().amax(2)
    fits = (reach.amin(2) > 0) & (apart < NEAR * cells.stride[:, None])
    fits &= (longest >= cells.least[:, None]) & (longest < cells.most[:, None])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1).expand(len(cells.centres), -1)
    smallest, thing = area.masked_fill(~fits, torch.inf).min(1)
    return torch.where(smallest.isinf(), -1, thing)


def losses(answers: Tensor, things: Sequence[Things], cells: Cells) -> dict[str, Tensor]:
    """How wrong a detector is: `names` by focal loss, `boxes` by generalised IoU, both for each cell that answers.

    Args:
        answers: (batch, cells, 4 + names).
        things: Of each picture.
    """
    device = answers.device
    owner = torch.stack([answering(cells, found.boxes) for found in things]).to(device)
    wanted = torch.zeros_like(answers[..., BOX:])
    boxes = torch.zeros_like(answers[..., :BOX])
    for row, found in enumerate(things):
        mine = owner[row] >= 0
        wanted[row, mine] = found.names.to(device)[owner[row, mine]].to(wanted.dtype)
        boxes[row, mine] = found.boxes.to(device)[owner[row, mine]].to(boxes.dtype)
    mine = owner >= 0
    count = mine.sum().clamp(min=1)
    named = sigmoid_focal_loss(answers[..., BOX:].float(), wanted.float(), reduction="sum") / count
    placed = generalized_box_iou_loss(answers[..., :BOX][mine].float(), boxes[mine].float(), reduction="sum") / count
    return {"names": named, "boxes": placed}


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
    likely = answers[..., BOX:].float().sigmoid()
    score = torch.stack([likely[..., list(group)].amax(2) for group in groups]).prod(0)
    across = answers.new_tensor([size[2], size[1]], dtype=torch.float32).repeat(2)
    seen = []
    for boxes, scores in zip(answers[..., :BOX].float(), score, strict=True):
        sure = scores >= least
        boxes, scores = boxes[sure].clamp(min=0).minimum(across), scores[sure]
        kept = batched_nms(boxes, scores, torch.zeros(len(boxes), device=boxes.device), overlap)[:most]
        seen.append(Found(boxes[kept], scores[kept]))
    return seen
