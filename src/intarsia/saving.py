"""Writing without harm: whole or not at all, and never over what is there."""

import os
import shutil
import tempfile
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
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        part.write(text)
    Path(part.name).chmod(0o644)
    Path(part.name).replace(path)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write, which appears at `path` once all is written, and not at all if anything goes wrong.

    Raises:
        OutputExists: something stands at `path`.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as made:
        part = Path(made.name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which appears at `path` once all is written, and not at all if anything goes wrong.

    Raises:
        OutputExists: something stands at `path`.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    part.chmod(0o755)
    try:
        yield part
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def cache_folder() -> Path:
    """Where measurements and converted graphs are kept: `INTARSIA_CACHE`, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "intarsia"
    return Path(os.environ.get("INTARSIA_CACHE", default))
