"""Words name one colour and the palette shows another: which of them a picture sides with."""

import numpy as np
from PIL import Image

from benchmarks.base_model.world import World
from benchmarks.connect.metrics import lab, outlines
from recipes.base.captions import article
from recipes.modules.cells import COLOUR

SHADES = {
    "red": (215, 40, 45), "yellow": (250, 200, 40), "green": (60, 160, 70), "blue": (45, 110, 215),
    "purple": (140, 70, 190),
}  # fmt: skip
STEP = 2  # from the colour that is named to the one that is shown


def contradictions(world: World, count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Prompts such as 'a red fox', plain pictures of another colour, and the numbers of the colours named."""
    taught = {world.cells[row]["concept"] for row in world.rows("train")}
    labels = sorted(label for one in taught if not COLOUR.search(label := world.concepts[one]["label"]))
    chosen = np.random.default_rng(0).choice(labels, count)
    named = np.arange(count) % len(SHADES)
    names = list(SHADES)
    shown = np.stack([plain(SHADES[names[(one + STEP) % len(names)]]) for one in named])
    return [article(f"{names[one]} {label}") for one, label in zip(named, chosen, strict=True)], shown, named


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    """A picture (64, 64, 3) of one colour, from a darker to a lighter shade of it."""
    picture = Image.new("RGB", (64, 64), colour)
    shade = np.linspace(0.75, 1.1, 64)[:, None, None]
    return (np.asarray(picture) * shade).clip(0, 255).astype(np.uint8)


def sided_with_words(drawn: np.ndarray, named: np.ndarray) -> np.ndarray:
    """1 where the thing's mean colour, lightness aside, is nearer to the colour named than to the one shown."""
    targets = lab(np.array(list(SHADES.values()), dtype=float))[:, 1:]
    found = []
    for picture, thing, word in zip(drawn, outlines(drawn), named, strict=True):
        pixels = picture[thing] if thing.any() else picture.reshape(-1, 3)
        mean = lab(pixels.astype(float))[:, 1:].mean(0)
        words, shown = (np.linalg.norm(mean - targets[one % len(targets)]) for one in (word, word + STEP))
        found.append(float(words < shown))
    return np.array(found)
