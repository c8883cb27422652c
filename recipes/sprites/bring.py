"""Bring the tiles of Dungeon Crawl Stone Soup: thousands of named 32x32 sprites, most of them public domain or CC0.

They lie in Debian's source package of the game; nothing of the game's code is used.
"""

import hashlib
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from intarsia import CardError

URL = "https://deb.debian.org/debian/pool/main/c/crawl/crawl_0.28.0.orig.tar.xz"
SHA256 = "5a6be168f8888b84bdb199184ca20bd8636f77ba7e9e0124ebee8850092f2f47"
TILES = "/source/rltiles/"


def bring(archive: Path) -> None:
    """Download the package, unless it is there.

    Raises:
        CardError: what came is not what was to come.
    """
    if archive.exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(URL) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise CardError(f"{URL}: not the file that this recipe was written for. Try again, or bring it by hand.")
    part = archive.with_suffix(".part")
    part.write_bytes(content)
    part.rename(archive)


def tiles(archive: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tile of 32x32 pixels: its path among the tiles, without the ending, and (32, 32, 4) in bytes."""
    with tarfile.open(archive) as tar:
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
