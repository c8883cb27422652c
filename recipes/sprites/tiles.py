"""The tiles of Dungeon Crawl Stone Soup: thousands of named 32x32 sprites, most of them public domain or CC0.

They lie in the source of the game, version 0.28.0; nothing of its code is used. Debian 12 has it, where sources are
switched on (`deb-src`):

    cd runs/sprites/data && apt-get source --download-only --tar-only crawl
"""

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from intarsia import CardError

ARCHIVE = "crawl_0.28.0.orig.tar.xz"
SHA256 = "5a6be168f8888b84bdb199184ca20bd8636f77ba7e9e0124ebee8850092f2f47"
TILES = "/source/rltiles/"


def checked(archive: Path) -> Path:
    """The archive, if it is the one that this recipe was written for.

    Raises:
        CardError: it is not there, or is another.
    """
    if not archive.exists():
        raise CardError(f"{archive}: there is no such file. See {__name__} for where to get it.")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise CardError(f"{archive}: not the source of version 0.28.0, or not whole. See {__name__}.")
    return archive


def tiles(archive: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tile of 32x32 pixels: its path among the tiles, without the ending, and (32, 32, 4) in bytes.

    Raises:
        CardError: the archive is not there, or is another.
    """
    with tarfile.open(checked(archive)) as tar:
        for member in tar:
            _, inside, path = member.name.partition(TILES)
            if not member.isfile() or not inside or not path.endswith(".png") or path.startswith("UNUSED"):
                continue
            held = tar.extractfile(member)
            assert held is not None
            try:
                picture = Image.open(held)
            except UnidentifiedImageError:  # a few are empty
                continue
            if picture.size == (32, 32):
                yield path.removesuffix(".png"), np.asarray(picture.convert("RGBA"))
