"""Captions crossed with pictures of another style or another thing, so that unseen pairs of the two are met.

Taught with its own caption alone, a small model knows each (thing, style) pair by heart: it draws a fish when
asked for a fish, yet not a fish in a style that it never saw a fish in. Two facts help. Where noise is high a
picture is layout, which one thing's styles share; where noise is low it is strokes and shading, which one
style's things share. So at high noise a caption sometimes names another style than the picture's, and at low noise
another thing: every pair of words is met at both ends, whether or not there is a picture of it.

Styles pay for it: much of what makes a style is settled at high noise too. Once things are known, few captions name
another style; the share was .7 at first, then .3.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

RESTYLED = (0.04, 0.3, 0.65)  # share of captions at full strength; share of the time steps where it begins and is full
RENAMED = (0.3, 0.5, 0.15)


def share(times: Tensor, steps: int, ramp: tuple[float, float, float]) -> Tensor:
    """How often a caption is crossed at each time step, (batch,)."""
    most, begins, full = ramp
    return most * ((times / steps - begins) / (full - begins)).clamp(0, 1)


def crossed(said: Tensor, restyled: Tensor, renamed: Tensor, times: Tensor, steps: int) -> Tensor:
    """The token states to train with: each of the three of shape (batch, tokens, width)."""
    drawn = torch.rand(2, len(times), device=times.device)
    style = drawn[0] < share(times, steps, RESTYLED)
    thing = drawn[1] < share(times, steps, RENAMED)
    said = torch.where(thing[:, None, None], renamed, said)
    return torch.where(style[:, None, None], restyled, said)


class Crossings:
    """Rows of captions that share a picture's thing or its style.

    Args:
        cells: Every cell; `rows` are those whose words may be said, held-out pictures' among them: words alone
            give nothing away.
    """

    def __init__(self, cells: Sequence[dict], rows: np.ndarray) -> None:
        self._things = np.array([cell["concept"] for cell in cells])
        names = sorted({cell["style"] for cell in cells})
        self._styles = np.array([names.index(cell["style"]) for cell in cells])
        self._of_thing = {thing: rows[self._things[rows] == thing] for thing in np.unique(self._things[rows])}
        self._of_style = {style: rows[self._styles[rows] == style] for style in np.unique(self._styles[rows])}

    def restyled(self, chosen: np.ndarray) -> np.ndarray:
        """For each row, one of the same thing in any style."""
        return np.array([np.random.choice(self._of_thing[thing]) for thing in self._things[chosen]])

    def renamed(self, chosen: np.ndarray) -> np.ndarray:
        """For each row, one of any thing in the same style."""
        return np.array([np.random.choice(self._of_style[style]) for style in self._styles[chosen]])
