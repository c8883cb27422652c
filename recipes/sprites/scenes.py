"""Scenes of sprites on real floor tiles, with exact boxes from what is seen of each sprite."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .sprites import CLASSES, NAMES, Sprites

TILE = 32
PAIRS = tuple((number, colour) for number in range(len(CLASSES)) for colour in range(len(NAMES)))  # class and colour
UNSEEN = tuple((number, number % len(NAMES)) for number in range(len(CLASSES)))  # pairs in no picture to learn from


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        picture: (side, side, 3) in bytes.
        boxes: (things, 4): left, top, right, bottom in pixels, around what is seen.
        classes: (things): numbers in `CLASSES`.
        colours: (things): numbers in `NAMES`.
    """

    picture: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class Scenery:
    """Draws scenes.

    Attributes:
        tested: With the sprites that are for tests, or with the others.
        pairs: The only (class, colour) pairs to draw; None: all but `UNSEEN`.
        side: Of the pictures, in pixels.
        things: The fewest and the most in a scene.
        sizes: Of things, in tiles, so that each resolution of a detector has some to answer for.
        least: Share of a thing's pixels that must be seen; what is hidden more is left out.
        clutter: The most things of no class in a scene.
    """

    sprites: Sprites
    tested: bool = False
    pairs: Sequence[tuple[int, int]] | None = None
    side: int = 96
    things: tuple[int, int] = (1, 4)
    sizes: tuple[float, float] = (0.6, 2.2)
    least: float = 0.5
    clutter: int = 3

    def rows(self) -> np.ndarray:
        """The sprites to draw."""
        held = self.sprites
        pairs = list(zip(held.classes.tolist(), held.colours.tolist(), strict=True))
        wanted = [pair not in UNSEEN if self.pairs is None else pair in self.pairs for pair in pairs]
        return np.flatnonzero((held.tested == self.tested) & np.array(wanted))

    def draw(
        self, draws: np.random.Generator, rows: np.ndarray | None = None, asked: np.ndarray | None = None
    ) -> Scene:
        """One scene.

        Args:
            rows: Sprites to choose from, if not all of `rows()`; asking once is faster.
            asked: Sprites of which one is put into the scene, though others may hide it; at least one.
        """
        held, rows = self.sprites, self.rows() if rows is None else rows
        canvas = self._floor(draws)
        for _ in range(draws.integers(0, self.clutter + 1)):
            placed(held.clutter[draws.integers(len(held.clutter))], self.side, draws, (0.8, 1.2)).paint(canvas)
        count = draws.integers(self.things[0], self.things[1] + 1)
        classes = draws.integers(len(CLASSES), size=count)  # classes first, so that each is met equally often
        chosen = [draws.choice(own) for number in classes if len(own := rows[held.classes[rows] == number])]
        if asked is not None:
            place = draws.integers(len(chosen) + 1)
            chosen[place : place + 1] = [draws.choice(asked)]  # instead of another, or on top of all
        sprites = [placed(held.pictures[row], self.side, draws, self.sizes) for row in chosen]
        hidden, boxes, kept = np.zeros(canvas.shape[:2], bool), [], []
        for place in reversed(range(len(chosen))):  # who lies on top is seen whole
            mask = sprites[place].mask
            seen = mask & ~hidden
            if seen.sum() >= max(1, self.least * mask.sum()):  # a glimpse would be a thing that nobody is told of
                hidden |= mask
                (top, left), (bottom, right) = np.argwhere(seen).min(0), np.argwhere(seen).max(0) + 1
                boxes.insert(0, (left, top, right, bottom))
                kept.insert(0, place)
        for place in kept:
            sprites[place].paint(canvas)
        kept = [chosen[place] for place in kept]
        return Scene(
            canvas.astype(np.uint8), np.array(boxes, np.float32).reshape(-1, 4),
            held.classes[kept].astype(np.int64), held.colours[kept].astype(np.int64),
        )  # fmt: skip

    def _floor(self, draws: np.random.Generator) -> np.ndarray:
        """(side, side, 3): tiles of one kind of floor."""
        held = self.sprites
        own = np.flatnonzero(held.kinds == draws.integers(held.kinds.max() + 1))
        across = -(-self.side // TILE)
        tiles = held.floors[draws.choice(own, (across, across))]
        floor = tiles.transpose(0, 2, 1, 3, 4).reshape(across * TILE, across * TILE, 3)
        return floor[: self.side, : self.side].astype(np.float32) * draws.uniform(0.6, 1.1)


@dataclass(frozen=True)
class Placed:
    """A sprite as it lies in a scene.

    Attributes:
        picture: (height, width, 4), up to 255.
        top, left: Of its corner, in pixels.
        side: Of the scene.
    """

    picture: np.ndarray
    top: int
    left: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The pixels of a scene that it may cover."""
        height, width = self.picture.shape[:2]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def mask(self) -> np.ndarray:
        """(side, side): where it is opaque."""
        mask = np.zeros((self.side, self.side), bool)
        mask[self.window] = self.picture[..., 3] > 127.5
        return mask

    def paint(self, canvas: np.ndarray) -> None:
        """Put it on a canvas (side, side, 3), up to 255."""
        part = canvas[self.window]
        part += self.picture[..., 3:] / 255 * (self.picture[..., :3] - part)
        np.clip(canvas, 0, 255, out=canvas)


def placed(sprite: np.ndarray, side: int, draws: np.random.Generator, sizes: tuple[float, float]) -> Placed:
    """A sprite somewhere in a scene, of some size, perhaps mirrored."""
    own = round(TILE * draws.uniform(*sizes))
    picture = np.asarray(Image.fromarray(sprite).resize((own, own), Image.Resampling.BILINEAR)).astype(np.float32)
    if draws.random() < 0.5:
        picture = picture[:, ::-1]
    top, left = draws.integers(0, side - own + 1, size=2)
    return Placed(picture, top, left, side)
