"""Where annotations lie, and the pictures that they name: labelling tools do not agree."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import CardError

ANNOTATIONS = "annotations.json"
# Of pictures, from the folder of the annotations; {split} is how their name ends, as in instances_val2017.json.
PLACES = (".", "images", "../images", "../images/{split}", "../{split}", "..")


def annotations_at(place: Path) -> Path:
    """The annotations that a person means: a file, or the one in a folder or in its `annotations`.

    Raises:
        CardError: a folder has none, or several.
    """
    if not place.is_dir():
        return place
    if (place / ANNOTATIONS).is_file():
        return place / ANNOTATIONS
    found = sorted([*place.glob("*.json"), *(place / "annotations").glob("*.json")])
    if len(found) == 1:
        return found[0]
    if found:
        raise CardError(f"{place}: which annotations? Name one of: {', '.join(map(str, found))}.")
    raise CardError(f"{place}: no {ANNOTATIONS} in it, nor another JSON in it or in {place / 'annotations'}. Name one.")


def places_of(annotations: Path) -> list[Path]:
    """Where its pictures may be."""
    split = annotations.stem.rpartition("_")[2]
    return [Path(os.path.normpath(annotations.parent / place.format(split=split))) for place in PLACES]


def pictures_beside(annotations: Path, names: Sequence[str]) -> Path | None:
    """The first of the places that has any of these pictures; None if no place has."""
    return next((place for place in places_of(annotations) if any((place / name).is_file() for name in names)), None)
