"""Lessons and exams in finding sprites by class and colour: scenes are drawn as they are needed."""

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from intarsia import FitError, factory
from intarsia.factory import Space, Task
from intarsia.factory.boxes import Things, fitting, padded
from intarsia.factory.task import groups_mask
from intarsia.factory.thing_lessons import MET

from .backbone import MEAN, STD
from .scenes import PAIRS, UNSEEN, Scene, Scenery
from .sprites import CLASSES, NAMES, Sprites

SPACE = Space(
    (*CLASSES, *NAMES), {"any colour": (), "anything": ()}, groups=(tuple(CLASSES), tuple(NAMES)), things=True
)
GROUPS = groups_mask(SPACE.groups_of(SPACE.names), len(SPACE.names))
KINDS = {"both": 0.5, "class": 0.2, "colour": 0.15, "either": 0.15}  # of what tasks ask for, and how often
EXAMINED = 0.6  # share of an exam's pictures in which a thing that is asked for was put


def asked_of(task: Task) -> tuple[list[int], list[int]]:
    """The classes and the colours that a task asks for: one of each, where any are named."""
    numbers = [part for part in task.parts if part < len(CLASSES)]
    return numbers, [part - len(CLASSES) for part in task.parts if part >= len(CLASSES)]


def task_of(number: int | None, colour: int | None) -> Task:
    """The task that asks for a class, a colour or both."""
    return SPACE.task_of(
        {*([number] if number is not None else []), *([len(CLASSES) + colour] if colour is not None else [])}
    )


def split(sprites: Sprites) -> dict[str, list[Task]]:
    """Tasks by part: `seen` pairs, classes and colours; `unseen` pairs, of which no sprite is learned from.

    Those that no sprite for tests fits are left out.
    """
    alone = [task_of(number, None) for number in range(len(CLASSES))]
    alone += [task_of(None, colour) for colour in range(len(NAMES))]
    parts = {
        "seen": alone + [task_of(*pair) for pair in PAIRS if pair not in UNSEEN],
        "unseen": [task_of(*pair) for pair in UNSEEN],
    }
    tested = np.flatnonzero(sprites.tested)
    return {part: [task for task in tasks if len(fitting_rows(sprites, tested, task))] for part, tasks in parts.items()}


def examined(sprites: Sprites) -> dict[str, list[Task]]:
    """Tasks by part, few enough to wait for: of each class a pair that was seen and one that was not, and some that ask
    for a class or a colour alone. Every colour is in as many pairs of either part."""
    parts = split(sprites)
    pairs = [task_of(number, (number + 1 + number // len(NAMES)) % len(NAMES)) for number in range(len(CLASSES))]
    alone = [task for task in parts["seen"] if len(task.parts) == 1]
    return {"seen": [task for task in pairs if task in parts["seen"]], "unseen": parts["unseen"], "alone": alone[::3]}


def either(number: int, colour: int, draws: np.random.Generator) -> Task:
    """The task that asks for two classes, or for a class in two colours, neither of them a pair that is unseen."""
    if draws.random() < 0.5:
        return SPACE.task_of({number, int(draws.integers(len(CLASSES)))})
    colours = [one for one in range(len(NAMES)) if (number, one) not in UNSEEN]
    return SPACE.task_of({number, len(CLASSES) + colour, len(CLASSES) + int(draws.choice(colours))})


def things_of(scene: Scene) -> Things:
    """A scene's things, by class and colour."""
    names = torch.zeros(len(scene.boxes), len(SPACE.names))
    rows = torch.arange(len(names))
    names[rows, torch.from_numpy(scene.classes)] = 1
    names[rows, len(CLASSES) + torch.from_numpy(scene.colours)] = 1
    return Things(torch.from_numpy(scene.boxes), names)


def normalised(scenes: Sequence[Scene]) -> Tensor:
    """(count, 3, side, side)."""
    pixels = torch.from_numpy(np.stack([scene.picture for scene in scenes])).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - MEAN) / STD


def fitting_rows(sprites: Sprites, rows: np.ndarray, task: Task) -> np.ndarray:
    """Of these sprites, those that a task asks for."""
    fits = np.ones(len(rows), bool)
    for own, wanted in zip((sprites.classes, sprites.colours), asked_of(task), strict=True):
        fits &= np.isin(own[rows], wanted) if wanted else True
    return rows[fits]


def drawn(
    scenery: Scenery, rows: np.ndarray, tasks: Sequence[Task | None], draws: np.random.Generator
) -> tuple[Tensor, ...]:
    """Pictures, boxes and names: a scene for each task, with something that it asks for; for None, any scene.

    Raises:
        FitError: no sprite is what a task asks for, so that nobody could learn it from these.
    """
    fitting = {task: fitting_rows(scenery.sprites, rows, task) for task in dict.fromkeys(tasks) if task is not None}
    if lacking := [task for task, own in fitting.items() if not len(own)]:
        raise FitError([f"no sprite here is what is asked for: {' '.join(SPACE.spoken(task))}." for task in lacking])
    scenes = [scenery.draw(draws, rows, None if task is None else fitting[task]) for task in tasks]
    return normalised(scenes), *padded([things_of(scene) for scene in scenes])


def lessons(sprites: Sprites, batch: int, tasks: int) -> factory.Lessons:
    """Scenes of sprites to learn from; then tasks, of which most scenes have something.

    Args:
        batch: Pictures in a batch.
        tasks: In a batch; each gets as many pictures.
    """
    scenery = Scenery(sprites)
    rows = scenery.rows()

    def fresh() -> np.random.Generator:
        return np.random.default_rng(np.random.randint(2**31, size=4))  # of the global one, which the loop seeds

    def task(draws: np.random.Generator) -> Task:
        row = draws.choice(rows)
        kind = draws.choice(list(KINDS), p=list(KINDS.values()))
        number, colour = int(sprites.classes[row]), int(sprites.colours[row])
        if kind == "either":
            return either(number, colour, draws)
        return task_of(None if kind == "colour" else number, None if kind == "class" else colour)

    def naming(_draw: int) -> tuple[Tensor, ...]:
        return drawn(scenery, rows, [None] * batch, fresh())

    def seeking(_draw: int) -> tuple[Tensor, ...]:
        draws = fresh()
        asked = [task(draws) for _ in range(tasks)]
        of = [one if draws.random() < MET else None for one in asked for _ in range(batch // tasks)]
        return *drawn(scenery, rows, of, draws), factory.codes_of(asked, len(SPACE.names))

    return factory.Lessons(naming, seeking)


def exam_of(sprites: Sprites, each: int) -> factory.Exam:
    """Scenes of sprites that were not learned from, in all colours, the same whenever a task is examined."""
    scenery = Scenery(sprites, tested=True, pairs=PAIRS)
    rows = scenery.rows()

    @cache
    def exam(task: Task) -> tuple[Tensor, factory.Marks]:
        draws = np.random.default_rng(zlib.crc32(repr(task.parts).encode()))
        of = [task if draws.random() < EXAMINED else None for _ in range(each)]
        pictures, boxes, names = drawn(scenery, rows, of, draws)
        asked = factory.codes_of([task], len(SPACE.names))[:, None] * GROUPS
        wanted = [there[fits > 0] for there, fits in zip(boxes, fitting(names, asked), strict=True)]
        size = (3, scenery.side, scenery.side)
        return pictures, factory.thing_marks(SPACE, task, size, wanted)

    return exam
