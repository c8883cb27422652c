"""How far a picture is what its references ask for: outlines, colours, and intervals of means."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from intarsia.connect.encoders import Silhouette

COLOURS = 8
RESAMPLED = 2000
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def outlines(pictures: np.ndarray) -> np.ndarray:
    """Where the things are: (count, height, width) of true and false."""
    see = Silhouette()
    return np.stack([see.mask(Image.fromarray(picture)) > 0 for picture in pictures])


def overlap(drawn: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Intersection over union of the outlines of pictures (count, height, width, 3), two by two: (count)."""
    ours, theirs = outlines(drawn), outlines(wanted)
    either = (ours | theirs).sum((1, 2))
    return np.where(either > 0, (ours & theirs).sum((1, 2)) / np.maximum(either, 1), 1.0)


def palette_distance(drawn: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far the colours of two things are apart in CIELAB, two by two: (count).

    Each colour of one goes to the nearest of the other, weighted by its share, and back; the mean of both ways.
    """
    pairs = zip(map(colours_of, drawn, outlines(drawn)), map(colours_of, wanted, outlines(wanted)), strict=True)
    found = []
    for (ours, our_shares), (theirs, their_shares) in pairs:
        apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
        found.append(0.5 * (our_shares @ apart.min(1) + their_shares @ apart.min(0)))
    return np.array(found)


def colours_of(picture: np.ndarray, thing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours of a thing, or of the ground if there is none, in CIELAB (at most `COLOURS`, 3), and their shares."""
    pixels = picture[thing] if thing.any() else picture.reshape(-1, 3)
    reduced = Image.fromarray(pixels[None]).quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    counts = np.bincount(np.asarray(reduced).ravel(), minlength=COLOURS)
    known = np.array(reduced.getpalette() or [], dtype=np.uint8).reshape(-1, 3)
    places = np.flatnonzero(counts)
    return lab(known[places]), counts[places] / counts.sum()


def lab(colours: np.ndarray) -> np.ndarray:
    """sRGB in bytes (count, 3) as CIELAB under D65."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    ratio = linear @ TO_XYZ.T / WHITE
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = bent.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def interval(values: Sequence[float] | np.ndarray, seed: int = 0) -> list[float]:
    """The 95 % bootstrap interval of a mean, of those values that are numbers."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    return edges([values[rows].mean() for rows in resampled(len(values), seed)])


def ratio_interval(part: np.ndarray, whole: np.ndarray, seed: int = 0) -> list[float]:
    """The 95 % bootstrap interval of the ratio of two means over the same pictures."""
    both = [(part[rows].mean(), whole[rows].mean()) for rows in resampled(len(part), seed)]
    return edges([one / other for one, other in both if other])


def resampled(count: int, seed: int) -> Iterator[np.ndarray]:
    """Rows drawn with replacement, again and again."""
    rng = np.random.default_rng(seed)
    return (rng.integers(count, size=count) for _ in range(RESAMPLED))


def edges(values: Sequence[float]) -> list[float]:
    """Between these are 95 % of the values."""
    return [float(edge) for edge in np.percentile(values, [2.5, 97.5])] if len(values) else [float("nan")] * 2
