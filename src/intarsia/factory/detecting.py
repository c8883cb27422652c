"""A shipped detector at work: a picture of any size in, boxes out, drawn if wanted."""

import torch
from PIL import Image, ImageDraw

from ..errors import FitError
from .boxes import Found, found
from .letterbox import Letterboxed
from .shipping import Built


@torch.no_grad()
def detect(built: Built, picture: Image.Image, *, least: float = 0.3) -> Found:
    """The things that a model was made for, in a picture of any size.

    Args:
        least: The score below which nothing is said.

    Returns:
        Boxes in pixels of the picture.

    Raises:
        FitError: the model chooses or answers, and finds nothing.
    """
    if not built.groups:
        raise FitError(f"this model tells apart {', '.join(built.answers)}; it does not find things in pictures.")
    fitted = Letterboxed.of(picture, built.size)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (built.mean, built.std))
    pixels = (fitted.pixels.float() / 255 - mean) / std
    (seen,) = found(built.model(pixels[None]), built.groups, built.size, least=least)
    limits = torch.tensor(picture.size).repeat(2)
    boxes = (seen.boxes / torch.tensor(fitted.scale).repeat(2)).minimum(limits)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)  # and not in what was added to the picture
    return Found(boxes[inside], seen.scores[inside])


def drawn(picture: Image.Image, seen: Found, enlarged: int = 1) -> Image.Image:
    """The picture with a frame around each thing and its score.

    Args:
        enlarged: How many times larger to draw it.
    """
    page = picture.convert("RGB").resize(
        (picture.width * enlarged, picture.height * enlarged), Image.Resampling.NEAREST
    )
    pen = ImageDraw.Draw(page)
    for box, score in zip((seen.boxes * enlarged).tolist(), seen.scores.tolist(), strict=True):
        pen.rectangle(box, outline="white", width=3)
        pen.rectangle(box, outline="crimson", width=1)
        said = f"{score:.2f}"
        place = (box[0] + 3, max(0.0, box[1] - 11))
        pen.rectangle(pen.textbbox(place, said), fill="crimson")
        pen.text(place, said, "white")
    return page
