"""Pictures with boxes from a folder in COCO's format, with every fault told by file and id.

    folder/annotations.json     or any other name; images, categories, annotations
    folder/*.jpg                or a folder of their own

Beside its category an annotation may have `attributes`: a list of words, or words by kind as labelling tools write
them ({"colour": "red"}). Attributes are names just as categories are.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from torch import Tensor

from ..errors import CardError, FitError
from .boxes import Things
from .exams import Answered, Marks, thing_marks
from .kit import Kit
from .letterbox import Letterboxed
from .task import Task

ANNOTATIONS = "annotations.json"
MOST_TOLD = 20  # faults; a wrong converter makes thousands


class _Picture(BaseModel):
    model_config = ConfigDict(strict=True)
    id: int
    file_name: str = Field(min_length=1)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class _Category(BaseModel):
    model_config = ConfigDict(strict=True)
    id: int
    name: str = Field(min_length=1)


class _Annotation(BaseModel):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: int = 0
    attributes: list[str] | dict[str, str | bool | float | None] = []


KINDS: Mapping[str, type[BaseModel]] = {"images": _Picture, "categories": _Category, "annotations": _Annotation}


@dataclass(frozen=True)
class Annotated:
    """A picture's file and what is in it, in pixels of that file."""

    path: Path
    things: Things


@dataclass(frozen=True)
class Pictures:
    """Annotated pictures.

    Attributes:
        classes: Names of categories.
        attributes: Names of attributes.
        pictures: In the order of the file.
    """

    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    pictures: tuple[Annotated, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All that a thing can be called."""
        return self.classes + self.attributes


def read_coco(annotations: Path, images: Path | None = None) -> Pictures:
    """Read annotations.

    Args:
        images: Where pictures lie; beside the annotations if not given.

    Raises:
        CardError: with every fault, each with the file and the id of what is wrong.
    """
    where = images or annotations.parent
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"{annotations}: there is no such file.") from None
    except ValueError as error:
        raise CardError(f"{annotations}: not JSON: {error}.") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(kind), list) for kind in KINDS):
        raise CardError(f"{annotations}: not in COCO's format, which has lists of {', '.join(KINDS)}.")
    faults: list[str] = []
    listed: dict[str, list[Any]] = {kind: list(parsed(content[kind], kind, faults)) for kind in KINDS}
    listed["annotations"] = [one for one in listed["annotations"] if not one.iscrowd]
    faults += disagreements(listed, where)
    if faults:
        more = [f"and {len(faults) - MOST_TOLD} more"] if len(faults) > MOST_TOLD else []
        raise CardError("\n".join(f"{annotations}: {fault}." for fault in faults[:MOST_TOLD] + more))
    classes = tuple(dict.fromkeys(category.name for category in listed["categories"]))
    attributes = tuple(sorted({word for one in listed["annotations"] for word in words_of(one)} - set(classes)))
    columns = {name: place for place, name in enumerate(classes + attributes)}
    called = {category.id: category.name for category in listed["categories"]}
    of: dict[int, list[Any]] = {picture.id: [] for picture in listed["images"]}
    for one in listed["annotations"]:
        of[one.image_id].append(one)
    found = []
    for picture in listed["images"]:
        boxes = torch.tensor([one.bbox for one in of[picture.id]]).reshape(-1, 4)
        named = torch.zeros(len(boxes), len(columns))
        for row, one in enumerate(of[picture.id]):
            named[row, [columns[word] for word in (called[one.category_id], *words_of(one))]] = 1
        corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        found.append(Annotated(where / picture.file_name, Things(corners, named)))
    return Pictures(classes, attributes, tuple(found))


def parsed(rows: Sequence[Any], kind: str, faults: list[str]) -> Iterator[BaseModel]:
    """The rows of a list that are well formed; what is wrong with the others goes to `faults`."""
    for place, row in enumerate(rows):
        try:
            yield KINDS[kind].model_validate(row)
        except ValidationError as error:
            named = row.get("id", f"number {place}") if isinstance(row, dict) else f"number {place}"
            item = error.errors()[0]
            at = ".".join(str(part) for part in item["loc"])
            faults.append(f"{kind} {named}: {at or 'it'}: {item['msg'][0].lower()}{item['msg'][1:]}")


def disagreements(listed: Mapping[str, Sequence[Any]], where: Path) -> Iterator[str]:
    """What is well formed, and wrong beside the rest."""
    for kind, rows in listed.items():
        for number, times in Counter(row.id for row in rows).items():
            if times > 1:
                yield f"{kind} {number}: {times} have this id"
    pictures = {picture.id: picture for picture in listed["images"]}
    categories = {category.id for category in listed["categories"]}
    for picture in pictures.values():
        path = where / picture.file_name
        try:
            with Image.open(path) as opened:
                if opened.size != (picture.width, picture.height):
                    said = f"{picture.width}x{picture.height}"
                    yield f"images {picture.id}: {path} is {opened.width}x{opened.height} and not {said}"
                opened.load()  # a file may end too early
        except FileNotFoundError:
            yield f"images {picture.id}: there is no {path}"
        except (OSError, SyntaxError, ValueError):
            yield f"images {picture.id}: {path} is not a picture that can be read"
    for one in listed["annotations"]:
        left, top, width, height = one.bbox
        if one.image_id not in pictures:
            yield f"annotations {one.id}: there is no image {one.image_id}"
        elif not (width > 0 and height > 0):
            yield f"annotations {one.id}: its box is empty, {width:g} wide and {height:g} high"
        else:
            picture = pictures[one.image_id]
            if min(left, top) < -1 or left + width > picture.width + 1 or top + height > picture.height + 1:
                yield f"annotations {one.id}: its box leaves the picture, which is {picture.width}x{picture.height}"
        if one.category_id not in categories:
            yield f"annotations {one.id}: there is no category {one.category_id}"
    called = [(f"categories {one.id}", one.name) for one in listed["categories"]]
    called += [(f"annotations {one.id}", word) for one in listed["annotations"] for word in words_of(one)]
    spelled: dict[str, str] = {}
    for where_said, name in called:
        if (first := spelled.setdefault(name.casefold(), name)) != name:
            yield f"{where_said}: {name!r} is {first!r} elsewhere, and case tells no names apart"


def words_of(annotation: Any) -> list[str]:
    """The attributes of an annotation."""
    said = annotation.attributes
    return said if isinstance(said, list) else [word for word in said.values() if isinstance(word, str)]


def letterboxed(annotated: Annotated, size: tuple[int, int, int]) -> tuple[Tensor, Things]:
    """A picture scaled to fit a size, grey at the right or below, and its things there.

    Args:
        size: (3, height, width).

    Returns:
        Bytes (3, height, width), and things in pixels of that.
    """
    with Image.open(annotated.path) as opened:
        boxed = Letterboxed.of(opened, size)
    things = annotated.things
    return boxed.pixels, Things(things.boxes * torch.tensor(boxed.scale).repeat(2), things.names)


def read_things(folder: Path, kit: Kit, task: Task) -> Answered:
    """An exam in finding things: the pictures of a folder, and average precision.

    Args:
        folder: With an `annotations.json` and pictures beside it; or another file of annotations.

    Raises:
        CardError: with every fault of the annotations.
        FitError: they name none of the task's names, so there is nothing to be found.
    """
    read = read_coco(folder / ANNOTATIONS if folder.is_dir() else folder)
    shown = [letterboxed(one, kit.host.size) for one in read.pictures]
    asked = kit.space.groups_of(kit.space.spoken(task))
    spoken = kit.space.spoken(task)
    known = {name.casefold(): place for place, name in enumerate(read.names)}
    if lacking := [name for name in spoken if name.casefold() not in known]:
        raise FitError(f"{folder}: nothing is called {lacking[0]!r} there; it has: {', '.join(read.names)}.")
    columns = [known[name.casefold()] for name in spoken]
    wanted = []
    for _, things in shown:
        own = things.names[:, columns]
        wanted.append(things.boxes[torch.stack([own[:, list(group)].amax(1) for group in asked]).amin(0) > 0])
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (kit.mean, kit.std))
    pictures = torch.stack([(pixels.float() / 255 - mean) / std for pixels, _ in shown])

    def marks_of(rows: Tensor) -> Marks:
        return thing_marks(kit.space, task, kit.host.size, [wanted[row] for row in rows])

    return Answered(pictures, marks_of)
