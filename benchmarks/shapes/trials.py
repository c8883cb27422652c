"""What is asked for and shown in the drawn world, and how near to it a picture is."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmarks.connect.assembly import DERIVED, IN_TURN, SOFTER, SOFTLY, TEXT, Names, Scale
from benchmarks.keeping import kept_pictures
from intarsia.graphs.exporting import digest_of
from recipes.modules.ways import Parts, Way, heard
from recipes.shapes.host import draw
from recipes.shapes.run import World
from recipes.shapes.scenes import BINS, NAMED, Scenes, apart, bin_of, drawn, some
from recipes.shapes.senses import SENSES, SHARED
from recipes.shapes.sight import TURNS
from recipes.shapes.words import only, said

SPOKEN = ("side", "small_hue", "small_shape")  # what words say; all else is shown, or left to chance
NEAR = 20 / 360  # hues no farther apart count as the same
UNNAMED = "shape without a word"
SCALES = {
    "hue": Scale("style", 1.0),
    "pattern": Scale("style", 1.0),
    "shape": Scale("identity", 1.0),
    "ground": Scale("palette", 1.0),
}
FOLLOWED = "words followed"


@dataclass(frozen=True)
class Trials:
    """One world's questions. Scenes do not lean: what is shown of one sense says nothing of the others."""

    world: World
    count: int
    steps: int

    @cached_property
    def wanted(self) -> Scenes:
        """What a perfect model draws when it is shown all three references."""
        np.random.seed(1000 + self.world.seed)
        return some(self.count)

    @cached_property
    def references(self) -> dict[str, Tensor]:
        """For each sense what the eye sees in another scene, which shares that sense's attributes."""
        np.random.seed(2000 + self.world.seed)
        return {name: self.world.stage.eye.tokens(drawn(self.wanted.kept(SHARED[name], 0.0))) for name in SENSES}

    def parts(self, way: str, names: Names) -> Parts:
        return {} if way == TEXT else self.world.parts(Way(DERIVED.get(way, way)), names)

    def pictures(
        self,
        way: str,
        names: Names,
        words: Tensor,
        references: Mapping[str, Tensor],
        weights: Mapping[str, float] | None = None,
    ) -> Tensor:
        """A picture for each row of words and references; those of an earlier run, if there was the same."""
        ground, parts = self.world.stage.ground, self.parts(way, names)
        weights = dict.fromkeys(names, SOFTLY) if way == SOFTER else weights

        def around(rows: slice) -> AbstractContextManager[None]:
            shown = {name: references[name][rows] for name in names}
            return heard(ground, parts, shown, weights=weights, in_turn=way == IN_TURN)

        def make() -> np.ndarray:
            with torch.no_grad():
                drawn = draw(ground, words, around, steps=self.steps, seed=10_000 * self.world.seed)
            return drawn.half().numpy()

        asked = [
            self.world.seed, self.steps, way == IN_TURN, weights, digest_of(ground.unet), digest_of(ground.connector),
            {name: (digest_of(part), getattr(part, "gating", None)) for name, part in parts.items()},
            *(hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in (words, *(references[n] for n in names))),
        ]  # fmt: skip
        return torch.from_numpy(kept_pictures(self.world.folder / "pictures", asked, make)).float()

    def row(self, way: str, names: Names, swapped: str | None) -> Tensor:
        """Pictures of one row of the benchmark."""
        references = dict(self.references)
        if swapped is not None:
            references[swapped] = references[swapped].roll(self.count // 2 + 1, 0)
        return self.pictures(way, names, said(self.wanted, only(*SPOKEN)[None]), references)

    def figures(self, way: str, names: Names, swapped: str | None) -> dict[str, np.ndarray]:
        """The same, judged."""
        return self.judged(self.row(way, names, swapped))

    def changed(self, sense: str) -> dict[str, np.ndarray]:
        """How much swapping one of all senses changes each picture of modules: kinds flip, hues go apart."""
        one, other = (self.world.stage.judge.seen(self.row(Way.modules, SENSES, name)) for name in (None, sense))
        return {
            name: apart(one[name], other[name]) if name in TURNS else (one[name] != other[name]).astype(float)
            for name in SCALES
        }

    def judged(self, pictures: Tensor) -> dict[str, np.ndarray]:
        """For each picture what is as wanted, 1 or 0; hues also by how far they are off, in degrees."""
        seen, wanted = self.world.stage.judge.seen(pictures), self.wanted
        shape = (seen["shape"] == wanted.shape).astype(float)
        off = {name: apart(seen[name], getattr(wanted, name)) for name in ("hue", "ground")}
        followed = np.mean(
            [
                seen["side"] == wanted.side,
                seen["small_shape"] == wanted.small_shape,
                seen["small_hue"] == bin_of(wanted.small_hue),
            ],
            axis=0,
        )
        return {
            "hue": (off["hue"] < NEAR).astype(float),
            "pattern": (seen["pattern"] == wanted.pattern).astype(float),
            "shape": shape,
            UNNAMED: np.where(wanted.shape >= NAMED, shape, np.nan),
            "ground": (off["ground"] < NEAR).astype(float),
            FOLLOWED: followed,
            "hue off, degrees": 360 * off["hue"],
            "ground off, degrees": 360 * off["ground"],
        }

    def spelled(self) -> dict[str, np.ndarray]:
        """Everything said and nothing shown: what words alone can do."""
        everything = np.ones_like(only())[None]
        return self.judged(self.pictures(TEXT, (), said(self.wanted, everything), {}))

    def real(self) -> dict[str, np.ndarray]:
        """The wanted scenes themselves under the judge."""
        np.random.seed(3000 + self.world.seed)
        return self.judged(drawn(self.wanted))

    def sided_with_words(self, weight: float) -> np.ndarray:
        """Words name a hue, the style shown has the opposite one: 1 where the picture is nearer to the words.

        The pattern is said too, and agrees: in training, words for hue and pattern were said together or not at all.
        """
        opposite = Scenes(**{**vars(self.wanted), "hue": (bin_of(self.wanted.hue) / BINS + 0.5) % 1})
        np.random.seed(4000 + self.world.seed)
        shown = {"style": self.world.stage.eye.tokens(drawn(opposite.kept(SHARED["style"], 0.0)))}
        words = said(self.wanted, only(*SPOKEN, *SHARED["style"])[None])
        pictures = self.pictures(Way.modules, ("style",), words, shown, {"style": weight})
        hue = self.world.stage.judge.seen(pictures)["hue"]
        return (apart(hue, bin_of(self.wanted.hue) / BINS) < 0.25).astype(float)
