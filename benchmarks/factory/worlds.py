"""What kits are trained on and examined with: a supernet, tasks that were seen in training and such that were not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intarsia import factory
from intarsia.factory import Task
from intarsia.factory.boxes import Cells, answering, as_logits, fitting, losses, sure_of
from intarsia.factory.seeking import BOXES, cells_of
from intarsia.factory.task import groups_mask
from intarsia.factory.thing_lessons import MET
from intarsia.hosts.detector import BOX
from intarsia.hosts.timm_supernet import TimmSupernet
from intarsia.train import seed_everything
from recipes.fashion import pictures as clothes
from recipes.fashion import run as fashion
from recipes.kits import choices_split
from recipes.mosaics import questions
from recipes.mosaics import run as mosaics
from recipes.mosaics.digits import MEAN, STD, read
from recipes.sprites import alone, backbone
from recipes.sprites import lessons as sprites
from recipes.sprites import run as finding
from recipes.sprites import run_alone as single
from recipes.sprites import sprites as tiles
from recipes.sprites.scenes import PAIRS, Scenery

CHOICE_SHARES = (0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
THING_SHARES = (0.2, 0.3, 0.5, 0.7, 1.0)
SPRITES = Path("runs/sprites/data")


@dataclass(frozen=True)
class World:
    """Everything that a scenario is taken from.

    Attributes:
        host: A fresh supernet.
        tasks: By part: `seen` and others.
        known: All tasks that were trained, or near enough to them to lend their units.
        loss: Of a model for one task, on so many pictures that are drawn: what rivals learn from.
        probe: For the first stage, if concepts are not answers.
        steps: Of both stages.
        shares: Of the MACs, at which scenarios are.
        kept: For shares of the MACs, the share of the dense model's marks that should be kept.
        apart: Points by which a task's own units should be above others at low budgets; None where tasks are so alike
            that units may serve all of them.
        aid: Gives a rival what the supernet was taught with besides; `loss` finds it in the rival.
        answered: If concepts are not answers: what the right answers to a task are, where concepts are known.
        plain: Seconds to train the whole architecture without tasks; 0 where that is not done.
        rate: Peak learning rate of both stages, and that of rivals.
        begins: The lowest share that the second stage begins with.
    """

    name: str
    host: Callable[[], TimmSupernet]
    space: factory.Space
    lessons: factory.Lessons
    tasks: Mapping[str, list[Task]]
    known: list[Task]
    loss: Callable[[nn.Module, Task, int], Tensor]
    exam: factory.Exam
    lowest: float
    highest: float
    mean: float
    std: float
    probe: Callable[[nn.Module], factory.Probe] | None
    steps: tuple[int, int]
    shares: tuple[float, ...]
    kept: Mapping[float, float]
    apart: float | None = None
    aid: Callable[[nn.Module], None] | None = None
    answered: Callable[[Task, Tensor], Tensor] | None = None
    plain: float = 0.0
    rate: float = 2e-3
    begins: float | None = None

    def kit(self, out: Path, steps: tuple[int, int], seed: int, *, blind: bool = False) -> factory.Kit:
        """Train a kit, as the world's recipe does; resumes.

        Args:
            blind: The assembler is told nothing of the task, so it has one ranking for all.
        """
        seed_everything(seed)
        host = self.host()
        probe = self.probe(host.module) if self.probe else None
        assembler = factory.Assembler.of(self.space, factory.Grounds.of(host.outline, host.answers))
        if blind:
            shut_eyes(assembler)
        with torch.enable_grad():
            return factory.learned(
                host, self.space, self.lessons, out, lowest=self.lowest, highest=self.highest, concepts=steps[0],
                customising=steps[1], seed=seed, assembler=assembler, mean=(self.mean,) * host.size[0],
                std=(self.std,) * host.size[0], rate=self.rate, probe=probe, begins=self.begins,
            )  # fmt: skip


def shut_eyes(assembler: factory.Assembler) -> None:
    """Have all tasks sound alike to an assembler, for good; how many groups a task names is lost in scores' spread."""
    assembler.parts.weight.data.zero_()
    assembler.parts.requires_grad_(False)


def choosing(lesson: Callable[[Task, int], tuple[Tensor, Tensor]]) -> Callable[[nn.Module, Task, int], Tensor]:
    """The loss of choices: cross-entropy.

    Args:
        lesson: For one task, so many pictures and which outputs of the supernet are right.
    """

    def loss(model: nn.Module, task: Task, count: int) -> Tensor:
        pictures, answers = lesson(task, count)
        places = torch.full((max(task.answers) + 1,), -1)
        places[list(task.answers)] = torch.arange(len(task.answers))
        return F.cross_entropy(model(pictures), places[answers])

    return loss


def labelled(pictures: Tensor, answers: Tensor) -> Callable[[Task, int], tuple[Tensor, Tensor]]:
    """Lessons for one task, from labelled pictures: each of its answers as often."""
    rows_of = [(answers == number).nonzero().flatten() for number in range(int(answers.max()) + 1)]

    def lesson(task: Task, count: int) -> tuple[Tensor, Tensor]:
        wanted = torch.tensor(task.answers)[torch.randint(len(task.answers), (count,))]
        rows = [rows_of[number][torch.randint(len(rows_of[number]), ())] for number in wanted.tolist()]
        return pictures[torch.stack(rows)], wanted

    return lesson


def seeking(
    cells: Cells, space: factory.Space, lesson: Callable[[Task, int], tuple[Tensor, ...]]
) -> Callable[[nn.Module, Task, int], Tensor]:
    """The loss of things: that of a kit's second stage, without a teacher.

    Args:
        lesson: For one task, so many pictures, boxes, and names of the space.
    """

    def loss(model: nn.Module, task: Task, count: int) -> Tensor:
        pictures, boxes, names = lesson(task, count)
        asked = groups_mask(space.groups_of(space.spoken(task)), len(task.answers)).expand(count, -1, -1)
        fits = fitting(names[..., list(task.answers)], asked)[..., None]
        answers = model(pictures)
        said = as_logits(sure_of(answers[..., BOX:], asked))[..., None]
        wrong = losses(said, answers[..., :BOX], answering(cells, boxes), fits, boxes)
        return wrong["names"] + BOXES * wrong["boxes"]

    return loss


def asking(
    probe: Callable[[nn.Module], factory.Probe], lesson: Callable[[Task, int], tuple[Tensor, Tensor, Tensor]]
) -> tuple[Callable[[nn.Module, Task, int], Tensor], Callable[[nn.Module], None]]:
    """The loss of questions, and the aid that goes with it: rivals are told concepts by what tells the supernet.

    Args:
        lesson: For one task, so many pictures, the answers, and what is in each cell.
    """

    def loss(model: nn.Module, task: Task, count: int) -> Tensor:
        pictures, answers, cells = lesson(task, count)
        told = model.probe(model, pictures)
        return F.cross_entropy(told.answers, answers) + model.probe.wrong(told, cells)

    def aid(model: nn.Module) -> None:
        model.probe = probe(model.eval())

    return loss, aid


def up_to(shares: Sequence[float], highest: float) -> tuple[float, ...]:
    """The shares that a kit has models for: the highest in place of those above it."""
    return tuple(dict.fromkeys(min(share, highest) for share in shares))


def mosaic_world(data: Path = Path("runs/mosaics/data"), shown: int = 400) -> World:
    """Questions about mosaics of digits: one head for all tasks."""
    learned, kept = read(data)

    def lesson(task: Task, count: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen, answers = questions.drawn(task, count)
        return questions.laid(learned, chosen), answers, chosen

    parts, (loss, aid) = questions.split(), asking(mosaics.probe, lesson)
    return World(
        "mosaics", mosaics.supernet, questions.SPACE, mosaics.lessons(learned, mosaics.BATCH), parts, parts["seen"],
        loss, mosaics.exam_of(kept, shown), mosaics.LOWEST, mosaics.HIGHEST, MEAN, STD, mosaics.probe, mosaics.STEPS,
        up_to(CHOICE_SHARES, mosaics.HIGHEST), {0.15: 0.93, 0.3: 0.97}, apart=5.0, aid=aid, answered=questions.answered,
        plain=600.0, begins=mosaics.BEGINS,
    )  # fmt: skip


def fashion_world(data: Path = Path("runs/fashion/data"), shown: int = 200) -> World:
    """Choices between two, three and five kinds of clothes."""
    pictures, answers = clothes.read(data, "train")
    exam_pictures, exam_answers = (part[: shown * 20] for part in clothes.read(data, "t10k"))
    parts = choices_split(fashion.SPACE)
    return World(
        "fashion", fashion.supernet, fashion.SPACE, fashion.lessons(pictures, answers), parts, parts["seen"],
        choosing(labelled(pictures, answers)),
        factory.choices(exam_pictures, exam_answers), fashion.LOWEST, 1.0, clothes.MEAN, clothes.STD,
        None, fashion.STEPS, CHOICE_SHARES, {0.15: 0.93, 0.3: 0.97}, plain=600.0,
    )  # fmt: skip


def sought(held: tiles.Sprites) -> Callable[[Task, int], tuple[Tensor, ...]]:
    """Lessons for one task, from scenes of all pairs of class and colour: who learns one that is unseen is shown it."""
    scenery = Scenery(held, pairs=PAIRS)
    rows = scenery.rows()

    def lesson(task: Task, count: int) -> tuple[Tensor, ...]:
        draws = np.random.default_rng(np.random.randint(2**31))
        of = [task if draws.random() < MET else None for _ in range(count)]
        return sprites.drawn(scenery, rows, of, draws)

    return lesson


def sprite_world(data: Path = SPRITES, shown: int = 150) -> World:
    """Things to be found by class and colour, in scenes of sprites; exams are of sprites that were not learned from.

    Pairs that were seen are examined beside pairs that were not; classes and colours alone are a part of their own.
    """
    held = tiles.read(data)
    return World(
        "sprites", finding.supernet, sprites.SPACE, sprites.lessons(held, finding.BATCH, finding.TASKS),
        sprites.examined(held), sprites.split(held)["seen"],
        seeking(cells_of(finding.supernet()), sprites.SPACE, sought(held)), sprites.exam_of(held, shown),
        finding.LOWEST, 1.0, backbone.MEAN, backbone.STD, None, finding.STEPS, THING_SHARES, {0.5: 0.95}, plain=1200.0,
        rate=finding.RATE,
    )  # fmt: skip


def class_world(data: Path = SPRITES, shown: int = 200) -> World:
    """Choices between classes of single sprites; exams are of sprites that were not learned from."""
    held, parts = tiles.read(data), choices_split(alone.CHOICES)
    known, kept = alone.shown(held, single.PICTURES), alone.shown(held, shown * 10, tested=True)
    return World(
        "classes", partial(single.supernet, single.Kind.classes), alone.CHOICES, single.class_lessons(known), parts,
        parts["seen"], choosing(labelled(known.pictures, known.classes)),
        factory.choices(kept.pictures, kept.classes), single.LOWEST, 1.0, backbone.MEAN, backbone.STD, None,
        single.STEPS, CHOICE_SHARES, {0.15: 0.93, 0.3: 0.97}, plain=600.0, begins=single.BEGINS,
    )  # fmt: skip


def question_world(data: Path = SPRITES, shown: int = 200) -> World:
    """Questions about class and colour of single sprites, one head for all; rivals learn from hard pairs too."""
    held = tiles.read(data)
    known, kept = alone.shown(held, single.PICTURES), alone.shown(held, shown * 10, tested=True)
    every, parts = alone.shown(held, single.PICTURES, every=True), alone.question_split(kept)

    cells = alone.maps_of(every)

    def lesson(task: Task, count: int) -> tuple[Tensor, Tensor, Tensor]:
        rows, answers = alone.rows_for(every, task, count)
        return every.pictures[rows], answers, cells[rows]

    loss, aid = asking(single.probe, lesson)
    return World(
        "questions", partial(single.supernet, single.Kind.questions), alone.QUESTIONS,
        alone.question_lessons(known, single.BATCH, single.TASKS), parts, parts["seen"], loss,
        alone.question_exam(kept, shown), single.LOWEST, single.HIGHEST, backbone.MEAN, backbone.STD, single.probe,
        single.STEPS, up_to(CHOICE_SHARES, single.HIGHEST), {0.15: 0.93, 0.3: 0.97}, apart=5.0, aid=aid,
        answered=alone.answered, plain=600.0, begins=single.BEGINS,
    )  # fmt: skip


WORLDS: Mapping[str, Callable[..., World]] = {
    "mosaics": mosaic_world, "fashion": fashion_world, "sprites": sprite_world, "classes": class_world,
    "questions": question_world,
}  # fmt: skip
