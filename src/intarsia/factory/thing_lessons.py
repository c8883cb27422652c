"""Lessons in finding things, from a person's annotated pictures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import FitError
from .boxes import Things, fitting, padded
from .coco import Pictures, letterboxed
from .course import Lessons
from .task import Space, Task, codes_of, groups_mask

MET = 0.75  # share of a task's pictures in which a thing that it asks for is
KINDS = {"class": 0.4, "both": 0.3, "attribute": 0.15, "either": 0.15}  # of what tasks ask for, and how often


def space_of(pictures: Pictures) -> Space:
    """The names of annotated pictures: classes are alternatives, and so are attributes."""
    groups = tuple(group for group in (pictures.classes, pictures.attributes) if group)
    return Space(pictures.names, groups=groups, things=True)


def thing_lessons(
    pictures: Pictures,
    size: tuple[int, int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch: int = 48,
    tasks: int = 6,
) -> Lessons:
    """Lessons from annotated pictures, half of them mirrored. All are kept in memory, in bytes, at this size.

    Args:
        size: Of the supernet's pictures: (3, height, width).
        mean, std: By which pictures, in 0 to 1, are normalised: one number a channel.
        batch: Pictures in a batch.
        tasks: In a batch; each gets as many pictures.

    Raises:
        FitError: nothing is annotated.
    """
    shown = [letterboxed(one, size) for one in pictures.pictures]
    pixels, things = torch.stack([one for one, _ in shown]), [found for _, found in shown]
    known = sorted({tuple(row.nonzero().flatten().tolist()) for found in things for row in found.names})
    if not known:
        raise FitError("no thing is annotated in any picture: there is nothing to learn.")
    every = torch.cat([found.names for found in things])
    owner = torch.repeat_interleave(torch.tensor([len(found.names) for found in things]))  # the picture of each thing
    centre, scale = (torch.tensor(list(values)).view(-1, 1, 1) for values in (mean, std))
    space, classes = space_of(pictures), len(pictures.classes)
    groups = groups_mask(space.groups_of(space.names), len(space.names))

    def drawn(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chosen = pixels[rows].float() / 255
        mirrored = torch.rand(len(rows)) < 0.5
        chosen[mirrored] = chosen[mirrored].flip(3)
        found = [
            Things(mirror(things[row].boxes, size[2]) if flip else things[row].boxes, things[row].names)
            for row, flip in zip(rows.tolist(), mirrored.tolist(), strict=True)
        ]
        return (chosen - centre) / scale, *padded(found)

    def naming(_draw: int) -> tuple[Tensor, ...]:
        return drawn(torch.randint(len(pixels), (batch,)))

    def task() -> Task:
        """What some thing in some picture is, by one of `KINDS`."""
        names = known[int(torch.randint(len(known), ()))]
        kind = list(KINDS)[int(torch.multinomial(torch.tensor(list(KINDS.values())), 1))]
        return space.task_of(asked_of(names, kind, classes, len(space.names)))

    def rows_for(asked: Task) -> Tensor:
        wanted = codes_of([asked], len(space.names))[:, None] * groups
        have = owner[fitting(every[None], wanted)[0] > 0].unique()
        count = batch // tasks
        rows = torch.randint(len(pixels), (count,))
        met = torch.rand(count) < MET
        rows[met] = have[torch.randint(len(have), (int(met.sum()),))]
        return rows

    def seeking(_draw: int) -> tuple[Tensor, ...]:
        asked = [task() for _ in range(tasks)]
        return *drawn(torch.cat([rows_for(one) for one in asked])), codes_of(asked, len(space.names))

    return Lessons(naming, seeking)


def asked_of(names: Sequence[int], kind: str, classes: int, count: int) -> set[int]:
    """Names to ask for, of which a thing of these names is one.

    Args:
        names: Of the thing; those below `classes` are classes, the others attributes.
        kind: A class, an attribute, both, or either of two classes or of two attributes beside a class. Things without
            attributes are asked for by class.
        count: Of all names.
    """
    own, more = ([name for name in names if (name < classes) == first] for first in (True, False))
    named = {one_of(more)} if more and kind != "class" else set()
    if kind == "attribute" and named:
        return named
    said = {one_of(own)}
    others = [name for name in range(count if more else classes) if name not in said | named]
    if kind == "either" and others:
        other = one_of(others)
        return said | {other} | (named if other >= classes else set())
    return said | named


def one_of(few: Sequence[int]) -> int:
    """One of these, drawn."""
    return few[int(torch.randint(len(few), ()))]


def mirror(boxes: Tensor, width: int) -> Tensor:
    """Boxes (things, 4) in a picture that is turned left to right."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)
