"""The drawn world, trained from nothing: eye and judge, a text-to-image model, and every way of showing it pictures.

    python -m recipes.shapes.run --seed 0     hours on one core; resumes, and may be killed at any time
    python -m recipes.shapes.run --seed 0 --way modules    only ours; then the others, when there is time
    python -m recipes.shapes.run --seed 1     once seed 0 has left its learning rates; then side by side with it
    python -m recipes.shapes.run --seed 1 --ground    what waits for no rates: eye, judge and text-to-image model

Once a seed's ground is there, and not before, its ways may be shared out among processes that run side by side. Nothing
is needed beside what it draws itself. `benchmarks.shapes.run` reads what it keeps.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import typer

from intarsia.connect import Features
from intarsia.train import fit
from recipes.modules.rates import STEPS, chosen_rate, schedule_of
from recipes.modules.training import Training, begin, ended, finished
from recipes.modules.ways import Ground, Parts, Way, born, objective_of, run_name, trained

from .host import trained_host
from .senses import SENSES, batches
from .sight import EYE, JUDGE, Sight, trained_sight

JOINT = ("identity", "style")
SOUGHT_ON = ("identity",)  # where a way's learning rate is sought


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

    @classmethod
    def kept(cls, seed: int, runs: Path) -> "World":
        """One that was trained, for as long as it was.

        Raises:
            SystemExit: its host or its judge was not, or not to the end.
        """
        host, judge = (finished(cls(seed, runs).folder / name)["steps"] for name in ("host", "judge"))
        return cls(seed, runs, Sizes(sight=judge, host=host))

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

    def rate(self, way: Way) -> float:
        """The learning rate of a way, which the world of seed 0 seeks for all.

        Raises:
            SystemExit: this is another world, and that one has not sought it yet.
        """
        sought = self.runs / "rates" / way
        if self.seed and not (sought / "rates.json").exists():
            raise SystemExit(
                f"{sought}: seed 0 has not found the learning rate of {way!r} yet, which is every seed's. Run "
                f"--seed 0 until the file rates.json is there; then begin seed {self.seed}."
            )
        ground, seeking = self.ground, batches(SOUGHT_ON, self.eye, self.sizes.batch)
        return chosen_rate(
            lambda: objective_of(ground, born(ground, way, SOUGHT_ON, self.seed)), seeking, sought,
            steps=self.sizes.search, batch=self.sizes.batch,
        )  # fmt: skip

    def train(self, way: Way, names: tuple[str, ...]) -> None:
        """Train parts; resumes."""
        rate, run = self.rate(way), self.folder / run_name(way, names)
        batch_at = batches(names, self.eye, self.sizes.batch)
        learning = objective_of(self.ground, born(self.ground, way, names, self.seed))
        blocks = self.ground.connector.form.blocks
        begin(run, way=str(way), steps=self.sizes.parts, batch=self.sizes.batch, rate=rate, blocks=blocks)
        fit(learning, batch_at, schedule_of(self.sizes.parts, rate), run, seed=self.seed)

    def parts(self, way: Way, names: tuple[str, ...], *, joint: bool = False) -> Parts:
        """Trained parts, frozen: each alone, or all that were trained jointly.

        Raises:
            SystemExit: they were not trained.
        """
        groups = [names] if joint else [(name,) for name in names]
        found = [trained(self.ground, way, group, self.folder) for group in groups]
        return {name: part for parts in found for name, part in parts.items()}

    def prepare(self) -> tuple[Ground, Sight]:
        """All that waits for no learning rate: the host, for which the eye comes first, and the judge."""
        return self.ground, self.judge

    def train_all(self, ways: list[Way]) -> None:
        """All learning rates, so that other worlds can begin; then all parts."""
        for way in ways:
            self.rate(way)
        self.prepare()
        for way, names in trainings_of(ways):
            self.train(way, names)

    def ended(self, ways: list[Way]) -> dict[str, Training]:
        """How everything was trained, by folder.

        Raises:
            SystemExit: something was not trained to the end.
        """
        runs = [self.folder / run_name(way, names) for way, names in trainings_of(ways)]
        return {f"{self.folder.name}/{run.name}": ended(run) for run in runs}


def trainings_of(ways: list[Way]) -> list[tuple[Way, tuple[str, ...]]]:
    """Each sense in each way, and two jointly in ours."""
    found = [(way, (name,)) for way in ways for name in SENSES]
    return found + [(way, JOINT) for way in ways if way == Way.modules]


def main(
    seed: int = typer.Option(0, help="Of everything."),
    way: list[Way] = typer.Option(list(Way), help="Which ways; all if not given."),
    ground: bool = typer.Option(False, "--ground", help="Only what the ways stand on, and the judge."),
    sight_steps: int = typer.Option(Sizes.sight, help="Training steps of the eye and of the judge."),
    host_steps: int = typer.Option(Sizes.host, help="Of the text-to-image model."),
    steps: int = typer.Option(Sizes.parts, help="Of each sense in each way."),
    runs: Path = typer.Option(Path("runs/shapes"), help="Where training is kept."),
) -> None:
    """Train what is not trained yet."""
    torch.set_num_threads(1)
    world = World(seed, runs, Sizes(sight_steps, host_steps, steps))
    if ground:
        world.prepare()
    else:
        world.train_all(way)


if __name__ == "__main__":
    typer.run(main)
