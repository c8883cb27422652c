"""The folders that ship: replaced whole, within a size, each with a card that says where its weights come from."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shipped_folder(out: Path, *, limit_mb: float, keep: Sequence[str] = ()) -> Iterator[Path]:
    """A folder to fill, which then takes the place of the one that ships, unless it is too large.

    Args:
        keep: Folders of the one that ships which stay, for others write them. They do not count for the limit.
    """
    part, old = out.with_suffix(".part"), out.with_suffix(".old")
    settle(out, old)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file()) / 1e6
    if size > limit_mb:
        raise SystemExit(f"the folder would be {size:.1f} MB, more than {limit_mb}")
    for name in keep:
        if (out / name).exists():
            shutil.copytree(out / name, part / name)
    if out.exists():
        out.rename(old)
    part.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    print(f"wrote {out}: {size:.1f} MB")


def settle(out: Path, old: Path) -> None:
    """Undo what a kill left: all that shipped is in `old` if it came between the two renames, in the way if after."""
    if old.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def commit() -> str:
    """The short name of the commit that stands checked out."""
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def write_card(template: Path, folder: Path, values: Mapping[str, str]) -> None:
    """Fill in a card: every `{name}` that has a value, and `{commit}`."""
    card = template.read_text()
    for name, value in {**values, "commit": commit()}.items():
        card = card.replace("{" + name + "}", value)
    (folder / "README.md").write_text(card)
