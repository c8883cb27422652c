"""What the emoji model was to learn: real pictures, what they show, and who held what out."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.base.captions import prompt_of
from recipes.base.concepts import taught


@dataclass(frozen=True)
class World:
    """Taught concepts, held-out ones and held-out cells of the others among them.

    Attributes:
        pictures: (cells, 64, 64, 3) in bytes.
        cells: For each picture its `concept` (a number), `style`, `part` and `prompt`.
        concepts: For each number `label`, `subgroup` and more.
    """

    pictures: np.ndarray
    cells: list[dict]
    concepts: list[dict]
    styles: list[str]

    def rows(self, part: str) -> list[int]:
        """Where the cells of a part are: `train`, `cell` (held out) or `concept` (held out with all its styles)."""
        return [row for row, cell in enumerate(self.cells) if cell["part"] == part]


def taught_world(runs: Path) -> World:
    """Read what the recipe drew."""
    listed = json.loads((runs / "pictures/cells.json").read_text())
    pictures = np.load(runs / "pictures/pictures.npy", mmap_mode="r")
    numbers = [number for number, concept in enumerate(listed["concepts"]) if taught(concept)]
    renumbered = {number: place for place, number in enumerate(numbers)}
    rows = [row for row, cell in enumerate(listed["cells"]) if cell["concept"] in renumbered]
    concepts = [listed["concepts"][number] for number in numbers]
    cells = []
    for cell in (listed["cells"][row] for row in rows):
        place = renumbered[cell["concept"]]
        cells.append({**cell, "concept": place, "prompt": prompt_of(concepts[place]["label"], cell["style"])})
    return World(pictures[rows], cells, concepts, sorted(listed["styles"]))
