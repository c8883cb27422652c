"""Exams: pictures for a task, and how good answers to them are, from 0 to 1.

Of choices and questions it is accuracy; of things, average precision at an overlap of one half (COCO's AP50).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import FitError, RigError
from ..hosts.detector import BOX
from .boxes import found
from .task import Space, Task

# From what a task's model answers to the pictures of an exam, (count, ...), to how good that is.
Marks = Callable[[Tensor], float]
# For a task, pictures (count, channels, height, width), normalised, and what marks the answers to them.
Exam = Callable[[Task], tuple[Tensor, Marks]]
OVERLAP = 0.5  # IoU from which on a box is right


@dataclass(frozen=True)
class Answered:
    """Pictures for a task, of which the right answers are known.

    Attributes:
        pictures: (count, channels, height, width), normalised.
        marks_of: For rows of them, (rows), what marks the answers to these.
        holds: (count): of things, whether a picture has one that is asked for; without such no rows can be marked.
    """

    pictures: Tensor
    marks_of: Callable[[Tensor], Marks]
    holds: Tensor | None = None

    @property
    def exam(self) -> tuple[Tensor, Marks]:
        """All of them."""
        return self.pictures, self.marks_of(torch.arange(len(self.pictures)))


def own_answers(space: Space, answers: Tensor, task: Task) -> Tensor:
    """What a task's model would answer, from the answers of the supernet that it is cut out of."""
    own = list(task.answers)
    return answers[..., [*range(BOX), *(BOX + name for name in own)]] if space.things else answers[:, own]


def choice_marks(task: Task, answers: Tensor) -> Marks:
    """How often a choice is right.

    Args:
        answers: (count): outputs of the supernet that are right; all belong to the task.
    """
    outputs = torch.tensor(task.answers)
    return lambda said: float((outputs.to(said.device)[said.argmax(1)] == answers.to(said.device)).float().mean())


def choices(pictures: Tensor, answers: Tensor) -> Exam:
    """The exam of tasks that are choices: of labelled pictures, those of a task's answers.

    Args:
        pictures: (count, channels, height, width), normalised.
        answers: (count): numbers in the kit's space.
    """

    def exam(task: Task) -> tuple[Tensor, Marks]:
        asked = torch.isin(answers, torch.tensor(task.answers))
        return pictures[asked], choice_marks(task, answers[asked])

    return exam


def thing_marks(
    space: Space,
    task: Task,
    size: tuple[int, int, int],
    wanted: Sequence[Tensor],
    crowds: Sequence[Tensor] | None = None,
) -> Marks:
    """Average precision at an overlap of one half.

    Args:
        size: Of the pictures: (channels, height, width).
        wanted: Of each picture, the boxes of the things that are asked for, (things, 4).
        crowds: Of each picture, the boxes of crowds that may hold such things, (crowds, 4): what is found there is
            neither right nor wrong.

    Raises:
        FitError: nothing is to be found, so nothing can be marked.
        RigError: the packages are not installed.
    """
    refuse_nothing(space, task, torch.tensor([len(boxes) > 0 for boxes in wanted]))
    try:
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision(iou_thresholds=[OVERLAP], backend="faster_coco_eval")
    except ImportError as error:
        raise RigError("average precision needs packages. Install them: pip install 'intarsia[factory]'") from error
    groups = space.groups_of(space.spoken(task))
    around = crowds or [boxes[:0] for boxes in wanted]
    true = [truth_of(boxes, crowd) for boxes, crowd in zip(wanted, around, strict=True)]

    def marks(said: Tensor) -> float:
        metric.reset()
        seen = [
            {"boxes": one.boxes, "scores": one.scores, "labels": torch.zeros(len(one.boxes), dtype=torch.long)}
            for one in found(said.cpu(), groups, size, least=0.0)
        ]
        metric.update(seen, true)
        return float(metric.compute()["map"])

    return marks


def truth_of(wanted: Tensor, crowds: Tensor) -> dict[str, Tensor]:
    """What is in a picture, as torchmetrics is told it."""
    many = torch.tensor([0] * len(wanted) + [1] * len(crowds), dtype=torch.long)
    return {"boxes": torch.cat([wanted, crowds]), "labels": torch.zeros_like(many), "iscrowd": many}


def refuse_nothing(space: Space, task: Task, holds: Tensor) -> None:
    """Raise `FitError` if no picture, of (pictures), holds what a task asks for."""
    if not holds.any():
        asked = ", ".join(space.spoken(task))
        raise FitError(f"no picture of the exam holds what is asked for: {asked}. Give it some that do.")
