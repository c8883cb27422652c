"""Sort the tiles of Dungeon Crawl Stone Soup into sprites, and draw a sheet of scenes to look at.

python -m recipes.sprites.run crawl_0.28.0.orig.tar.xz      `recipes/sprites/tiles.py` says where it is from
"""

from pathlib import Path

import numpy as np
import typer
from PIL import Image

from .scenes import Scenery
from .sprites import sorted_out
from .tiles import tiles

SHOWN = (4, 8)  # rows and columns of the sheet


def main(
    archive: Path = typer.Argument(..., help="The source of the game, version 0.28.0."),
    runs: Path = typer.Option(Path("runs/sprites"), help="Where sprites.npz and scenes.png go."),
    seed: int = typer.Option(0, help="Of the sheet."),
) -> None:
    """Run the recipe."""
    sprites = sorted_out(tiles(archive))
    runs.mkdir(parents=True, exist_ok=True)
    sprites.save(runs / "sprites.npz")
    scenery, draws = Scenery(sprites), np.random.default_rng(seed)
    rows = scenery.rows()
    sheet = np.stack([scenery.draw(draws, rows).picture for _ in range(SHOWN[0] * SHOWN[1])])
    side = scenery.side
    grid = sheet.reshape(*SHOWN, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(SHOWN[0] * side, SHOWN[1] * side, 3)
    Image.fromarray(grid).save(runs / "scenes.png")
    print(f"{len(sprites.pictures)} sprites, {int(sprites.tested.sum())} of them for tests; wrote {runs}")


if __name__ == "__main__":
    typer.run(main)
