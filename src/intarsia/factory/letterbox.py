"""Pictures of any shape for a model of one size."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GREY = 127  # of what is added at the right or below, to fill the detector's picture


@dataclass(frozen=True)
class Letterboxed:
    """A picture scaled to fit a size, grey at the right or below.

    Attributes:
        pixels: Bytes, (3, height, width).
        scale: What lengths were multiplied by, across and down.
    """

    pixels: Tensor
    scale: tuple[float, float]

    @classmethod
    def of(cls, picture: Image.Image, size: tuple[int, int, int]) -> "Letterboxed":
        """For a size of (3, height, width)."""
        shrunk = min(size[1] / picture.height, size[2] / picture.width)
        across, down = (max(1, round(side * shrunk)) for side in picture.size)
        canvas = np.full((size[1], size[2], 3), GREY, np.uint8)
        canvas[:down, :across] = np.asarray(picture.convert("RGB").resize((across, down), Image.Resampling.BILINEAR))
        return cls(torch.from_numpy(canvas).permute(2, 0, 1), (across / picture.width, down / picture.height))
