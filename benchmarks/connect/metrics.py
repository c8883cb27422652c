"""How far a picture is what its references ask for: outlines, colours, and intervals of means."""

from collections.abc import Sequence

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


def interval(values: Sequence[float] | np.ndarray, cells: np.ndarray | None = None) -> list[float]:
    """The 95 % bootstrap interval of a mean, of those values that are numbers; see `ratio_interval`."""
    values = np.asarray(values, dtype=float)
    known = ~np.isnan(values)
    return ratio_interval(values[known], np.ones(known.sum()), None if cells is None else cells[known])


def ratio_interval(part: np.ndarray, whole: np.ndarray, cells: np.ndarray | None = None, seed: int = 0) -> list[float]:
    """The 95 % bootstrap interval of the ratio of two means over the same pictures.

    Args:
        cells: Which cell each picture is of. Pictures of one cell are alike, so cells are drawn with replacement, each
            with all of its pictures. None: each picture has its own.
    """
    _, of = np.unique(np.arange(len(part)) if cells is None else cells, return_inverse=True)
    sums = np.stack([np.bincount(of, one) for one in (part, whole)])
    parts, wholes = sums[:, np.random.default_rng(seed).integers(sums.shape[1], size=(RESAMPLED, sums.shape[1]))].sum(2)
    ratios = parts[wholes != 0] / wholes[wholes != 0]
    return [float(edge) for edge in np.percentile(ratios, [2.5, 97.5])] if len(ratios) else [float("nan")] * 2
