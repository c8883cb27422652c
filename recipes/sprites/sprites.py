"""Sprites of twelve classes in six colours, and what lies about them.

A class is where a tile lies and what it is called. A colour is measured from its pixels; few swords are green, so
sprites are also turned to every other hue, and kept if the measure then says that colour.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from intarsia import OutputExists
from intarsia.saving import new_file

from .tiles import ARCHIVE, tiles

# The first that fits a tile's path.
CLASSES = {
    "axe": r"item/weapon/.*axe",
    "sword": r"item/weapon/.*(sword|dagger|blade|scimitar|falchion|rapier|katana|knife)",
    "mace": r"item/weapon/.*(mace|club|flail|star|whip|hammer)",
    "spear": r"item/weapon/.*(spear|trident|halberd|glaive|scythe|bardiche|partisan)",
    "shield": r"item/armour/shields",
    "helmet": r"item/armour/headgear",
    "armour": r"item/armour/[^/]*(mail|plate|armour|leather|robe|skin)",
    "book": r"item/book",
    "potion": r"item/potion",
    "wand": r"item/(wand|rod|staff)",
    "dragon": r"mon/(dragons|draco)",
    "tree": r"dngn/trees",
}
CLUTTER = r"item/(amulet|ring|food|gold|misc|scroll)|dngn/traps"
FLOOR = r"dngn/floor/[a-z_]+\d*$"
COLOURS = {"red": 0, "gold": 42, "green": 120, "blue": 210, "purple": 290}  # degrees of hue; the sixth is grey
NAMES = (*COLOURS, "grey")
COLOURED = 0.3  # saturation from which on a pixel has a hue
SMALLEST = (12, 16)  # pixels of the shorter and the longer side
TESTED = 0.2  # share of the families of sprites that are for tests


@dataclass(frozen=True)
class Sprites:
    """Real sprites of classes, with their colours, and tiles to put them on.

    Attributes:
        pictures: (count, 32, 32, 4) in bytes.
        classes: (count): numbers in `CLASSES`.
        colours: (count): numbers in `NAMES`.
        tested: (count): whether a sprite is for tests; its variants, `mace1` to `mace3`, are on one side.
        clutter: (count, 32, 32, 4): things of no class.
        floors: (count, 32, 32, 3).
        kinds: (count): of floors; tiles of one kind lie side by side.
    """

    pictures: np.ndarray
    classes: np.ndarray
    colours: np.ndarray
    tested: np.ndarray
    clutter: np.ndarray
    floors: np.ndarray
    kinds: np.ndarray

    def save(self, path: Path) -> None:
        """Write everything to one file.

        Raises:
            OutputExists: something stands there.
        """
        with new_file(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Sprites":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as held:
            return cls(**{name: held[name] for name in held.files})


def read(folder: Path) -> Sprites:
    """The sprites of a folder: sorted out of the archive in it the first time, which takes a minute.

    Raises:
        CardError: there is no archive, or it is another.
    """
    kept = folder / "sprites.npz"
    if not kept.exists():
        with suppress(OutputExists):  # another process was faster, and sorted out the same
            sorted_out(tiles(folder / ARCHIVE)).save(kept)
    return Sprites.load(kept)


def large(picture: np.ndarray) -> bool:
    """Whether a tile shows a thing, and not an icon in a corner."""
    seen = np.argwhere(picture[..., 3] > 127)
    sides = sorted(seen.max(0) - seen.min(0) + 1) if len(seen) else (0, 0)
    return sides[0] >= SMALLEST[0] and sides[1] >= SMALLEST[1]


def hues(picture: np.ndarray) -> np.ndarray:
    """(32, 32, 3): hue, saturation and value, in bytes."""
    return np.asarray(Image.fromarray(picture[..., :3]).convert("HSV"))


def colour_of(picture: np.ndarray) -> int | None:
    """The colour that most of a sprite has, by number; None if no colour has half of it."""
    shown = hues(picture)[picture[..., 3] > 127].astype(float)
    shown = shown[shown[:, 2] > 50]  # outlines and shadows are of no colour
    if not len(shown):
        return None
    apart = np.abs(shown[:, :1] * 360 / 255 - np.array(list(COLOURS.values()))[None])
    named = np.minimum(apart, 360 - apart).argmin(1)
    named[shown[:, 1] < COLOURED * 255] = len(COLOURS)
    counts = np.bincount(named, minlength=len(NAMES))
    return int(counts.argmax()) if counts.max() * 2 >= len(named) else None


def turned(picture: np.ndarray, colour: int) -> np.ndarray:
    """A sprite in another colour: its hues turned so that the mean one is that colour's, or greyed, or tinted."""
    shown = hues(picture).copy()
    if colour == len(COLOURS):
        shown[..., 1] //= 6
    else:
        wanted = list(COLOURS.values())[colour] / 360 * 2 * np.pi
        seen = picture[..., 3] > 127
        angle = shown[..., 0] / 255 * 2 * np.pi
        mean = np.angle((np.exp(1j * angle) * shown[..., 1])[seen].sum() or 1)
        dull = shown[..., 1][seen].mean() < COLOURED * 255
        if dull:
            shown[..., 0], shown[..., 1] = round(wanted / (2 * np.pi) * 255), np.maximum(shown[..., 1], 150)
        else:
            shown[..., 0] = np.round((angle + wanted - mean) % (2 * np.pi) / (2 * np.pi) * 255)
    return np.dstack([np.asarray(Image.fromarray(shown, "HSV").convert("RGB")), picture[..., 3]])


def family(path: str) -> str:
    """A tile's path without the numbers of its variants."""
    return re.sub(r"[\d_]+$", "", path)


def for_tests(paths: Sequence[str], classes: Sequence[int]) -> np.ndarray:
    """(count): which tiles are for tests, whole families of each class until there are enough."""
    sides = np.zeros(len(paths), bool)
    families = np.array([family(path) for path in paths])
    for number in range(len(CLASSES)):
        own = np.asarray(classes) == number
        for name in sorted(set(families[own]), key=lambda name: zlib.crc32(name.encode())):
            if sides[own].sum() < TESTED * own.sum():
                sides |= own & (families == name)
    return sides


def sorted_out(tiles: Iterable[tuple[str, np.ndarray]]) -> Sprites:
    """Which of these tiles are of a class, and which are clutter or floors."""
    pictures, classes, colours, paths, clutter, floors, kinds = ([] for _ in range(7))
    for path, picture in sorted(tiles, key=lambda tile: tile[0]):
        if re.match(FLOOR, path) and picture[..., 3].all():
            floors.append(picture[..., :3])
            kinds.append(family(path))
        elif re.match(CLUTTER, path) and (picture[..., 3] > 127).sum() > 20:
            clutter.append(picture)
        number = next((place for place, rule in enumerate(CLASSES.values()) if re.match(rule, path)), None)
        if number is None or not large(picture):
            continue
        own = colour_of(picture)
        for colour in range(len(NAMES)):
            one = picture if colour == own else turned(picture, colour)
            if colour_of(one) == colour:
                pictures.append(one)
                classes.append(number)
                colours.append(colour)
                paths.append(path)
    _, kind = np.unique(kinds, return_inverse=True)
    return Sprites(np.stack(pictures), np.array(classes), np.array(colours), for_tests(paths, classes),
                   np.stack(clutter), np.stack(floors), kind)  # fmt: skip
