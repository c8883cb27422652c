"""A world of drawn shapes whose attributes are exact: do senses trained apart assemble, and who wins against words?

    python -m benchmarks.shapes.run             three seeds of `recipes.shapes.run`, 256 pictures a row and seed;
                                                resumes where it was killed
    torchrun --nproc-per-node 2 -m benchmarks.shapes.run
    python -m benchmarks.shapes.run --quick     trains parts for a few steps and rehearses; claims nothing
    python -m benchmarks.shapes.run --seed 0    one seed, whose figures are kept in results/shapes; claims nothing
    python -m benchmarks.shapes.run --seed 0 --way modules    the same for ours alone, as soon as they are trained

Two shapes have no word, so that only a reference can ask for them; two things stand in a scene, and references speak of
one; the scenes that senses learnt from lean, so that attributes that go together have to be told apart.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
import typer

from benchmarks.answers import Answers, Figures
from benchmarks.connect.assembly import OURS, Names, assembly_of, told
from benchmarks.drawing import processes
from benchmarks.results import RESULTS, Claim, at_least, at_most, write_result
from benchmarks.shapes.trials import FOLLOWED, SCALES, UNNAMED, Trials
from intarsia.graphs.exporting import digest_of
from recipes.modules.training import MANNERS, Training, refuse_unequal_senses
from recipes.modules.ways import Way, run_name
from recipes.shapes.run import WAYS, Sizes, World
from recipes.shapes.senses import SENSES
from recipes.shapes.stage import Stage

KEPT = RESULTS / "shapes"
SEEDS = 3
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
ASKED, LED = 0.8, 0.8  # shares of shapes without a word that are drawn; of contradictions that words win at weight 1
STEEPEST, WOBBLE, YIELDED = 0.5, 0.05, 0.2  # a dial is smooth, does not turn back, and reaches the reference
BRIEF = Sizes(parts=2, search=2, batch=6)


def main(
    quick: bool = typer.Option(False, help="A few steps and pictures, no claims worth anything."),
    seeds: int = typer.Option(SEEDS, help="How many worlds."),
    seed: int | None = typer.Option(None, help="Of these, one alone: its figures are kept and nothing is claimed."),
    way: list[Way] = typer.Option(list(WAYS), help="What to draw beside modules; everything if not given."),
    pictures: int = typer.Option(256, help="Of each row and world."),
    runs: Path = typer.Option(Path("runs/shapes"), help="Where the worlds are kept."),
) -> None:
    """Draw, judge, compare."""
    torch.set_num_threads(1)
    ways = [Way.modules, *(one for one in way if one != Way.modules)]
    stage = Stage(runs / "stage")
    with tempfile.TemporaryDirectory() as brief:
        if quick:
            worlds = [World(0, Path(brief), stage, BRIEF)]
            worlds[0].train_all(ways)
        else:
            worlds = [World(one, runs, stage) for one in (range(seeds) if seed is None else [seed])]
        pilot = quick or len(ways) < len(WAYS) or len(worlds) < SEEDS
        kept = Path(brief) if quick else KEPT
        asked = [Asked(Trials(world, 6 if quick else pictures, 2 if quick else 20), kept) for world in worlds]
        trained = {key: one for world in asked for key, one in world.trainings(ways).items()}
        refuse_unequal_senses(trained, own=(*MANNERS, "steps"))
        examine(asked, ways, WEIGHTS[::4] if quick else WEIGHTS, claiming=not pilot)


class Asked:
    """One world's trials, and their answers where they are kept."""

    def __init__(self, trials: Trials, kept: Path) -> None:
        world, stage = trials.world, trials.world.stage
        ground = (stage.eye, stage.judge, stage.ground.unet, stage.ground.connector)
        settings = {
            "pictures": trials.count, "steps": trials.steps, "trained for": [stage.sight, stage.host],
            "stage": [digest_of(one)[:12] for one in ground],
        }  # fmt: skip
        self.name, self.trials = world.folder.name, trials
        self.answers = Answers.of(kept / f"{self.name}.npz", settings)

    def trainings(self, ways: Sequence[Way]) -> dict[tuple[str, str], Training]:
        """How all was trained, by what it is called and by its sense."""
        world = self.trials.world
        return {
            (f"{self.name} {run_name(way, [sense])}", sense):
                self.answers.training(run_name(way, [sense]), partial(world.ended, way, sense))
            for way, sense in product(ways, SENSES)
        }  # fmt: skip

    def figures(self, way: str, names: Names, swapped: str | None) -> Figures:
        called = f"{way}|{','.join(names)}|{swapped or ''}"
        return self.answers.row(called, lambda: self.trials.figures(way, names, swapped))

    def changed(self, sense: str) -> Figures:
        return self.answers.row(f"changed|{sense}", lambda: self.trials.changed(sense))

    def real(self) -> Figures:
        return self.answers.row("real", self.trials.real)

    def spelled(self) -> Figures:
        return self.answers.row("spelled", self.trials.spelled)

    def sided_with_words(self, weight: float) -> np.ndarray:
        return self.answers.row(f"conflict|{weight}", lambda: {"won": self.trials.sided_with_words(weight)})["won"]


def examine(worlds: list[Asked], ways: Sequence[str], weights: tuple[float, ...], *, claiming: bool) -> None:
    """Every row, over all worlds."""

    def pooled(parts: list[Figures]) -> Figures:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def judged(way: str, names: Names, swapped: str | None) -> Figures:
        found = pooled([one.figures(way, names, swapped) for one in worlds])
        if processes().is_main_process:
            shown = {name: round(float(np.nanmean(value)), 3) for name, value in found.items()}
            print(way, names, swapped or "", shown, flush=True)
        return found

    def changed(sense: str) -> Figures:
        return pooled([one.changed(sense) for one in worlds])

    ways = list(map(str, ways))
    assembly = assembly_of(SENSES, SCALES, ways, (), judged, changed)
    rows = [
        {one.name: {name: asdict(training) for name, training in one.answers.trainings.items()} for one in worlds},
        {"way": "real pictures", **told(pooled([one.real() for one in worlds]))},
        {"way": "everything in words", **told(pooled([one.spelled() for one in worlds]))},
        *assembly.told(),
    ]
    for names, figures in assembly.rows[OURS].items():
        by_world = {
            name: [float(np.nanmean(part)) for part in np.split(value, len(worlds))] for name, value in figures.items()
        }
        rows.append({"way": OURS, "by world": list(names), **by_world})
    conflict = {weight: np.concatenate([one.sided_with_words(weight) for one in worlds]) for weight in weights}
    rows.append({"conflict": {str(weight): told({"words win": found}) for weight, found in conflict.items()}})
    curve = {weight: float(found.mean()) for weight, found in conflict.items()}
    whole = assembly.rows[OURS]
    claims = [] if not claiming else [
        *(at_least(f"{UNNAMED}, shown {' + '.join(names)}", float(np.nanmean(whole[names][UNNAMED])), ASKED)
          for names in whole if "identity" in names),
        *assembly.claims(FOLLOWED, alone=False),
        *dial_claims(curve),
    ]  # fmt: skip
    settings = {
        "quick": not claiming, **{f"{name} of each world": value for name, value in worlds[0].answers.asked.items()},
        "seeds": "of parts, noise and questions; eye, judge and host are the same for all",
        "ways": ways, "judge": "a network of its own, which shares nothing with the eye that senses look through",
    }  # fmt: skip
    if processes().is_main_process:
        if not claiming:
            print("not all ways of three worlds: nothing is claimed")
        write_result("shapes", rows, claims, settings)


def dial_claims(curve: dict[float, float]) -> list[Claim]:
    """Words lead at weight 1, and the weight is a smooth dial from them to the reference."""
    shares = [curve[weight] for weight in sorted(curve)]
    falls = -np.diff(shares)
    return [
        at_least("contradictions that words win at weight 1", curve[1.0], LED),
        at_most(f"contradictions that words win at weight {max(curve):g}", shares[-1], YIELDED),
        at_most("the steepest fall between neighbouring weights", float(falls.max()), STEEPEST),
        at_most("the most that words win back as the weight grows", float(-falls.min()), WOBBLE),
    ]


if __name__ == "__main__":
    typer.run(main)
