"""Render every (concept, style) cell once, at 64 pixels on white, and write the split down once."""

import io
import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image
from rich.progress import track

from .concepts import STYLES, Concept, read_concepts

PIXELS = 64
CONCEPTS_HELD_OUT = 100
CELLS_HELD_OUT = 0.05


def svg_of(icons: dict, name: str) -> str:
    """One iconify icon as an SVG document."""
    alias = icons.get("aliases", {}).get(name)
    icon = icons["icons"][alias["parent"] if alias else name]
    box = [{**icons, **icon}.get(key, 0) for key in ("left", "top", "width", "height")]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'


def on_white(png: bytes) -> np.ndarray:
    """A picture with alpha as (PIXELS, PIXELS, 3) bytes on white, its sides padded to a square."""
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    side = max(drawn.size)
    page = Image.new("RGBA", (side, side), "white")
    page.alpha_composite(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return np.asarray(page.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS))


def split(concepts: list[Concept], seed: int = 0) -> dict[str, str]:
    """Which part each cell belongs to: `train`, `cell` (held-out cell) or `concept` (held-out concept).

    The styles of one family share one drawing, so a concept's cells of a family stay on one side.
    """
    rng = random.Random(seed)
    hidden = {concept.code for concept in rng.sample(concepts, CONCEPTS_HELD_OUT)}
    parts = {}
    for concept in concepts:
        families = sorted({STYLES[style][1] for style in concept.names})
        out = {family for family in families if rng.random() < CELLS_HELD_OUT}
        for style in concept.names:
            part = "cell" if STYLES[style][1] in out else "train"
            parts[f"{concept.code}/{style}"] = "concept" if concept.code in hidden else part
    return parts


def render(packages: Path, out: Path, split_file: Path) -> None:
    """Write `pictures.npy` (cells, 64, 64, 3), `cells.json` and, if there is none yet, the split."""
    if (out / "cells.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    concepts = read_concepts(packages)
    if not split_file.exists():
        split_file.write_text(json.dumps(split(concepts), indent=0) + "\n")
    parts = json.loads(split_file.read_text())

    cells, pictures = [], []
    for style, (folder, _) in STYLES.items():
        source = packages / folder
        icons = {} if style == "3d" else json.loads((source / "icons.json").read_text())
        for number, concept in enumerate(track(concepts, description=f"render {style}")):
            name = concept.names.get(style)
            if name is None:
                continue
            if style == "3d":
                png = (source / "assets" / name).read_bytes()
            else:
                png = bytes(resvg_py.svg_to_bytes(svg_string=svg_of(icons, name), width=4 * PIXELS))
            pictures.append(on_white(png))
            cells.append({"concept": number, "style": style, "part": parts[f"{concept.code}/{style}"]})
    np.save(out / "pictures.npy", np.stack(pictures))
    words = [{key: value for key, value in asdict(concept).items() if key != "names"} for concept in concepts]
    (out / "cells.json").write_text(json.dumps({"styles": list(STYLES), "concepts": words, "cells": cells}))
