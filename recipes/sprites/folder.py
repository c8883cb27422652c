"""Scenes as a person would have them: pictures and boxes in COCO's format, of sprites that were not learned from.

python -m recipes.sprites.folder -o scenes
intarsia frontier sprites --task "red sword" --pictures scenes -o out/frontier
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from intarsia.saving import new_folder, refuse_existing
from recipes.kits import command

from .scenes import PAIRS, Scene, Scenery
from .sprites import CLASSES, NAMES, read


def as_coco(scenes: Sequence[Scene]) -> dict[str, list[dict[str, object]]]:
    """What a folder's `annotations.json` holds; pictures go by their numbers."""
    images, annotations = [], []
    for number, scene in enumerate(scenes):
        height, width = scene.picture.shape[:2]
        images.append({"id": number, "file_name": f"{number:03d}.png", "width": width, "height": height})
        for (left, top, right, bottom), kind, colour in zip(
            scene.boxes.tolist(), scene.classes.tolist(), scene.colours.tolist(), strict=True
        ):
            annotations.append({
                "id": len(annotations), "image_id": number, "category_id": kind + 1,
                "bbox": [left, top, right - left, bottom - top], "attributes": {"colour": NAMES[colour]},
            })  # fmt: skip
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def main(
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write; must not exist."),
    count: int = typer.Option(200, min=1, help="How many scenes."),
    seed: int = typer.Option(0, help="Of the scenes."),
    data: Path = typer.Option(Path("runs/sprites/data"), help="Where the source of the game, version 0.28.0, is."),
) -> None:
    """Draw scenes into a folder."""
    refuse_existing(out)
    scenery, draws = Scenery(read(data), tested=True, pairs=PAIRS), np.random.default_rng(seed)
    rows = scenery.rows()
    scenes = [scenery.draw(draws, rows) for _ in range(count)]
    content = as_coco(scenes)
    with new_folder(out) as part:
        for scene, image in zip(scenes, content["images"], strict=True):
            Image.fromarray(scene.picture).save(part / str(image["file_name"]), optimize=True)
        (part / "annotations.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(f"wrote {out}: {count} scenes")


if __name__ == "__main__":
    command(main)
