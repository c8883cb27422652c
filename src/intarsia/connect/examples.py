"""What a module is trained on: lessons, and a reference for each, encoded once and kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..hosts.lessons import Lessons, encoded_by, lessons_of
from ..pictures import opened
from .encoders import Encoder

LESSONS, REFERENCES = "lessons.safetensors", "references.safetensors"


@dataclass(frozen=True)
class Examples:
    """Lessons with references.

    Attributes:
        features: Of the different references, (references, tokens, width).
        reference: For each lesson, the number of its reference: (count).
    """

    lessons: Lessons
    features: Tensor
    reference: Tensor

    def __len__(self) -> int:
        return len(self.lessons)

    def batch(self, size: int, name: str, wordless: float) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        """For `Learning`: some examples drawn with numpy's generator, a share of them without words.

        Args:
            name: The module's.
        """
        rows = self.lessons.some(size)
        latents, words = self.lessons.chosen(rows, wordless)
        return latents, words, {name: self.features[self.reference[rows]].float()}

    def save(self, folder: Path) -> None:
        """As safetensors, in half precision. The references are written last."""
        self.lessons.save(folder / LESSONS)
        part = folder / f"{REFERENCES}.part"
        save_file({"features": self.features.half().contiguous(), "reference": self.reference}, part)
        part.replace(folder / REFERENCES)

    @classmethod
    def load(cls, folder: Path) -> "Examples | None":
        """What `save` wrote, if it did."""
        if not (folder / REFERENCES).exists():
            return None
        kept = load_file(folder / REFERENCES)
        return cls(Lessons.load(folder / LESSONS), kept["features"], kept["reference"])


@torch.no_grad()
def examples_of(
    pipe: DiffusionPipeline,
    rows: Sequence[Mapping[str, str]],
    encoder: Encoder,
    *,
    batch: int = 16,
    tell: Callable[[int], None] = lambda _: None,
) -> Examples:
    """Examples from rows of "file_name", "reference" and "text"; see `train.rows.read_rows`.

    A picture that is the reference of many rows is encoded once.

    Args:
        tell: Told how many more rows or references are done.
    """
    files = sorted({row["reference"] for row in rows})
    features = []
    for start in range(0, len(files), batch):
        part = [opened(file) for file in files[start : start + batch]]
        features.append(encoder(part).half())
        tell(len(part))
    pictures = [Path(row["file_name"]) for row in rows]
    lessons = lessons_of(pipe, [row["text"] for row in rows], encoded_by(pipe, pictures), batch=batch, tell=tell)
    places = {file: place for place, file in enumerate(files)}
    return Examples(lessons, torch.cat(features), torch.tensor([places[row["reference"]] for row in rows]))
