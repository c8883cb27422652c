"""Models for tasks and budgets: what a kit makes in a second beside what is trained, pruned, or picked otherwise.

    python -m recipes.mosaics.run                                             the kit that ships is the first seed's
    python -m benchmarks.factory.run --recipe runs/mosaics --train-only       what else is to be trained
    python -m benchmarks.factory.run --recipe runs/mosaics --only timing      alone on the machine
    python -m benchmarks.factory.run --recipe runs/mosaics                    all the rest, and what is claimed
    python -m benchmarks.factory.run --recipe runs/fashion --world fashion    and sprites: detection
    python -m benchmarks.factory.run --recipe runs/sprites/classes --world classes    and questions
    python -m benchmarks.factory.run --quick                                  a rehearsal; its figures mean nothing

Without `--recipe` the first seed's kit is trained anew, for hours. Besides trainings of kits a world takes some four
hours of one thread, of which a quarter of an hour is timing. Rows are kept: a killed run goes on. Kits of several seeds
can be trained side by side (`--seed`), and so can the rivals of two worlds (`--only rivals`), a thread each: their
seconds are held against those of our orders in the same process. A scenario is a task and a budget, a share of the MACs
of the whole model for that task; tasks are those that the largest models find neither easy nor hard. On one exam:

    ours                 fulfilled: assembled, baked, measured, exported; and for that share of the seconds
    refreshed            with statistics of batch norms from other, unlabelled pictures
    dense                the kit's largest model for the task: the whole, but where all tasks share one head
    plain                the whole architecture, trained as nothing but a classifier of all answers, or of what is in
                         each cell, of which the answer follows
    another's, mean, random, nearest      the same supernet with other units: of another task, the mean of all, drawn,
                         of the most similar task that was trained
    blind                a supernet trained alike whose assembler is told nothing of tasks; of the first seed. Where
                         tasks share one head it says the same to all of them and is right half the time, however long
                         it is trained: so that is a few steps
    scratch              our architecture, begun as the supernet began, trained until within a point of ours, or for
                         `patience`; where concepts were taught to the supernet, to it as well
    tuned                ours, trained on for ten seconds
    pruned 0, 10, 60     the kit's largest, pruned by magnitude with torch-pruning and trained on for so many seconds
    pruned equal         and for as many as ours took, from the order to the measured model
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
import typer

from benchmarks.factory.claims import claims_of
from benchmarks.factory.rows import Seed, Stage
from benchmarks.factory.worlds import WORLDS, World
from benchmarks.results import write_result
from intarsia.factory import Kit

BLIND = 2_000  # steps of a blind kit's second stage, where all tasks share one head


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    world: str = typer.Option("mosaics", help="mosaics, fashion, sprites, classes or questions."),
    data: Path | None = typer.Option(None, help="Where the pictures are; as the world's recipe has it if not given."),
    runs: Path = typer.Option(Path("runs/benchmark-factory"), help="Where kits and rows are kept; trainings resume."),
    recipe: Path | None = typer.Option(
        None, help="Where the world's recipe was trained: that is the first seed's kit."
    ),
    seeds: int = typer.Option(3, help="Kits, each trained from another seed."),
    seed: int | None = typer.Option(None, help="Of these, one alone: its rows are kept and nothing is claimed."),
    train_only: bool = typer.Option(False, help="Train kits and stop."),
    only: Stage | None = typer.Option(None, help="Of the rows, these alone: they are kept and nothing is claimed."),
    trained: int = typer.Option(2, help="Tasks of each part for which rivals are trained."),
    patience: float = typer.Option(120.0, help="Seconds after which training from scratch gives up."),
    shown: int | None = typer.Option(None, help="Pictures for each task in the exam; as many as the world says."),
) -> None:
    """Train kits, fulfil orders, train rivals, claim."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scrap:
        if quick:
            runs, seeds, trained, patience, shown = Path(scrap), 1, 1, 0.5, 40
        given = {name: value for name, value in {"data": data, "shown": shown}.items() if value is not None}
        here = WORLDS[world](**given)
        settings = {
            "quick": quick, "world": world, "shares": here.shares[:1] if quick else here.shares, "patience": patience,
            "shown": shown, "trained": trained, "steps": (2, 2) if quick else here.steps,
        }  # fmt: skip
        rows: list[dict] = []
        for one in range(seeds) if seed is None else [seed]:
            run = recipe if recipe is not None and one == 0 else runs / f"{world}-{one}"
            kit, blind = here.kit(run, settings["steps"], one), None
            if one == 0 and (train_only or only in (None, Stage.parts)):
                blind = blind_kit(here, runs / f"{world}-0-blind", run, settings["steps"])
            if not train_only:
                own = Seed(here, kit, one, runs / "rows", training_seconds(run), settings)
                rows += own.rows(blind, list(Stage) if only is None else [only])
        for row in rows:
            print(row)
        if seed is None and only is None and not train_only:
            write_result(f"factory_{world}", rows, claims_of(here, rows), settings | {"seeds": seeds})


def blind_kit(world: World, place: Path, run: Path, steps: tuple[int, int]) -> Kit:
    """The first seed's kit, but its assembler is told nothing; it learns the same concepts, which are copied."""
    if not (place / "concepts").exists():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(run / "concepts", place / "copied")
        (place / "copied").replace(place / "concepts")
    return world.kit(place, (steps[0], min(steps[1], BLIND) if world.space.shared else steps[1]), 0, blind=True)


def training_seconds(run: Path) -> float:
    """Of both stages."""
    paths = [run / stage / "checkpoint/progress.json" for stage in ("concepts", "customising")]
    return sum(json.loads(path.read_text())["seconds"] for path in paths)


if __name__ == "__main__":
    typer.run(main)
