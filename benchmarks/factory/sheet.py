"""The sheet of the docs: what is asked for, a scene, and what models of several sizes find in it.

    python -m benchmarks.factory.sheet                      docs/found.png, of the kit that ships
    python -m benchmarks.factory.sheet --seed 3 -o out.png  other scenes; written nowhere twice

Scenes are of sprites that were not learned from. Needs what `recipes.sprites.run` needs.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import typer
from PIL import Image

from intarsia import factory
from intarsia.cli.contact import page_of
from intarsia.factory import Kit
from intarsia.factory.detecting import detect, drawn
from intarsia.factory.shipping import Built
from intarsia.saving import new_file, refuse_existing
from intarsia.shipped import kit_folder
from recipes.sprites.lessons import SPACE, fitting_rows
from recipes.sprites.scenes import PAIRS, Scenery
from recipes.sprites.sprites import read

ASKED = ("red sword", "blue book", "any colour potion", "grey armour", "purple anything", "dragon")
SHARES = (1.0, 0.5, 0.2)  # of the MACs of the whole model for the task
ENLARGED = 2  # so that scores can be read where they are printed


def main(
    out: Path = typer.Option(Path("docs/found.png"), "--out", "-o", help="Where the sheet goes."),
    scene: Path | None = typer.Option(None, help="Where the first scene goes, without boxes."),
    seed: int = typer.Option(0, help="Of the scenes."),
    data: Path = typer.Option(Path("runs/sprites/data"), help="Where the source of the game is."),
) -> None:
    """Draw the sheet."""
    torch.set_num_threads(1)
    for one in (out, *([scene] if scene else [])):
        refuse_existing(one)
    kit, sprites = factory.load_kit(kit_folder("sprites")), read(data)
    scenery, draws = Scenery(sprites, tested=True, pairs=PAIRS), np.random.default_rng(seed)
    rows = scenery.rows()
    scenes = [
        Image.fromarray(scenery.draw(draws, rows, fitting_rows(sprites, rows, SPACE.read(words))).picture)
        for words in ASKED
    ]
    columns = {"scene": [enlarged(one) for one in scenes]}
    for share in SHARES:
        columns[f"{share:.0%} of the MACs"] = [
            drawn(one, detect(ordered(kit, words, share), one), ENLARGED)
            for words, one in zip(ASKED, scenes, strict=True)
        ]
    with new_file(out) as part:
        page_of(ASKED, columns).save(part, format="PNG", optimize=True)
    print(f"wrote {out}")
    if scene is not None:
        with new_file(scene) as part:
            columns["scene"][0].save(part, format="PNG", optimize=True)
        print(f"wrote {scene}")


def enlarged(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width * ENLARGED, picture.height * ENLARGED), Image.Resampling.NEAREST)


def ordered(kit: Kit, words: str, share: float) -> Built:
    """The model for a task at a share of the MACs."""
    task = kit.space.read(words)
    whole = kit.assembler.rank([task], kit.grounds)[0].costs["macs"][-1]
    order = factory.Order(task, factory.Budget(macs=share * float(whole)))
    with TemporaryDirectory() as scrap:
        return factory.rebuild(factory.ship(order, factory.fulfil(order, kit), kit, Path(scrap) / "model"))


if __name__ == "__main__":
    typer.run(main)
