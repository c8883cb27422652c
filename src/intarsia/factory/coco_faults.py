"""What is well formed in COCO's format, and wrong beside the rest of it: pictures, boxes, names."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .coco_rows import attributes_of
from .frames import Frame
from .task import unaskable


def framed(pictures: Sequence[Any], where: Path, faults: list[str]) -> dict[int, Frame]:
    """How pictures lie in their files, by id; what is wrong with the others goes to `faults`."""
    frames = {}
    for picture in pictures:
        path = where / picture.file_name
        try:
            frame = frames[picture.id] = Frame.of(path)
        except FileNotFoundError:
            faults.append(f"images {picture.id}: there is no {path}")
        except Image.DecompressionBombError:
            most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
            faults.append(f"images {picture.id}: {path} has more than {most} pixels; scale it and its boxes down")
        except (OSError, SyntaxError, ValueError):
            faults.append(f"images {picture.id}: {path} is not a picture that can be read")
        else:
            if unlike := frame.unlike((picture.width, picture.height)):
                faults.append(f"images {picture.id}: {path} is {unlike}")
    return frames


def disagreements(listed: Mapping[str, Sequence[Any]], given: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """What is wrong with ids, boxes and names.

    Args:
        listed: Rows that are well formed.
        given: All rows: what is told to be amiss in one of them is not missing.
    """
    known = {kind: {row["id"] for row in given[kind] if isinstance(row, dict) and isinstance(row.get("id"), int)}
             for kind in listed}  # fmt: skip
    for kind, rows in listed.items():
        for number, times in Counter(row.id for row in rows).items():
            if times > 1:
                yield f"{kind} {number}: {times} have this id"
    pictures = {picture.id: picture for picture in listed["images"]}
    for one in listed["annotations"]:
        if one.image_id not in known["images"]:
            yield f"annotations {one.id}: there is no image {one.image_id}"
        elif fault := misplaced(one.bbox, pictures.get(one.image_id)):
            yield f"annotations {one.id}: its box {fault}"
        if one.category_id not in known["categories"]:
            yield f"annotations {one.id}: there is no category {one.category_id}"
    yield from misnamed(listed)


def misplaced(box: Sequence[float], picture: Any | None) -> str | None:
    """What is wrong with a box of left, top, width and height, if anything is.

    Args:
        picture: That it is in; None if that is not well formed itself.
    """
    left, top, width, height = box
    if not (width > 0 and height > 0):
        return f"is empty, {width:g} wide and {height:g} high"
    if picture is None:
        return None
    if min(left, top) < -1 or left + width > picture.width + 1 or top + height > picture.height + 1:
        return f"leaves the picture, which is {picture.width}x{picture.height}"
    return None


def misnamed(listed: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """What is wrong with names, each told where it is first met."""
    said = [(one.name, "", f"categories {one.id}") for one in listed["categories"]]
    classes = {name for name, _, _ in said}
    said += [
        (word, kind, f"annotations {one.id}") for one in listed["annotations"] for kind, word in attributes_of(one)
    ]
    met: dict[tuple[str, str], str] = {}
    for name, kind, where in said:
        met.setdefault((name, kind), where)
    spelled: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for (name, kind), where in met.items():
        if how := unaskable(name):
            yield f"{where}: {name!r} cannot be asked for: {how}"
        if (first := spelled.setdefault(name.casefold(), name)) != name:
            yield f"{where}: {name!r} is {first!r} elsewhere, and case tells no names apart"
        if kind and name not in classes and (other := kinds.setdefault(name, kind)) != kind:
            yield f"{where}: {name!r} is of kind {kind!r} here and {other!r} elsewhere; call one of the two otherwise"
