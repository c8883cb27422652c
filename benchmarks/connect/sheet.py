"""The sheet of the docs: prompts, words alone, with each sense, and with all, beside what each was shown.

    python -m benchmarks.connect.sheet                      docs/senses.png, of the modules that ship
    python -m benchmarks.connect.sheet --seed 3 -o out.png  other things and references; written nowhere twice

References are pictures that neither the model nor its senses learnt from. Needs what `recipes.base.run` keeps.
"""

from copy import copy
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks.base_model.world import taught_world
from benchmarks.connect.trials import showable
from intarsia.cli.contact import page_of
from intarsia.connect import shown
from intarsia.connect.encoders import Silhouette
from intarsia.hosts.pipelines import load_pipeline
from intarsia.saving import new_file, refuse_existing
from intarsia.shipped import GUIDANCE, model_folder, modules_of
from recipes.base.captions import article
from recipes.modules.changed import recoloured
from recipes.modules.senses import ENCODERS

SHOWN = tuple(ENCODERS)
STYLES = ("3d", "high contrast", "noto")  # in turn, from row to row: those that are the easiest to tell apart


def outline(picture: Image.Image) -> Image.Image:
    """All that the sense of outlines sees: a picture in full would look as if style and colours came from it too."""
    return Image.fromarray(np.where(Silhouette().mask(picture) > 0, 0, 255).astype(np.uint8)).convert("RGB")


SEEN = {"silhouette": outline}  # how references are printed, where not as they are


def main(
    out: Path = typer.Option(Path("docs/senses.png"), "--out", "-o", help="Where the sheet goes."),
    rows: int = typer.Option(6, help="How many prompts."),
    steps: int = typer.Option(25, help="Sampler steps."),
    seed: int = typer.Option(2, help="Which things and references, and of the noise."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
) -> None:
    """Draw the sheet."""
    refuse_existing(out)
    folder = model_folder("emoji")
    lacking = [name for name in SHOWN if name not in modules_of(folder)]
    if lacking:
        raise SystemExit(f"{folder}: no module {', '.join(lacking)} ships yet; train it: python -m recipes.modules.run")
    pipe = load_pipeline(folder)
    prompts, references = asked(base, rows, seed)

    def drawn(*names: str) -> list[Image.Image]:
        seeded = [torch.Generator().manual_seed(seed + number) for number in range(rows)]
        settings = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "generator": seeded}
        if not names:
            return pipe(prompts, **settings).images
        with shown(pipe, {name: references[name] for name in names}):
            return pipe(prompts, **settings).images

    columns = {"text only": drawn()}
    for name in SHOWN:
        columns |= {f"{name}: shown": list(map(SEEN.get(name, copy), references[name])), f"+ {name}": drawn(name)}
    page = page_of(prompts, columns | {"all three": drawn(*SHOWN)})
    with new_file(out) as part:
        page.save(part, format="PNG", optimize=True)
    print(f"wrote {out}")


def asked(base: Path, count: int, seed: int) -> tuple[list[str], dict[str, list[Image.Image]]]:
    """Prompts of different things, and for each a reference of every sense."""
    world, rng = taught_world(base), np.random.default_rng(seed)
    np.random.seed(seed)
    things = {world.cells[row]["concept"]: row for row in showable(world, world.rows("cell"))}
    chosen = [things[thing] for thing in rng.choice(sorted(things), count, replace=False)]
    strange = rng.permutation(world.rows("concept"))
    styled = {style: [row for row in strange if world.cells[row]["style"] == style] for style in STYLES}
    pictures = {
        "style": world.pictures[[styled[STYLES[row % len(STYLES)]][row] for row in range(count)]],
        "silhouette": world.pictures[chosen],
        "palette": recoloured(world.pictures[chosen[1:] + chosen[:1]]),
    }
    references = {name: [Image.fromarray(one) for one in found] for name, found in pictures.items()}
    return [article(world.concepts[world.cells[row]["concept"]]["label"]) for row in chosen], references


if __name__ == "__main__":
    typer.run(main)
