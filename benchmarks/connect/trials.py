"""What is asked for and shown: things by word, and references that no module and no denoiser has seen.

The words are 'a fox' and no more. A style is shown by a thing that nobody learnt, in a style drawn by lot; an outline
by a held-out picture of the thing asked for; colours by that picture with its hues turned. So the three are
independent.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.base_model.exam import Exam, held_out
from benchmarks.connect.metrics import overlap, palette_distance
from intarsia.connect.encoders import Encoder
from recipes.base.captions import article
from recipes.modules.changed import recoloured

SENSES = ("style", "silhouette", "palette")
MORE_IS_BETTER = {"style": True, "silhouette": True, "palette": False}


@dataclass(frozen=True)
class Trials:
    """Prompts, and a reference of each sense for each of them.

    Attributes:
        prompts: What is asked for.
        references: By sense, (prompts, 64, 64, 3) in bytes.
        styles: The number of the style that is shown, for each prompt.
    """

    exam: Exam
    prompts: list[str]
    references: dict[str, np.ndarray]
    styles: np.ndarray

    @classmethod
    def of(cls, base: Path, *, repeats: int, every: int) -> "Trials":
        """As many as there are held-out cells, some times over.

        Args:
            every: Every so many cells only.
        """
        exam = held_out(base, repeats=repeats, every=every)
        world, rng = exam.world, np.random.default_rng(0)
        strangers = world.rows("concept")
        shown = rng.choice(strangers, len(exam.wanted))
        outlines = world.pictures[exam.near * repeats]
        np.random.seed(0)
        return cls(
            exam=exam,
            prompts=[article(world.concepts[cell["concept"]]["label"]) for cell in exam.wanted],
            references={"style": world.pictures[shown], "silhouette": outlines, "palette": recoloured(outlines)},
            styles=np.array([world.styles.index(world.cells[row]["style"]) for row in shown]),
        )

    def features(self, encoders: dict[str, Encoder], swapped: str | None = None) -> dict[str, Tensor]:
        """References as modules see them.

        Args:
            swapped: A sense of which every prompt is shown another prompt's reference.
        """
        found = {}
        for name, encoder in encoders.items():
            pictures = self.references[name]
            if name == swapped:
                pictures = np.roll(pictures, len(pictures) // 2 + 1, axis=0)
            parts = np.array_split(pictures, max(1, len(pictures) // 64))
            found[name] = torch.cat([encoder([Image.fromarray(one) for one in part]) for part in parts])
        return found

    def scores(self, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """How near each picture is to its three references, and whether it shows what the words say."""
        judged = self.exam.judge(drawn)
        truth = np.array([cell["concept"] for cell in self.exam.wanted])
        order = np.argsort(-judged["concept"], axis=1)
        return {
            "style": (judged["style"].argmax(1) == self.styles).astype(float),
            "silhouette": overlap(drawn, self.references["silhouette"]),
            "palette": palette_distance(drawn, self.references["palette"]),
            "concept top-1": (order[:, 0] == truth).astype(float),
            "concept top-5": (order[:, :5] == truth[:, None]).any(1).astype(float),
        }

    @cached_property
    def ceiling(self) -> dict[str, float]:
        """What real pictures reach: the judge's share of styles told, outlines and colours that are the same."""
        return {"style": self.exam.ceiling()["style"], "silhouette": 1.0, "palette": 0.0}
