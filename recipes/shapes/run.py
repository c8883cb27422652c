"""The drawn world, trained from nothing: eye and judge, a text-to-image model, and ways of showing it pictures.

    python -m recipes.shapes.run --seed 0     two hours on one core; resumes, and may be killed at any time
    python -m recipes.shapes.run --seed 0 --way modules    only ours; then the others, when there is time
    python -m recipes.shapes.run --seed 1     once seed 0 has left its learning rates; then side by side with it
    python -m recipes.shapes.run --stage      eye, judge and host, which all seeds share and which are kept in weights/

Once there is a stage, ways may be shared out among processes that run side by side. Nothing is needed beside what it
draws itself. `benchmarks.shapes.run` reads what it keeps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import typer

from intarsia.train import fit
from recipes.modules.rates import OPTIMIZER, chosen_rate, schedule_of
from recipes.modules.rates import STEPS as SEARCH
from recipes.modules.training import Training, begin, ended
from recipes.modules.ways import Ground, Parts, Way, born, manners_of, objective_of, run_name, trained

from .senses import DISTURBANCE, LOUDNESS_COST, SENSES, STEPS, batches
from .stage import Stage

WAYS = (Way.modules, Way.concatenated, Way.decoupled)  # `benchmarks.connect` also has gates of one number
SOUGHT_ON = "identity"  # where a way's learning rate is sought


@dataclass(frozen=True)
class Sizes:
    """How long parts are trained, in steps, and on how many scenes a step."""

    parts: int | None = None  # of each sense; its own `STEPS` if None
    search: int = SEARCH
    batch: int = 32


@dataclass(frozen=True)
class World:
    """All parts that are trained with one seed, on the stage of all seeds.

    Attributes:
        runs: The folder of all seeds.
    """

    seed: int
    runs: Path
    stage: Stage
    sizes: Sizes = Sizes()

    @property
    def folder(self) -> Path:
        return self.runs / f"seed-{self.seed}"

    def ground(self, name: str) -> Ground:
        """The stage's, with the manners of this sense."""
        return replace(self.stage.ground, loudness_cost=LOUDNESS_COST[name], disturbance=DISTURBANCE[name])

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
        ground, seeking = self.ground(SOUGHT_ON), batches([SOUGHT_ON], self.stage.eye, self.sizes.batch)
        return chosen_rate(
            lambda: objective_of(ground, way, born(ground, way, [SOUGHT_ON], self.seed)), seeking, sought,
            steps=self.sizes.search, batch=self.sizes.batch,
        )  # fmt: skip

    def train(self, way: Way, name: str) -> None:
        """Train a part; resumes."""
        rate, run, steps = self.rate(way), self.folder / run_name(way, [name]), self.sizes.parts or STEPS[name]
        batch_at, ground = batches([name], self.stage.eye, self.sizes.batch), self.ground(name)
        learning = objective_of(ground, way, born(ground, way, [name], self.seed))
        begin(
            run, way=str(way), steps=steps, batch=self.sizes.batch, rate=rate, optimizer=OPTIMIZER,
            blocks=ground.connector.form.blocks, **manners_of(way, ground),
        )  # fmt: skip
        fit(learning, batch_at, schedule_of(steps, rate), run, seed=self.seed)

    def parts(self, way: Way, names: Iterable[str]) -> Parts:
        """Trained parts, frozen.

        Raises:
            SystemExit: they were not trained.
        """
        found = [trained(self.stage.ground, way, [name], self.folder) for name in names]
        return {name: part for parts in found for name, part in parts.items()}

    def train_all(self, ways: list[Way]) -> None:
        """All learning rates, so that other worlds can begin; then all parts."""
        for way in ways:
            self.rate(way)
        for way in ways:
            for name in SENSES:
                self.train(way, name)

    def ended(self, way: Way, name: str) -> Training:
        """How something was trained.

        Raises:
            SystemExit: it was not, or not to the end.
        """
        return ended(self.folder / run_name(way, [name]))


def main(
    seed: int = typer.Option(0, help="Of the parts."),
    way: list[Way] = typer.Option(list(WAYS), help="Which ways; all that are compared if not given."),
    stage: bool = typer.Option(False, "--stage", help="Only what all seeds stand on."),
    steps: int | None = typer.Option(None, help="Training steps of every part; each sense's own if not given."),
    runs: Path = typer.Option(Path("runs/shapes"), help="Where training is kept."),
) -> None:
    """Train what is not trained yet."""
    torch.set_num_threads(1)
    ground = Stage(runs / "stage")
    if stage:
        ground.prepare()
    else:
        World(seed, runs, ground, Sizes(steps)).train_all(way)


if __name__ == "__main__":
    typer.run(main)
