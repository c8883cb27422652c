"""One sprite a picture: lessons and exams in telling classes apart, and in questions about class and colour.

    classes      a task is a choice between some of twelve classes: "sword, axe, potion"
    questions    a task is a class and a colour, all tasks share one head: "red, sword" asks whether it is a red sword

Pairs of class and colour in `UNSEEN` are in no training picture, and no sprite for tests is. Those in `UNASKED` are in
pictures, but no question in training asks for them.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from intarsia import factory
from intarsia.factory import Space, Task

from .lessons import normalised
from .scenes import PAIRS, UNSEEN, Scenery
from .sprites import CLASSES, NAMES, Sprites

SIDE = 32
SIZES = 0.7, 1.0  # of sprites, in tiles
UNASKED = tuple((number, (number + 3) % len(NAMES)) for number in range(len(CLASSES)))
CHOICES = Space(tuple(CLASSES))
QUESTIONS = Space(
    (*CLASSES, *NAMES), {"anything": tuple(CLASSES), "any colour": NAMES}, ("no", "yes"), (tuple(CLASSES), NAMES)
)
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


def question(pair: tuple[int, int]) -> Task:
    """Whether it is of this class and this colour."""
    return QUESTIONS.task_of({pair[0], len(CLASSES) + pair[1]})


def question_split(known: Shown) -> dict[str, list[Task]]:
    """Questions that pictures say yes to, by part: `seen` ones are trained; of the others class and colour were asked
    about, but not together, and of `hard` ones no picture was learned from either."""
    parts: dict[str, list[Task]] = {"seen": [], "unseen": [], "hard": []}
    for pair in sorted(set(zip(known.classes.tolist(), known.colours.tolist(), strict=True))):
        part = "hard" if pair in UNSEEN else "unseen" if pair in UNASKED else "seen"
        parts[part].append(question(pair))
    return parts


def maps_of(known: Shown) -> Tensor:
    """Which pair of class and colour each picture shows, as a map of one cell: (count, 1, 1)."""
    return (known.classes * len(NAMES) + known.colours)[:, None, None]


def answered(task: Task, cells: Tensor) -> Tensor:
    """The right answers to a question where maps like those of `maps_of` are known: (count)."""
    return (cells.flatten() == (task.parts[0] * len(NAMES) + task.parts[1] - len(CLASSES))).long()


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
    both = maps_of(known)

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
