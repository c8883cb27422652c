"""What is asked for and shown: things by word, and references that no module and no denoiser has seen.

The words are 'a fox' and no more. A style is shown by a thing that nobody learnt, in a style drawn by lot; an outline
by a held-out picture of the thing asked for; colours by that picture with its hues turned. So the three are
independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.base_model.exam import Exam, held_out
from benchmarks.connect.assembly import Scale
from benchmarks.connect.metrics import overlap, palette_distance
from benchmarks.connect.strokes import Strokes, styles_of
from intarsia.connect.encoders import Encoder
from recipes.base.captions import article
from recipes.modules.changed import recoloured

SENSES = ("palette", "silhouette", "style")
STROKES, TEXTURE, FOLLOWED = "style by strokes", "style by texture", "concept top-1"


@dataclass(frozen=True)
class Trials:
    """Prompts, and a reference of each sense for each of them.

    Attributes:
        prompts: What is asked for.
        references: By sense, (prompts, 64, 64, 3) in bytes.
        styles: The number of the style that is shown, for each prompt.
    """

    exam: Exam
    strokes: Strokes
    encoders: Mapping[str, Encoder]
    prompts: list[str]
    references: dict[str, np.ndarray]
    styles: np.ndarray

    @classmethod
    def of(cls, base: Path, encoders: Mapping[str, Encoder], strokes: Strokes | None, count: int) -> "Trials":
        """So many trials, of held-out cells in turn."""
        exam = held_out(base)
        rows = [exam.near[number % len(exam.near)] for number in range(count)]
        world, rng = exam.world, np.random.default_rng(0)
        exam = Exam(world, exam.judge, [world.cells[row] for row in rows], rows)
        shown = rng.choice(world.rows("concept"), count)
        outlines = world.pictures[rows]
        np.random.seed(0)
        return cls(
            exam=exam,
            strokes=strokes or Strokes(len(world.styles)).eval(),
            encoders=encoders,
            prompts=[article(world.concepts[cell["concept"]]["label"]) for cell in exam.wanted],
            references={"style": world.pictures[shown], "silhouette": outlines, "palette": recoloured(outlines)},
            styles=np.array([world.styles.index(world.cells[row]["style"]) for row in shown]),
        )

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """References as parts see them."""
        return {name: seen(encoder, self.references[name]) for name, encoder in self.encoders.items()}

    def swapped(self, name: str | None) -> dict[str, Tensor]:
        """The same, every prompt shown another prompt's reference of one sense."""
        if name is None:
            return self.features
        return self.features | {name: self.features[name].roll(len(self.prompts) // 2 + 1, 0)}

    def figures(self, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """How near each picture is to its three references, and whether it shows what the words say."""
        judged = self.exam.judge(drawn)
        truth = np.array([cell["concept"] for cell in self.exam.wanted])
        order = np.argsort(-judged["concept"], axis=1)
        return {
            STROKES: (styles_of(self.strokes, drawn) == self.styles).astype(float),
            TEXTURE: (judged["style"].argmax(1) == self.styles).astype(float),
            "silhouette overlap": overlap(drawn, self.references["silhouette"]),
            "palette distance": palette_distance(drawn, self.references["palette"]),
            FOLLOWED: (order[:, 0] == truth).astype(float),
            "concept top-5": (order[:, :5] == truth[:, None]).any(1).astype(float),
        }

    @cached_property
    def scales(self) -> dict[str, Scale]:
        """What real pictures reach: the shares of styles told, and outlines and colours that are the same."""
        real = [self.exam.world.styles.index(cell["style"]) for cell in self.exam.wanted]
        told = styles_of(self.strokes, self.exam.world.pictures[self.exam.near])
        return {
            STROKES: Scale("style", float((told == real).mean())),
            TEXTURE: Scale("style", self.exam.ceiling()["style"]),
            "silhouette overlap": Scale("silhouette", 1.0),
            "palette distance": Scale("palette", 0.0, more_is_better=False),
        }


def seen(encoder: Encoder, pictures: np.ndarray) -> Tensor:
    """Features of pictures (count, 64, 64, 3) in bytes."""
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    return torch.cat([encoder([Image.fromarray(one) for one in part]) for part in parts])
