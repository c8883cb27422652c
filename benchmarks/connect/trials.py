"""What is asked for and shown: things by word, and references that no module and no denoiser has seen.

The words are 'a fox' and no more. A style is shown by a thing that nobody learnt, in a style drawn by lot; an outline
by a held-out picture of the thing asked for; colours by that picture with its hues turned. So the three are
independent, but for one style that is black on white: it has no colours to turn, and its insides are ground. Nothing is
shown in that one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from benchmarks.answers import Figures
from benchmarks.base_model.exam import Exam, held_out
from benchmarks.base_model.judge import returned
from benchmarks.base_model.world import World
from benchmarks.connect.assembly import Scale
from benchmarks.connect.hues import ranked
from benchmarks.connect.judges import Judges, styles_of
from benchmarks.connect.metrics import overlap, palette_distance
from intarsia.connect.encoders import Encoder
from intarsia.shipped import model_folder
from recipes.base.captions import article, prompt_of
from recipes.modules.changed import recoloured

SENSES = ("palette", "silhouette", "style")
NOT_SHOWN = "high contrast"
STROKES, TEXTURE, OVERLAP, DISTANCE = "style by strokes", "style by texture", "silhouette overlap", "palette distance"
FOLLOWED = "concept top-1, hues aside"
REAL, TURNED = "real pictures", "real pictures, recoloured"
MISLED = 0.05  # of real pictures, at most, that a judge of styles may take for another style for their hues' sake


def showable(world: World, rows: list[int]) -> list[int]:
    """Those cells that can be shown as references."""
    return [row for row in rows if world.cells[row]["style"] != NOT_SHOWN]


@dataclass(frozen=True)
class Trials:
    """Prompts, and a reference of each sense for each of them.

    Attributes:
        judges: Those whom turned hues do not mislead; the exam's own, who saw natural hues, is told beside them.
        prompts: What is asked for.
        references: By sense, (prompts, 64, 64, 3) in bytes.
        styles: The number of the style that is shown, for each prompt.
    """

    exam: Exam
    judges: Judges
    encoders: Mapping[str, Encoder]
    prompts: list[str]
    references: dict[str, np.ndarray]
    styles: np.ndarray

    @classmethod
    def of(
        cls,
        base: Path,
        encoders: Mapping[str, Encoder],
        judges: Judges,
        count: int,
        part: str = "cell",
    ) -> "Trials":
        """So many trials, of held-out cells in turn.

        Args:
            part: "train" for trials on which something may be chosen, for they are of cells that were learnt from.
        """
        exam = held_out(base, part=part)
        world, rng = exam.world, np.random.default_rng(0)
        near, others = showable(world, exam.near), "concept" if part == "cell" else part
        step = max(1, len(near) // count)
        rows = [near[number * step % len(near)] for number in range(count)]
        exam = Exam(world, exam.judge, [world.cells[row] for row in rows], rows)
        shown = rng.choice(showable(world, world.rows(others)), count)
        outlines = world.pictures[rows]
        np.random.seed(0)
        return cls(
            exam=exam,
            judges=judges,
            encoders=encoders,
            prompts=[article(world.concepts[cell["concept"]]["label"]) for cell in exam.wanted],
            references={"style": world.pictures[shown], "silhouette": outlines, "palette": recoloured(outlines)},
            styles=np.array([world.styles.index(world.cells[row]["style"]) for row in shown]),
        )

    @property
    def cells(self) -> np.ndarray:
        """Which cell each trial is of."""
        return np.array(self.exam.near)

    @property
    def spelled(self) -> list[str]:
        """The prompts with the style that is shown said in words: 'a fox in noto style'."""
        world = self.exam.world
        labels = [world.concepts[cell["concept"]]["label"] for cell in self.exam.wanted]
        return [prompt_of(label, world.styles[style]) for label, style in zip(labels, self.styles, strict=True)]

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """References as parts see them."""
        return {name: seen(encoder, self.references[name]) for name, encoder in self.encoders.items()}

    def swapped(self, name: str | None) -> dict[str, Tensor]:
        """The same, every prompt shown another prompt's reference of one sense."""
        if name is None:
            return self.features
        return self.features | {name: self.features[name].roll(len(self.prompts) // 2 + 1, 0)}

    def figures(self, drawn: np.ndarray, styles: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """How near each picture is to its three references, and whether it shows what the words say.

        Args:
            styles: The style that it should have, if not the one shown.
        """
        judged, styles = self.exam.judge(drawn), self.styles if styles is None else styles
        truth = np.array([cell["concept"] for cell in self.exam.wanted])
        order, aside = np.argsort(-judged["concept"], axis=1), ranked(self.judges.things, drawn)
        return {
            STROKES: (styles_of(self.judges.strokes, drawn) == styles).astype(float),
            TEXTURE: (styles_of(self.judges.texture, drawn) == styles).astype(float),
            OVERLAP: overlap(drawn, self.references["silhouette"]),
            DISTANCE: palette_distance(drawn, self.references["palette"]),
            FOLLOWED: (aside[:, 0] == truth).astype(float),
            "style by texture, natural hues": (judged["style"].argmax(1) == styles).astype(float),
            "concept top-1": (order[:, 0] == truth).astype(float),
            "concept top-5": (order[:, :5] == truth[:, None]).any(1).astype(float),
        }

    def changes(self, one: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
        """How much pictures differ, two by two, in what each measure of a sense looks at."""
        strokes, texture = self.judges.strokes, self.judges.texture
        return {
            STROKES: (styles_of(strokes, one) != styles_of(strokes, other)).astype(float),
            TEXTURE: (styles_of(texture, one) != styles_of(texture, other)).astype(float),
            OVERLAP: 1 - overlap(one, other),
            DISTANCE: palette_distance(one, other),
        }

    @cached_property
    def real(self) -> dict[str, Figures]:
        """The held-out pictures themselves under all judges: as they are, recoloured, and back from the autoencoder."""
        vae = AutoencoderKL.from_pretrained(model_folder("emoji") / "vae")
        own = np.array([self.exam.world.styles.index(cell["style"]) for cell in self.exam.wanted])
        plain, colours = self.references["silhouette"], self.references["palette"]
        rows = {
            REAL: plain,
            TURNED: colours,
            "real pictures, through the autoencoder": returned(vae, plain),
            "real pictures, recoloured, through the autoencoder": returned(vae, colours),
        }
        return {name: self.figures(shown, own) for name, shown in rows.items()}

    @cached_property
    def scales(self) -> dict[str, Scale]:
        """What can be reached: styles as often as they are told of real pictures; outlines and colours as near as the
        model's autoencoder gives them back, for nearer no picture of the model's can be."""

        def ceiling(row: str, measure: str) -> float:
            return float(self.real[row][measure].mean())

        return {
            STROKES: Scale("style", ceiling(REAL, STROKES)),
            TEXTURE: Scale("style", ceiling(REAL, TEXTURE)),
            OVERLAP: Scale("silhouette", ceiling("real pictures, through the autoencoder", OVERLAP)),
            DISTANCE: Scale(
                "palette", ceiling("real pictures, recoloured, through the autoencoder", DISTANCE), more_is_better=False
            ),
        }


def seen(encoder: Encoder, pictures: np.ndarray) -> Tensor:
    """Features of pictures (count, 64, 64, 3) in bytes."""
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    return torch.cat([encoder([Image.fromarray(one) for one in part]) for part in parts])


def refuse_misled(real: Mapping[str, Figures]) -> None:
    """Refuse judges of styles whom hues mislead, for pictures that follow a palette have theirs turned.

    Raises:
        SystemExit: one is, on real held-out pictures.
    """
    told = {one: [float(real[row][one].mean()) for row in (REAL, TURNED)] for one in (STROKES, TEXTURE)}
    misled = [
        f"{one} (right of {plain:.3f} of real pictures, of {turned:.3f} recoloured)"
        for one, (plain, turned) in told.items() if abs(plain - turned) > MISLED
    ]  # fmt: skip
    if misled:
        raise SystemExit(
            f"turned hues mislead the judge of {' and of '.join(misled)}, so nothing that it says of pictures that "
            f"follow a palette counts. Teach it otherwise (benchmarks/connect/judges.py), until {MISLED:g} is met."
        )
