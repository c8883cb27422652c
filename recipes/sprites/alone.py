"""One sprite a picture: lessons and exams in telling classes apart, and in questions about class and colour.

    classes      a task is a choice between some of twelve classes: "sword, axe, potion"
    questions    a task is a class and a colour, all tasks share one head: "red, sword" asks whether it is a red sword

Pairs of class and colour in `UNSEEN` are in no training picture, and no sprite for tests is.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from intarsia import factory
from intarsia.factory import Space, Task

from .lessons import normalised
from .scenes import UNSEEN, Scenery
from .sprites import CLASSES, NAMES, Sprites

SIDE = 32
SIZES = 0.7, 1.0  # of sprites, in tiles
PAIRS = tuple((number, colour) for number in range(len(CLASSES)) for colour in range(len(NAMES)))
CHOICES = Space(tuple(CLASSES))
QUESTIONS = Space(
    (*CLASSES, *NAMES), {"anything": tuple(CLASSES), "any colour": NAMES}, ("no", "yes"), (tuple(CLASSES), NAMES)
)
HELD = 3  # every so manieth pair of classes is never a task of its own in training
NEAR = 0.5  # share of the pictures to be answered with no that are right in class or in colour


@dataclass(frozen=True)
class Shown:
    """Pictures of one sprite each.

    Attributes:
        pictures: (count, 3, 32, 32), normalised.
        classes, colours: (count): numbers in `CLASSES` and `NAMES`.
    """

    pictures: Tensor
    classes: Tensor
    colours: Tensor


def shown(sprites: Sprites, count: int, *, tested: bool = False, every: bool = False) -> Shown:
    """Pictures to learn from, or to be examined with; the same every time.

    Args:
        every: With unseen pairs too, as exams are: for rivals that learn one question.
    """
    scenery = Scenery(sprites, tested, PAIRS if tested or every else None, SIDE, (1, 1), SIZES, clutter=0)
    draws, rows = np.random.default_rng(int(tested)), scenery.rows()
    scenes = [scenery.draw(draws, rows) for _ in range(count)]
    classes, colours = (np.concatenate([getattr(one, kind) for one in scenes]) for kind in ("classes", "colours"))
    return Shown(normalised(scenes), torch.from_numpy(classes), torch.from_numpy(colours))


def class_split() -> dict[str, list[Task]]:
    """Pairs of classes, by part: `unseen` are no tasks of their own in training."""
    pairs = [CHOICES.task_of({one, other}) for other in range(len(CLASSES)) for one in range(other)]
    return {"seen": [pair for place, pair in enumerate(pairs) if place % HELD], "unseen": pairs[::HELD]}


def question(pair: tuple[int, int]) -> Task:
    """Whether it is of this class and this colour."""
    return QUESTIONS.task_of({pair[0], len(CLASSES) + pair[1]})


def question_split(known: Shown) -> dict[str, list[Task]]:
    """Questions that pictures say yes to, by part: of `unseen` ones class and colour were asked about, never both."""
    there = sorted(set(zip(known.classes.tolist(), known.colours.tolist(), strict=True)))
    return {
        "seen": [question(pair) for pair in there if pair not in UNSEEN],
        "unseen": [question(pair) for pair in there if pair in UNSEEN],
    }


def rows_for(known: Shown, task: Task, count: int) -> tuple[Tensor, Tensor]:
    """Pictures for a question, by number, and whether the answer is yes: half and half."""
    number, colour = task.parts[0], task.parts[1] - len(CLASSES)
    alike = torch.stack([known.classes == number, known.colours == colour]).sum(0)
    yes = torch.arange(count) % 2
    near = (torch.rand(count) < NEAR).long()
    kinds = torch.where(yes == 1, 2, near)  # how much of what is asked for is right
    rows = [(alike == kind).nonzero().flatten() for kind in range(3)]
    return torch.stack([rows[kind][torch.randint(len(rows[kind]), ())] for kind in kinds.tolist()]), yes


def question_lessons(known: Shown, batch: int, tasks: int) -> factory.Lessons:
    """Which sprite it is, of which colour; then questions.

    Args:
        batch: Pictures in a batch.
        tasks: In a batch; each gets as many pictures.
    """
    seen = question_split(known)["seen"]
    both = (known.classes * len(NAMES) + known.colours)[:, None, None]  # one cell

    def concepts(_draw: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(both), (batch,))
        return known.pictures[rows], both[rows]

    def questions(_draw: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        asked = [seen[number] for number in torch.randperm(len(seen))[:tasks]]
        rows, answers = map(torch.cat, zip(*(rows_for(known, task, batch // tasks) for task in asked), strict=True))
        return known.pictures[rows], answers, factory.codes_of(asked, len(QUESTIONS.names)), both[rows]

    return factory.Lessons(concepts, questions)


def question_exam(known: Shown, each: int) -> factory.Exam:
    """Pictures for questions, the same whenever one is examined."""

    @cache
    def exam(task: Task) -> tuple[Tensor, factory.Marks]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(sum(1 << part for part in task.parts))
            rows, answers = rows_for(known, task, each)
        return known.pictures[rows], factory.choice_marks(task, answers)

    return exam
