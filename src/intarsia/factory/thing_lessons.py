"""Lessons in finding things, from a person's annotated pictures."""

import warnings
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from ..errors import FitError
from ..hosts.timm_supernet import TimmSupernet
from .boxes import Cells, Things, answering, fitting, padded
from .coco import Pictures, letterboxed
from .course import Lessons
from .cuts import refuse_tasks
from .seeking import cells_of
from .task import Space, Task, codes_of, groups_mask

MET = 0.75  # share of a task's pictures in which a thing that it asks for is
KINDS = {"class": 0.4, "both": 0.3, "attribute": 0.15, "either": 0.15}  # of what tasks ask for, and how often
AT_ONCE = 256  # things that are compared with all cells, for memory's sake


def space_of(pictures: Pictures) -> Space:
    """The names of annotated pictures: classes are alternatives, and so are attributes of one kind.

    What no thing is called, though a category or a crowd is, cannot be learned and is left out.

    Raises:
        FitError: nothing is annotated.
    """
    called = [one.things.names.any(0) for one in pictures.pictures]
    if not called or not (met := torch.stack(called).any(0)).any():
        raise FitError("no thing is annotated in any picture: there is nothing to learn.")
    learned = {name for name, some in zip(pictures.names, met.tolist(), strict=True) if some}
    groups = [tuple(name for name in group if name in learned) for group in pictures.groups]
    return Space(tuple(chain(*groups)), groups=tuple(group for group in groups if group), things=True)


def thing_lessons(
    pictures: Pictures,
    host: TimmSupernet,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch: int = 48,
    tasks: int = 6,
) -> Lessons:
    """Lessons from annotated pictures, half of them mirrored. All are kept in memory, in bytes, at the host's size.

    Names that nothing is called by, and things too small for the host's cells, are not learned: warnings tell of them.

    Args:
        host: The detector that is to learn.
        mean, std: By which pictures, in 0 to 1, are normalised: one number a channel.
        batch: Pictures in a batch.
        tasks: In a batch, three or more; each gets as many pictures.

    Raises:
        FitError: nothing is annotated, or all of it is too small; the host takes no such pictures; or tasks of a batch
            are too few or would have no picture.
    """
    refuse_tasks(batch, tasks)
    space, cells = space_of(pictures), cells_of(host)
    if lacking := [name for name in pictures.names if name not in space.names]:
        said = ", ".join(map(repr, lacking))
        warnings.warn(f"nothing is annotated as {said}: left out. Annotate some to have it learned.", stacklevel=2)
    shown = [letterboxed(one, host.size) for one in pictures.pictures]
    columns = [pictures.names.index(name) for name in space.names]
    pixels = torch.stack([one for one, _, _ in shown])
    things = [Things(some.boxes, some.names[:, columns]) for _, some, _ in shown]
    crowds = [Things(some.boxes, some.names[:, columns]) for _, _, some in shown]
    if missed := too_small(cells, torch.cat([found.boxes for found in things])):
        warnings.warn(missed, stacklevel=2)
    parts = [things, crowds] if any(len(some.boxes) for some in crowds) else [things]
    every = torch.cat([found.names for found in things])
    known = sorted({tuple(row.nonzero().flatten().tolist()) for row in every})
    owner = torch.repeat_interleave(torch.tensor([len(found.names) for found in things]))  # the picture of each thing
    centre, scale = (torch.tensor(list(values)).view(-1, 1, 1) for values in (mean, std))
    alike = space.groups_of(space.names)
    groups = groups_mask(alike, len(space.names))

    def drawn(rows: Tensor) -> tuple[Tensor, ...]:
        """Pictures, boxes and names; then boxes and names of crowds, if there are any anywhere."""
        chosen = pixels[rows].float() / 255
        mirrored = torch.rand(len(rows)) < 0.5
        chosen[mirrored] = chosen[mirrored].flip(3)
        found = [
            [
                Things(mirror(some[row].boxes, host.size[2]) if flip else some[row].boxes, some[row].names)
                for row, flip in zip(rows.tolist(), mirrored.tolist(), strict=True)
            ]
            for some in parts
        ]
        return (chosen - centre) / scale, *chain(*map(padded, found))

    def naming(_draw: int) -> tuple[Tensor, ...]:
        return drawn(torch.randint(len(pixels), (batch,)))

    def task() -> Task:
        """What some thing in some picture is, by one of `KINDS`."""
        names = known[int(torch.randint(len(known), ()))]
        kind = list(KINDS)[int(torch.multinomial(torch.tensor(list(KINDS.values())), 1))]
        return space.task_of(asked_of(names, kind, alike))

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
        chosen, boxes, names, *around = drawn(torch.cat([rows_for(one) for one in asked]))
        return chosen, boxes, names, codes_of(asked, len(space.names)), *around

    return Lessons(naming, seeking)


def too_small(cells: Cells, boxes: Tensor) -> str | None:
    """What is to be said of things that no cell answers for, even where nothing else is; None if there are none.

    Args:
        boxes: (things, 4).

    Raises:
        FitError: there are no others.
    """
    met = torch.cat([(answering(cells, some[:, None]) >= 0).any(1) for some in boxes.split(AT_ONCE)])
    if not (count := int((~met).sum())):
        return None
    said = (
        f"{count} of {len(met)} things ({count / len(met):.1%}) are too small or thin for the detector's cells, of "
        f"{cells.stride.min():.0f} pixels or more, and cannot be learned. Create it for larger pictures, or with finer "
        "levels, such as levels=(-4, -3, -2, -1)."
    )
    if count == len(met):
        raise FitError(said)
    return said


def asked_of(names: Sequence[int], kind: str, groups: Sequence[Sequence[int]]) -> set[int]:
    """Names to ask for, of which a thing of these names is one.

    Args:
        names: Of the thing.
        kind: A class, attributes, both, or either of two classes or of two attributes of a kind beside a class. Of each
            kind of attributes one is asked for at most. Things without attributes are asked for by class.
        groups: Names that are alternatives: classes, then attributes, kind by kind.
    """
    own, *more = ([name for name in group if name in names] for group in groups)
    named = {one_of(few) for few in some_of([few for few in more if few])} if kind != "class" else set()
    if kind == "attribute" and named:
        return named
    said = {one_of(own)}
    others = [name for group in groups if not (said | named).isdisjoint(group) for name in group]
    others = [name for name in others if name not in said | named]
    if kind == "either" and others:
        other = one_of(others)
        return said | {other} | (set() if other in groups[0] else named)
    return said | named


def one_of(few: Sequence[int]) -> int:
    """One of these, drawn."""
    return few[int(torch.randint(len(few), ()))]


def some_of(kinds: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Some of these, drawn: one at least, if there are any."""
    count = int(torch.randint(len(kinds), ())) + 1 if kinds else 0
    return [kinds[place] for place in torch.randperm(len(kinds))[:count].tolist()]


def mirror(boxes: Tensor, width: int) -> Tensor:
    """Boxes (things, 4) in a picture that is turned left to right."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)
