"""Pictures of any shape for a model of one size."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import FitError
from ..pictures import on_white

GREY = 127  # of what is added at the right or below, to fill the detector's picture


@dataclass(frozen=True)
class Letterboxed:
    """A picture scaled to fit a size, grey at the right or below, white where one could see through it.

    Attributes:
        pixels: Bytes, (3, height, width).
        scale: What lengths were multiplied by, across and down.
    """

    pixels: Tensor
    scale: tuple[float, float]

    @classmethod
    def of(cls, picture: Image.Image, size: tuple[int, int, int]) -> "Letterboxed":
        """For a size of (3, height, width).

        Raises:
            FitError: of other channels.
        """
        if size[0] != len("RGB"):
            raise FitError(f"pictures have red, green and blue, and the detector takes {size[0]}: say in_chans=3.")
        shrunk = min(size[1] / picture.height, size[2] / picture.width)
        across, down = (max(1, round(side * shrunk)) for side in picture.size)
        canvas = np.full((size[1], size[2], 3), GREY, np.uint8)
        canvas[:down, :across] = np.asarray(on_white(picture).resize((across, down), Image.Resampling.BILINEAR))
        return cls(torch.from_numpy(canvas).permute(2, 0, 1), (across / picture.width, down / picture.height))
