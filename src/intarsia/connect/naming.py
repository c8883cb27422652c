"""Encoders by name: what a person writes for one, and what a module's card calls it."""

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import CardError
from .encoders import Encoder, FolderFeatures, LiteFeatures, Palette, Silhouette, Texture
from .modality import Features

# The names that encoders give themselves in cards, with their sizes; without sizes, people's names for them.
KINDS: dict[str, tuple[str, Callable[..., Encoder]]] = {
    "efficientnet": (r"efficientnet-lite0/(\d+)", LiteFeatures),
    "texture": (r"texture/(\d+)", Texture),
    "silhouette": (r"silhouette/(\d+)/(\d+)", Silhouette),
    "palette": (r"palette/(\d+)", Palette),
}


def encoder_named(name: str) -> Encoder:
    """An encoder, by its name ("palette"), by what a card calls it ("palette/8"), or by its folder (CLIP's or DINO's).

    Raises:
        CardError: there is none of this name and no such folder.
        RigError: its packages are not installed.
    """
    for short, (pattern, make) in KINDS.items():
        found = re.fullmatch(pattern, name)
        if name == short or found:
            return make(*map(int, found.groups() if found else ()))
    if not Path(name).is_dir():
        raise CardError(
            f"there is no encoder {name!r}. Name one of {', '.join(KINDS)}, or the folder of a vision model."
        )
    return FolderFeatures(Path(name))


def encoder_for(name: str, features: Features, asked: str | None = None) -> Encoder:
    """The encoder that a module looks through.

    Args:
        name: The module's, for complaints.
        asked: As in `encoder_named`, for modules that look through a model in a folder.

    Raises:
        CardError: it cannot be told from the card, or is another than asked for.
        RigError: its packages are not installed.
    """
    ours = any(re.fullmatch(pattern, features.encoder) for pattern, _ in KINDS.values())
    if asked is None and not ours:
        raise CardError(f"{name!r} looks through {features.encoder}; say in which folder that is.")
    found = encoder_named(features.encoder if asked is None else asked)
    if found.features != features:
        raise CardError(
            f"{name!r} looks through {features.encoder} with features of width {features.width}, "
            f"and {asked!r} is {found.features.encoder} of width {found.features.width}; name that which it knows."
        )
    return found
