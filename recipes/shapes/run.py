"""The drawn world, trained from nothing: eye and judge, a text-to-image model, and every way of showing it pictures.

    python -m recipes.shapes.run --seed 0     hours on one core; resumes, and may be killed at any time
    python -m recipes.shapes.run --seed 0 --way modules    only ours; then the others, when there is time

Nothing is needed beside what it draws itself. `benchmarks.shapes.run` reads what it keeps.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import typer

from intarsia.connect import Features
from intarsia.train import fit
from recipes.modules.rates import STEPS, chosen_rate, schedule_of
from recipes.modules.ways import Ground, Parts, Way, born, objective_of, run_name, trained

from .host import trained_host
from .senses import SENSES, batches
from .sight import EYE, JUDGE, Sight, trained_sight

JOINT = ("identity", "style")


@dataclass(frozen=True)
class Sizes:
    """How long everything is trained, in steps, and on how many scenes a step."""

    sight: int = 2000
    host: int = 12000
    parts: int = 3000
    search: int = STEPS
    batch: int = 32


@dataclass(frozen=True)
class World:
    """All that is trained with one seed, kept in a folder, made or read when it is first asked for.

    Attributes:
        runs: The folder of all seeds.
    """

    seed: int
    runs: Path
    sizes: Sizes = Sizes()

    @property
    def folder(self) -> Path:
        return self.runs / f"seed-{self.seed}"

    @cached_property
    def eye(self) -> Sight:
        return trained_sight(EYE, self.folder / "eye", steps=self.sizes.sight, seed=2 * self.seed)

    @cached_property
    def judge(self) -> Sight:
        return trained_sight(JUDGE, self.folder / "judge", steps=self.sizes.sight, seed=2 * self.seed + 1)

    @cached_property
    def ground(self) -> Ground:
        features = Features(self.eye.width, f"eye/{self.seed}")
        return trained_host(
            self.folder / "host", features, senses=SENSES, steps=self.sizes.host, seed=self.seed,
            batch=self.sizes.batch,
        )  # fmt: skip

    def train(self, way: Way, names: tuple[str, ...]) -> None:
        """Train parts; resumes. The learning rate is sought once, with the seed that comes first."""
        ground, batch_at = self.ground, batches(names, self.eye, self.sizes.batch)
        called = run_name(way, names)
        rate = chosen_rate(
            lambda: objective_of(ground, born(ground, way, names, self.seed)), batch_at, self.runs / "rates" / called,
            steps=self.sizes.search,
        )  # fmt: skip
        learning = objective_of(ground, born(ground, way, names, self.seed))
        fit(learning, batch_at, schedule_of(self.sizes.parts, rate), self.folder / called, seed=self.seed)

    def parts(self, way: Way, names: tuple[str, ...], *, joint: bool = False) -> Parts:
        """Trained parts, frozen: each alone, or all that were trained jointly.

        Raises:
            SystemExit: they were not trained.
        """
        groups = [names] if joint else [(name,) for name in names]
        found = [trained(self.ground, way, group, self.folder) for group in groups]
        return {name: part for parts in found for name, part in parts.items()}

    def train_all(self, ways: list[Way]) -> None:
        """Each sense in each way, and two jointly in ours."""
        self.judge.eval()
        for way in ways:
            for name in SENSES:
                self.train(way, (name,))
            if way == Way.modules:
                self.train(way, JOINT)


def main(
    seed: int = typer.Option(0, help="Of everything."),
    way: list[Way] = typer.Option(list(Way), help="Which ways; all if not given."),
    sight_steps: int = typer.Option(Sizes.sight, help="Training steps of the eye and of the judge."),
    host_steps: int = typer.Option(Sizes.host, help="Of the text-to-image model."),
    steps: int = typer.Option(Sizes.parts, help="Of each sense in each way."),
    runs: Path = typer.Option(Path("runs/shapes"), help="Where training is kept."),
) -> None:
    """Train what is not trained yet."""
    torch.set_num_threads(1)
    World(seed, runs, Sizes(sight_steps, host_steps, steps)).train_all(way)


if __name__ == "__main__":
    typer.run(main)
