"""Models for tasks and budgets: what a kit makes in a second beside what is trained, pruned, or picked otherwise.

    python -m benchmarks.factory.run --train-only        kits of other seeds, and a blind one: they are kept in kits/
    python -m benchmarks.factory.run --only timing       alone on the machine
    python -m benchmarks.factory.run                     all the rest, and what is claimed
    python -m benchmarks.factory.run --world fashion     and sprites: detection; classes and questions: single sprites
    python -m benchmarks.factory.run --quick             a rehearsal; its figures mean nothing

The first seed's kit is the one that ships, where its recipe makes one. Kits and rows are kept in the repository, so
that they can be of different days; a killed run goes on. Besides trainings of kits a world takes some four hours of one
thread, of which a quarter of an hour is timing. Kits of several seeds can be trained side by side (`--seed`), and so
can the rivals of two worlds (`--only rivals`), a thread each: their seconds are held against those of our orders in the
same process. A scenario is a task and a budget, a share of the MACs of the whole model for that task; tasks are those
that the largest models find neither easy nor hard. On one exam:

    ours                 fulfilled: assembled, baked, measured, exported; and for that share of the seconds
    refreshed            with statistics of batch norms from other, unlabelled pictures
    dense                the kit's largest model for the task: the whole, but where all tasks share one head
    plain                the whole architecture, trained as nothing but a classifier of all answers, or of what is in
                         each cell, of which the answer follows; or as a detector of all names
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

Every training beside a kit has a rate that falls to nothing over its seconds, and is told by its weights or by their
average, whichever are better.
"""

import shutil
import tempfile
from pathlib import Path

import torch
import typer

from benchmarks.factory.claims import claims_of
from benchmarks.factory.rows import Seed, Stage
from benchmarks.factory.worlds import WORLDS, World
from benchmarks.results import RESULTS, write_result
from intarsia import factory
from intarsia.factory import Kit
from intarsia.shipped import kit_folder, kit_names

KITS = Path(__file__).with_name("kits")
ROWS = RESULTS / "factory"
BLIND = 2_000  # steps of a blind kit's second stage, where all tasks share one head


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    world: str = typer.Option("mosaics", help="mosaics, fashion, sprites, classes or questions."),
    data: Path | None = typer.Option(None, help="Where the pictures are; as the world's recipe has it if not given."),
    runs: Path = typer.Option(
        Path("runs/benchmark-factory"), help="Where trainings are, which resume, and what is measured of the machine."
    ),
    kits: Path = typer.Option(KITS, help="Where finished kits are kept."),
    kept: Path = typer.Option(ROWS, help="Where rows are kept."),
    seeds: int = typer.Option(3, help="Kits, each trained from another seed."),
    seed: int | None = typer.Option(None, help="Of these, one alone: its rows are kept and nothing is claimed."),
    train_only: bool = typer.Option(False, help="Train kits and stop."),
    only: Stage | None = typer.Option(None, help="Of the rows, these alone: they are kept and nothing is claimed."),
    trained: int = typer.Option(1, help="Tasks of each part for which rivals are trained."),
    patience: float = typer.Option(120.0, help="Seconds after which training from scratch gives up."),
    shown: int | None = typer.Option(None, help="Pictures for each task in the exam; as many as the world says."),
) -> None:
    """Train kits, fulfil orders, train rivals, claim."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scrap:
        if quick:
            runs, kits, kept = (Path(scrap) / name for name in ("runs", "kits", "rows"))
            seeds, trained, patience, shown = 1, 1, 0.5, 40
        given = {name: value for name, value in {"data": data, "shown": shown}.items() if value is not None}
        here = WORLDS[world](**given)
        settings = {
            "quick": quick, "world": world, "shares": here.shares[:1] if quick else here.shares, "patience": patience,
            "shown": shown, "trained": trained, "steps": (2, 2) if quick else here.steps,
        }  # fmt: skip
        rows: list[dict] = []
        for one in range(seeds) if seed is None else [seed]:
            ships = one == 0 and world in kit_names() and not quick
            folder = kit_folder(world) if ships else kits / f"{world}-{one}"
            kit, blind = kit_of(here, folder, runs / folder.name, settings["steps"], one), None
            if one == 0 and (train_only or only in (None, Stage.parts)):
                blind = blind_kit(here, kits / f"{world}-0-blind", runs, settings["steps"])
            if not train_only:
                own = Seed(here, kit, one, kept, runs / "devices", kit.card.get("seconds"), settings)
                rows += own.rows(blind, list(Stage) if only is None else [only])
        for row in rows:
            print(row)
        if seed is None and only is None and not train_only:
            write_result(f"factory_{world}", rows, claims_of(here, rows), settings | {"seeds": seeds})


def kit_of(world: World, folder: Path, run: Path, steps: tuple[int, int], seed: int, *, blind: bool = False) -> Kit:
    """A kit as it is kept in a folder; trained now, in `run`, and put there if it is not.

    Raises:
        SystemExit: one of other steps is there.
    """
    if not (folder / "kit.json").exists():
        factory.save_kit(world.kit(run, steps, seed, blind=blind), folder, half=True)
    kit = factory.load_kit(folder, fold=False)  # rivals begin with it, and train
    if tuple(kit.card["steps"]) != tuple(steps):
        raise SystemExit(f"{folder}: a kit of {kit.card['steps']} steps, where {list(steps)} are asked for; remove it.")
    return kit


def blind_kit(world: World, folder: Path, runs: Path, steps: tuple[int, int]) -> Kit:
    """A kit of the first seed whose assembler is told nothing; where that seed's concepts are at hand, it has them."""
    run, taught = runs / folder.name, runs / f"{world.name}-0" / "concepts"
    if taught.exists() and not (run / "concepts").exists():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(taught, run / "copied")
        (run / "copied").replace(run / "concepts")
    return kit_of(
        world, folder, run, (steps[0], min(steps[1], BLIND) if world.space.shared else steps[1]), 0, blind=True
    )


if __name__ == "__main__":
    typer.run(main)
