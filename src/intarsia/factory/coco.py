"""Pictures with boxes from a folder in COCO's format, with every fault told by file and id.

    folder/annotations.json     or any other name; images, categories, annotations
    folder/*.jpg                or in images/, or where other tools put them; see `coco_places`

Beside its category an annotation may have `attributes`: a list of words, or words by kind as labelling tools write
them ({"colour": "red"}). Attributes are names just as categories are; those of a kind are alternatives, and so are
those that are listed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CardError, FitError
from ..hosts.detector import BOX
from ..pictures import opened
from .boxes import Things, fitting
from .coco_faults import disagreements, framed
from .coco_places import annotations_at, pictures_beside, places_of
from .coco_rows import KINDS, attributes_of, groups_of, parsed
from .exams import Answered, Marks, refuse_nothing, thing_marks
from .frames import Frame
from .kit import Kit
from .letterbox import Letterboxed
from .task import Task, groups_mask

MOST_TOLD = 20  # faults; a wrong converter makes thousands


@dataclass(frozen=True)
class Annotated:
    """A picture's file and what is in it, in pixels of the picture as it is shown; see `frames`.

    Attributes:
        crowds: Regions of many things that are not annotated one by one, with 1 for each name that may fit one of them:
            those that are said of a crowd, and all names of a kind of which none is said.
    """

    path: Path
    things: Things
    crowds: Things


@dataclass(frozen=True)
class Pictures:
    """Annotated pictures.

    Attributes:
        groups: Names that are alternatives: of categories, then of attributes, kind by kind.
        pictures: In the order of the file.
    """

    groups: tuple[tuple[str, ...], ...]
    pictures: tuple[Annotated, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of categories."""
        return self.groups[0]

    @property
    def names(self) -> tuple[str, ...]:
        """All that a thing can be called."""
        return tuple(chain(*self.groups))


def read_coco(annotations: Path, images: Path | None = None) -> Pictures:
    """Read annotations.

    Args:
        images: Where pictures lie; looked for around the annotations if not given.

    Raises:
        CardError: with every fault, each with the file and the id of what is wrong.
    """
    listed, frames = checked(annotations, images)
    groups = groups_of(listed["categories"], listed["annotations"])
    called = {category.id: category.name for category in listed["categories"]}
    of: dict[int, tuple[list[Any], list[Any]]] = {picture.id: ([], []) for picture in listed["images"]}
    for one in listed["annotations"]:
        of[one.image_id][one.iscrowd].append(one)
    found = []
    for picture in listed["images"]:
        frame, said = frames[picture.id], (picture.width, picture.height)
        things, crowds = (things_of(rows, called, groups) for rows in of[picture.id])
        found.append(
            Annotated(
                frame.path,
                Things(frame.as_shown(things.boxes, said), things.names),
                Things(frame.as_shown(crowds.boxes, said), possible(crowds.names, groups)),
            )
        )
    return Pictures(groups, tuple(found))


def checked(annotations: Path, images: Path | None) -> tuple[dict[str, list[Any]], dict[int, Frame]]:
    """The rows of a file by kind, and how its pictures lie in theirs, by id. Arguments and errors: as `read_coco`."""
    content = content_of(annotations)
    faults: list[str] = []
    listed: dict[str, list[Any]] = {kind: list(parsed(content[kind], kind, faults)) for kind in KINDS}
    where = images or pictures_beside(annotations, [picture.file_name for picture in listed["images"]])
    if where is None and listed["images"]:
        looked = ", ".join(map(str, places_of(annotations)))
        faults.append(f"images: none of them is there. Looked in {looked}; put them into one of these")
    frames = {} if where is None else framed(listed["images"], where, faults)
    faults += disagreements(listed, content)
    if faults:
        more = [f"and {len(faults) - MOST_TOLD} more"] if len(faults) > MOST_TOLD else []
        raise CardError("\n".join(f"{annotations}: {fault}." for fault in faults[:MOST_TOLD] + more))
    return listed, frames


def content_of(annotations: Path) -> dict[str, Any]:
    """What a file says.

    Raises:
        CardError: it is not in COCO's format.
    """
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"{annotations}: there is no such file.") from None
    except OSError as error:
        raise CardError(f"{annotations}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise CardError(f"{annotations}: not JSON: {error}.") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(kind), list) for kind in KINDS):
        raise CardError(f"{annotations}: not in COCO's format, which has lists of {', '.join(KINDS)}.")
    return content


def things_of(rows: Sequence[Any], called: Mapping[int, str], groups: Sequence[Sequence[str]]) -> Things:
    """What annotations say, in their own pixels.

    Args:
        called: Names of categories by their ids.
        groups: All names, as `Pictures` has them.
    """
    columns = {name: place for place, name in enumerate(chain(*groups))}
    boxes, names = torch.tensor([one.bbox for one in rows]).reshape(-1, BOX), torch.zeros(len(rows), len(columns))
    for row, one in enumerate(rows):
        names[row, [columns[word] for word in (called[one.category_id], *(word for _, word in attributes_of(one)))]] = 1
    return Things(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), names)


def possible(names: Tensor, groups: Sequence[Sequence[str]]) -> Tensor:
    """Names that may fit: those of each row, (rows, names), and every one of a group of which it has none."""
    members = torch.block_diag(*[torch.ones(1, len(group)) for group in groups])  # (groups, names)
    return names + (names @ members.T == 0).float() @ members


def letterboxed(annotated: Annotated, size: tuple[int, int, int]) -> tuple[Tensor, Things, Things]:
    """A picture scaled to fit a size, grey at the right or below, and its things and crowds there.

    Args:
        size: (3, height, width).

    Returns:
        Bytes (3, height, width); things and crowds, in pixels of that.

    Raises:
        FitError: the size is of other channels.
    """
    boxed = Letterboxed.of(opened(annotated.path), size)
    scale = torch.tensor(boxed.scale).repeat(2)
    things, crowds = (Things(some.boxes * scale, some.names) for some in (annotated.things, annotated.crowds))
    return boxed.pixels, things, crowds


def read_things(folder: Path, kit: Kit, task: Task) -> Answered:
    """An exam in finding things: the pictures of a folder, and average precision.

    Args:
        folder: With annotations, or the annotations themselves; see `coco_places`.

    Raises:
        CardError: with every fault of the annotations; or a folder has none, or several.
        FitError: they name none of the task's names, or no picture holds what is asked for.
    """
    read, spoken = read_coco(annotations_at(folder)), kit.space.spoken(task)
    known = {name.casefold(): place for place, name in enumerate(read.names)}
    if lacking := [name for name in spoken if name.casefold() not in known]:
        raise FitError(f"{folder}: nothing is called {lacking[0]!r} there; it has: {', '.join(read.names)}.")
    columns = [known[name.casefold()] for name in spoken]
    asked = groups_mask(kit.space.groups_of(spoken), len(spoken))[None]

    def asked_for(some: Things) -> Tensor:
        return fitting(some.names[None, :, columns], asked)[0] > 0

    holds = torch.tensor([bool(asked_for(one.things).any()) for one in read.pictures], dtype=torch.bool)
    refuse_nothing(kit.space, task, holds)
    shown = [letterboxed(one, kit.host.size) for one in read.pictures]
    wanted = [some.boxes[asked_for(some)] for _, some, _ in shown]
    crowds = [some.boxes[asked_for(some)] for _, _, some in shown]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (kit.mean, kit.std))
    pictures = torch.stack([(pixels.float() / 255 - mean) / std for pixels, _, _ in shown])

    def marks_of(rows: Tensor) -> Marks:
        own, around = ([boxes[row] for row in rows] for boxes in (wanted, crowds))
        return thing_marks(kit.space, task, kit.host.size, own, around)

    return Answered(pictures, marks_of, holds)
