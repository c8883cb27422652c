"""Writing without harm: whole or not at all, and never over what is there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputExists


def refuse_existing(path: Path) -> None:
    """Raise `OutputExists` if anything stands at `path`."""
    if path.exists():
        raise OutputExists(f"{path} exists, and nothing was written. Name another place, or remove it first.")


def write_text(path: Path, text: str) -> None:
    """Write a file in one stroke.

    Raises:
        OutputExists: something stands at `path`.
    """
    refuse_existing(path)
    replace_text(path, text)


def replace_text(path: Path, text: str) -> None:
    """Write a file in one stroke over what may stand there: for caches, not for a person's output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which appears at `path` once all is written, and not at all if anything goes wrong.

    Raises:
        OutputExists: something stands at `path`.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
