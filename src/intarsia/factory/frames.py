"""Pictures as they lie in their files, and as they are shown: a camera keeps what it saw, and says how to turn it.

Boxes are of either, as the tool had it that drew them. The size that stands beside them tells which. Where it fits
both, as of a square or of what is upside down, they are of the shown picture, which `intarsia detect` looks at too.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import ExifTags, Image
from torch import Tensor

# By EXIF's number for a picture that lies on its side: whether it is mirrored across and down, once it is transposed.
SIDEWAYS = {5: (False, False), 6: (True, False), 7: (True, True), 8: (False, True)}


@dataclass(frozen=True)
class Frame:
    """How a picture lies in its file.

    Attributes:
        path: Of the file.
        stored: Width and height there.
        orientation: EXIF's number for how to turn it, 1 to 8.
    """

    path: Path
    stored: tuple[int, int]
    orientation: int = 1

    @classmethod
    def of(cls, path: Path) -> "Frame":
        """A file's, which is read whole, for it may end too early.

        Raises:
            OSError, SyntaxError, ValueError, DecompressionBombError: as Pillow does.
        """
        with Image.open(path) as found:
            found.load()  # a PNG may tell its orientation last
            return cls(path, found.size, found.getexif().get(ExifTags.Base.Orientation, 1))

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height once it is turned."""
        return (self.stored[1], self.stored[0]) if self.orientation in SIDEWAYS else self.stored

    def unlike(self, said: tuple[int, int]) -> str | None:
        """How the picture differs from a size that is said of it; None if it is of that size, shown or stored."""
        if said in (self.shown, self.stored):
            return None
        known = f"{'x'.join(map(str, self.shown))} and not {'x'.join(map(str, said))}"
        if self.shown == self.stored:
            return known
        return f"{known}, nor {'x'.join(map(str, self.stored))} as it is stored, before its EXIF turns it"

    def as_shown(self, boxes: Tensor, said: tuple[int, int]) -> Tensor:
        """Boxes where they are in the shown picture.

        Args:
            boxes: (things, 4): left, top, right, bottom, in pixels of a picture of the size `said`.
        """
        if said == self.shown:
            return boxes
        corners = boxes.reshape(-1, 2, 2).flip(2)
        mirrored = torch.tensor(SIDEWAYS[self.orientation])
        corners = torch.where(mirrored, torch.tensor(self.shown) - corners, corners)
        return torch.cat([corners.amin(1), corners.amax(1)], 1)
