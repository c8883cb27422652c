"""Pictures as people keep them: turned as the camera was held, in 8 bits, seen on white where one can see through."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import CardError


def opened(path: str | Path) -> Image.Image:
    """A picture, read whole.

    Raises:
        CardError: it cannot be.
    """
    try:
        with Image.open(path) as found:
            shown = ImageOps.exif_transpose(found)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise CardError(f"{path}: not a picture that can be read; name a PNG, JPEG, GIF or WebP.") from error
    except OSError as error:
        raise CardError(f"{path}: cannot be read as a picture ({error.strerror or error}).") from error
    if shown.mode.startswith("I;16"):  # greys of 16 bits, which Pillow clips instead of scaling
        return Image.fromarray((np.asarray(shown, np.float32) / 257).round().astype(np.uint8))
    return shown


def see_through(picture: Image.Image) -> bool:
    """Whether any of it is: many a picture has an alpha channel and is opaque throughout."""
    if not picture.has_transparency_data:
        return False
    return bool((np.asarray(picture.convert("RGBA"))[..., 3] < 255).any())


def on_white(picture: Image.Image) -> Image.Image:
    """A picture without transparency, as it looks on paper."""
    if not see_through(picture):
        return picture.convert("RGB")
    seen = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
