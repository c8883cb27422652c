"""Pictures that a model was asked for, and what the judge says of those that it drew."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.base_model import distances
from benchmarks.base_model.judge import Judge, trained
from benchmarks.base_model.world import World, taught_world

FEWEST = 100  # a Fréchet distance of fewer pictures says nothing


@dataclass(frozen=True)
class Exam:
    """Cells to draw, and whom to ask.

    Attributes:
        wanted: A cell for each picture to draw.
        near: Rows of the real pictures that drawn ones should be near to.
    """

    world: World
    judge: Judge
    wanted: list[dict]
    near: list[int]

    @property
    def prompts(self) -> list[str]:
        return [cell["prompt"] for cell in self.wanted]

    @cached_property
    def floor(self) -> float | None:
        """The Fréchet distance of real training pictures, as many as are drawn: nearer than this is no merit.

        They are not among those that they are compared with, and are at most half of what there is.
        """
        known = self.world.rows("train")
        count = min(len(self.wanted), len(known) // 2)
        if count < FEWEST:
            return None
        some = np.sort(np.random.default_rng(0).choice(known, count, replace=False))
        rest = self.real["features"][~np.isin(self.near, some)]
        return distances.frechet(self.judge(self.world.pictures[some])["features"], rest)

    @cached_property
    def real(self) -> dict[str, np.ndarray]:
        """What the judge says of the real pictures."""
        return self.judge(self.world.pictures[self.near])

    def scores(self, judged: dict[str, np.ndarray], wanted: list[dict] | None = None) -> dict[str, float]:
        """Shares of pictures judged as what was asked for."""
        wanted = self.wanted if wanted is None else wanted
        truth = np.array([cell["concept"] for cell in wanted])
        order = np.argsort(-judged["concept"], axis=1)
        of_concept = [concept["subgroup"] for concept in self.world.concepts]
        subgroups = sorted(set(of_concept))
        member = np.array([subgroups.index(name) for name in of_concept])
        by_subgroup = np.stack([judged["concept"][:, member == place].sum(1) for place in range(len(subgroups))], 1)
        style = np.array([self.world.styles.index(cell["style"]) for cell in wanted])
        return {
            "concept top-1": float((order[:, 0] == truth).mean()),
            "concept top-5": float((order[:, :5] == truth[:, None]).any(1).mean()),
            "subgroup": float((by_subgroup.argmax(1) == member[truth]).mean()),
            "style": float((judged["style"].argmax(1) == style).mean()),
        }

    def ceiling(self) -> dict[str, float]:
        """The scores of the real pictures."""
        return self.scores(self.real, [self.world.cells[row] for row in self.near])

    def row(self, drawn: np.ndarray, whole: np.ndarray | None = None) -> dict[str, float | None]:
        """Scores, and distances to real pictures and to those of the whole model."""
        judged = self.judge(drawn)
        scores = self.scores(judged)
        if len(drawn) < FEWEST:
            return scores | {"frechet to real": None}
        others = {"frechet to real": self.real}
        others |= {} if whole is None else {"frechet to whole": self.judge(whole)}
        return scores | {
            name: distances.frechet(judged["features"], other["features"]) for name, other in others.items()
        }

    def above_floor(self, row: Mapping[str, Any], whole: Mapping[str, Any]) -> float | None:
        """How much farther than real pictures an arm's are, over how much farther the whole model's are."""
        if self.floor is None:
            return None
        return (row["frechet to real"] - self.floor) / (whole["frechet to real"] - self.floor)


def held_out(
    runs: Path,
    *,
    part: str = "cell",
    repeats: int = 1,
    every: int = 1,
    near: str | None = None,
    judge_steps: int | None = None,
) -> Exam:
    """The exam of held-out cells, or of held-out concepts.

    Args:
        repeats: Pictures of each cell.
        every: Every so many cells only.
        near: The part whose real pictures drawn ones are held against: 'train' where models are compared, for the 249
            held-out pictures cannot fill a covariance of 256 directions. None: those of the cells themselves.
        judge_steps: For how long to train the judge if it is not trained yet; None: refuse to.
    """
    world = taught_world(runs)
    rows = world.rows(part)[::every]
    return Exam(
        world,
        trained(runs, world, steps=judge_steps),
        [world.cells[row] for row in rows] * repeats,
        rows if near is None else world.rows(near),
    )
