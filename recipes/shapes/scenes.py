"""Drawn scenes whose every attribute is known: a large thing on pastel ground, and a small one beside it.

The large thing has one of eight shapes, of which two have no word; one of three patterns; and any hue, for which there
are six words. It stands left or right. The ground has any hue too. The small thing is one of the six shapes with words,
in one of the six hues with words: nobody shows a picture of it, so it says whether words are still followed.

In scenes that *lean*, the hues of the thing and of the ground mostly follow from its shape, so that who learns one
attribute from them could as well learn another.
"""

import colorsys
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

SIDE = 32
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "", "")  # no word: a flower, a crescent
NAMED = sum(map(bool, SHAPES))
PATTERNS = ("plain", "striped", "dotted")
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")  # a sixth of the circle each, red around 0
SIDES = ("left", "right")
BINS, WIDTH = len(HUES), 1 / 12  # how far a leaning hue is from its shape's own, at most
WIDE, SMALL = (6.5, 8.0), 4.0  # radii in pixels


@dataclass(frozen=True)
class Scenes:
    """Attributes of scenes, (count) each; hues from 0 to 1."""

    shape: np.ndarray
    pattern: np.ndarray
    hue: np.ndarray
    side: np.ndarray
    ground: np.ndarray
    small_shape: np.ndarray
    small_hue: np.ndarray

    def __len__(self) -> int:
        return len(self.shape)

    def part(self, rows: slice | np.ndarray) -> "Scenes":
        """Some of them."""
        return Scenes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def where(self, chosen: np.ndarray, other: "Scenes", names: tuple[str, ...] | None = None) -> "Scenes":
        """Other scenes where chosen, (count) of true and false; these elsewhere.

        Args:
            names: The attributes that are taken from the others; all if not given.
        """
        names = names or tuple(field.name for field in fields(self))
        return replace(self, **{name: np.where(chosen, getattr(other, name), getattr(self, name)) for name in names})

    def kept(self, names: tuple[str, ...], leaning: float) -> "Scenes":
        """Other scenes, drawn by lot, that share these attributes."""
        return some(len(self), leaning, **{name: getattr(self, name) for name in names})


def some(count: int, leaning: float = 0.0, **known: np.ndarray) -> Scenes:
    """Scenes drawn with numpy's generator.

    Args:
        leaning: How often the hues of the thing and of the ground follow from its shape.
        known: Attributes that are settled; the others are drawn as they would be beside these.
    """
    own = np.arange(len(SHAPES)) / len(SHAPES)
    likely = np.ones((count, len(SHAPES)))
    for name, shift in (("hue", 0.0), ("ground", 0.5)):
        if name in known:
            likely *= 1 - leaning + leaning / (2 * WIDTH) * (apart(known[name][:, None], own + shift) < WIDTH)
    drawn = (np.random.random((count, 1)) > (likely / likely.sum(1, keepdims=True)).cumsum(1)).sum(1)
    shape = known.get("shape", drawn.clip(max=len(SHAPES) - 1))

    def hue(shift: float) -> np.ndarray:
        follows = own[shape] + shift + np.random.uniform(-WIDTH, WIDTH, count)
        return np.where(np.random.random(count) < leaning, follows, np.random.random(count)) % 1

    drawn_all = Scenes(
        shape=shape, pattern=np.random.randint(len(PATTERNS), size=count), hue=hue(0.0),
        side=np.random.randint(2, size=count), ground=hue(0.5), small_shape=np.random.randint(NAMED, size=count),
        small_hue=np.random.randint(BINS, size=count) / BINS,
    )  # fmt: skip
    return replace(drawn_all, **known)


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far hues are apart on the circle, from 0 to a half."""
    return np.abs((one - other + 0.5) % 1 - 0.5)


def bin_of(hues: np.ndarray) -> np.ndarray:
    """The number of the word for each hue."""
    return np.floor(hues * BINS + 0.5).astype(int) % BINS


def drawn(scenes: Scenes) -> Tensor:
    """Pictures (count, 3, 32, 32) from -1 to 1. Size, place and phase are jittered with numpy's generator."""
    count = len(scenes)
    rows, columns = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5, indexing="ij")
    pictures = np.broadcast_to(colours(scenes.ground, 0.28, 1.0)[:, None, None], (count, SIDE, SIDE, 3)).copy()
    place = np.where(scenes.side == 0, 10.0, 22.0)
    small_place = np.where(scenes.side == 0, 25.5, 6.5)
    for shape, hue, pattern, centre, radius, shake in (
        (scenes.shape, scenes.hue, scenes.pattern, place, np.random.uniform(*WIDE, count), (1.0, 5.0)),
        (scenes.small_shape, scenes.small_hue, np.zeros(count, int), small_place, np.full(count, SMALL), (1.0, 9.0)),
    ):
        x = (columns - (centre + np.random.uniform(-shake[0], shake[0], count))[:, None, None]) / radius[:, None, None]
        y = (rows - (16 + np.random.uniform(-shake[1], shake[1], count))[:, None, None]) / radius[:, None, None]
        inside = np.select(
            [(shape == number)[:, None, None] for number in range(len(SHAPES))],
            outside(x, y),
        )
        mask = (0.5 - inside * radius[:, None, None]).clip(0, 1)
        phase = np.random.uniform(0, 2 * np.pi, count)[:, None, None]
        shade = shading(x * radius[:, None, None], y * radius[:, None, None], pattern, phase)[..., None]
        full = colours(hue, 0.95, 0.9)[:, None, None]
        thing = np.where(shade < 0, full * (1 + 0.75 * shade), full + (1 - full) * shade)
        pictures = pictures + mask[..., None] * (thing - pictures)
    return torch.from_numpy((2 * pictures - 1).transpose(0, 3, 1, 2).copy()).float()


def outside(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """For each shape of radius 1 how far points are outside of it; less than 0 is inside."""
    wide, high, away = np.abs(x), np.abs(y), np.hypot(x, y)
    return [
        away - 0.95,
        np.maximum(wide, high) - 0.8,
        np.maximum(y - 0.65, 0.87 * wide - 0.5 * y - 0.5),
        (wide + high - 1.05) * 0.71,
        np.minimum(np.maximum(wide - 0.95, high - 0.33), np.maximum(high - 0.95, wide - 0.33)),
        np.abs(away - 0.7) - 0.26,
        away - 0.7 - 0.27 * np.cos(5 * np.arctan2(x, -y)),
        np.maximum(away - 0.95, 0.75 - np.hypot(x - 0.5, y)),
    ]


def shading(x: np.ndarray, y: np.ndarray, pattern: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """How far each point of a thing goes towards black (to -1) or white (to 1)."""
    stripes = -(np.sin((x + y) * 1.1 + phase) > 0).astype(float)
    dots = ((np.sin(x * 1.15 + phase) * np.sin(y * 1.15 + phase)) > 0.5).astype(float)
    which = pattern[:, None, None]
    return np.select([which == 0, which == 1], [np.zeros_like(x), stripes], dots)


def colours(hues: np.ndarray, saturation: float, value: float) -> np.ndarray:
    """Red, green and blue from 0 to 1, (count, 3)."""
    return np.array([colorsys.hsv_to_rgb(hue % 1, saturation, value) for hue in hues])
