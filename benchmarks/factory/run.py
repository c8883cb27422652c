"""Models for tasks and budgets: what a kit makes in a second beside what is trained, pruned, or picked otherwise.

    python -m benchmarks.factory.run --seed 0 --train-only            a kit; several seeds can train side by side
    python -m benchmarks.factory.run                                  mosaics, three seeds: measuring, alone
    python -m benchmarks.factory.run --world fashion --data FOLDER
    python -m benchmarks.factory.run --world sprites --data runs/sprites/sprites.npz    detection
    python -m benchmarks.factory.run --quick                          a rehearsal; its figures mean nothing

Besides the trainings of kits the three worlds take about twelve hours of one thread. Rows are kept: a killed run goes
on. A scenario is a task and a budget, a share of the MACs of the whole model for that task. In one run, on one exam:

    ours                 fulfilled: assembled, baked, measured, exported; and for that share of the seconds
    refreshed            with statistics of batch norms from other, unlabelled pictures
    dense                the kit's largest model for the task
    plain                the whole architecture, trained as nothing but a classifier of all answers
    another's, mean, random, nearest      the same supernet with other units: of another task, the mean of all, drawn,
                         of the most similar task that was trained
    blind                a supernet trained alike whose assembler is told nothing of tasks; of the first seed
    scratch              our architecture, begun as the supernet began, trained until within a point of ours, or for
                         `patience`; where concepts were taught to the supernet, to it as well
    tuned                ours, trained on for ten seconds
    pruned 0, 10, 60     the kit's largest, pruned by magnitude with torch-pruning and trained on for so many seconds
    pruned equal         and for as many as ours took, from the order to the measured model
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from torch import Tensor, nn

from benchmarks.factory.claims import LARGE, claims_of
from benchmarks.factory.devices import fastest_over_dense
from benchmarks.factory.rivals import plain
from benchmarks.factory.scenarios import scenario, score
from benchmarks.factory.worlds import WORLDS, World
from benchmarks.keeping import kept_row
from benchmarks.results import write_result
from intarsia import factory
from intarsia.factory import Kit, Ranking, Task
from intarsia.factory.audit import accuracies, whose
from intarsia.factory.exams import own_answers

WITH_RIVALS = ("seen", "unseen")  # parts; of others it is only told whose units do how well
FEWER = 3  # shares at which rivals are trained for seeds other than the first
CALLS = 100  # timed calls of models so small that a moment of the machine's is a tenth of a call


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    world: str = typer.Option("mosaics", help="mosaics, fashion, sprites, classes or questions."),
    data: Path = typer.Option(Path("runs/mosaics/data"), help="Where the pictures are."),
    runs: Path = typer.Option(Path("runs/benchmark-factory"), help="Where kits and rows are kept; trainings resume."),
    recipe: Path | None = typer.Option(
        None, help="Where the world's recipe was trained: that is the first seed's kit."
    ),
    seeds: int = typer.Option(3, help="Kits, each trained from another seed."),
    seed: int | None = typer.Option(None, help="Of these, one alone: its rows are kept and nothing is claimed."),
    train_only: bool = typer.Option(False, help="Train kits and stop."),
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
        here = WORLDS[world](data, **({} if shown is None else {"shown": shown}))
        settings = {
            "quick": quick, "world": world, "shares": here.shares[:1] if quick else here.shares, "patience": patience,
            "shown": shown, "trained": trained, "steps": (2, 2) if quick else here.steps,
        }  # fmt: skip
        rows: list[dict] = []
        for one in range(seeds) if seed is None else [seed]:
            kit, run = kit_of(here, runs, one, recipe, settings["steps"])
            blind = blind_kit(here, runs, run, settings["steps"]) if one == 0 else None
            if not train_only:
                rows += seed_rows(here, kit, blind, runs, one, training_seconds(run), settings)
        for row in rows:
            print(row)
        if seed is None and not train_only:
            write_result(f"factory_{world}", rows, claims_of(here, rows), settings | {"seeds": seeds})


def seed_rows(
    world: World, kit: Kit, blind: Kit | None, runs: Path, seed: int, training: float, settings: dict
) -> list[dict]:
    """Everything of one seed: rows of parts, of scenarios with rivals, and of the device. What was kept is found.

    Args:
        training: Seconds of the kit's training.
    """
    told = hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]
    kept, quick, shares = runs / "rows" / f"{world.name}-{seed}-{told}", settings["quick"], settings["shares"]
    macs = kit.host.outline.macs
    clock = factory.WallClock(calls=20 if quick or macs >= LARGE else CALLS)
    if not (kept / "device.yaml").exists():
        factory.save_device(
            factory.meter_device(kit.host, subnets=24 if quick else 64, seed=seed, clock=clock), kept / "device.yaml"
        )
    device = factory.load_device(kept / "device.yaml")
    judged, first = device.scores["seconds"], world.tasks["seen"][0]
    rows = [kept_row(kept / "device.json", lambda: {
        "kind": "device", "seed": seed, "macs": macs, "training seconds": training,
        "spearman": judged.spearman, "error_95": judged.error_95, "within_10": judged.within_10,
        "held out": device.held_out, "fastest over dense": fastest_over_dense(kit, first, clock)[0],
    })]  # fmt: skip
    if world.plain and not quick:
        rows.append(kept_row(kept / "plain.json", lambda: plain_row(world, seed)))
    for part, every in world.tasks.items():
        tasks = every[: 2 * settings["trained"]] if quick else every
        making = partial(part_rows, world, kit, blind, tasks, shares, seed)
        for row in kept_row(kept / f"{part}.json", lambda making=making: {"rows": making()})["rows"]:
            rows.append({"kind": "part", "seed": seed, "part": part, **row})
        some = shares if seed == 0 else [shares[place] for place in spread(len(shares), FEWER)]
        for place in spread(len(tasks), settings["trained"]) if part in WITH_RIVALS else ():
            for share in some:
                making = partial(
                    scenario, world, kit, tasks[place], share, device, clock, quick=quick, patience=settings["patience"]
                )
                row = kept_row(kept / f"{part}-{place}-{share:g}.json", making)
                rows.append({"kind": "scenario", "seed": seed, "part": part, **row})
    return rows


def spread(among: int, count: int) -> list[int]:
    """So many places of so many, as far apart as can be."""
    return sorted(set(np.linspace(0, among - 1, count).round().astype(int).tolist()))


def kit_of(world: World, runs: Path, seed: int, recipe: Path | None, steps: tuple[int, int]) -> tuple[Kit, Path]:
    """A seed's kit, trained as far as it is not yet, and the folder of its training."""
    run = recipe if recipe is not None and seed == 0 else runs / f"{world.name}-{seed}"
    return world.kit(run, steps, seed), run


def blind_kit(world: World, runs: Path, run: Path, steps: tuple[int, int]) -> Kit:
    """The first seed's kit, but its assembler is told nothing; it learns the same concepts, which are copied."""
    place = runs / f"{world.name}-0-blind"
    if not (place / "concepts").exists():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(run / "concepts", place / "copied")
        (place / "copied").replace(place / "concepts")
    return world.kit(place, steps, 0, blind=True)


def training_seconds(run: Path) -> float:
    """Of both stages."""
    paths = [run / stage / "checkpoint/progress.json" for stage in ("concepts", "customising")]
    return sum(json.loads(path.read_text())["seconds"] for path in paths)


def plain_row(world: World, seed: int) -> dict[str, object]:
    """By part, how often a plain classifier is right when it chooses between a task's answers."""
    model = plain(world, world.plain, seed)
    found: dict[str, object] = {"kind": "plain", "seed": seed, "training seconds": world.plain}
    for part, tasks in world.tasks.items():
        found[part] = float(np.mean([score(world, Chooser(model, world.space, task), task) for task in tasks]))
    return found


class Chooser(nn.Module):
    """A classifier of all answers that says those of one task."""

    def __init__(self, model: nn.Module, space: factory.Space, task: Task) -> None:
        super().__init__()
        self.model, self.space, self.task = model, space, task

    def forward(self, pictures: Tensor) -> Tensor:
        return own_answers(self.space, self.model(pictures), self.task)


def part_rows(
    world: World, kit: Kit, blind: Kit | None, tasks: Sequence[Task], shares: Sequence[float], seed: int
) -> list[dict[str, object]]:
    """For each share, how good models are by whose units they have, the mean over a part's tasks."""
    near = kit.assembler.rank([nearest(task, world.known) for task in tasks], kit.grounds)
    rankings = whose(kit, tasks, seed=seed) | {
        "nearest": [Ranking(one.grounds, one.order, task.answers) for one, task in zip(near, tasks, strict=True)]
    }
    rates = {way: accuracies(kit, tasks, ranks, world.exam, shares).mean(0) for way, ranks in rankings.items()}
    if blind is not None:
        ranks = blind.assembler.rank(tasks, blind.grounds)
        rates["blind"] = accuracies(blind, tasks, ranks, world.exam, shares).mean(0)
    dense = float(accuracies(kit, tasks, rankings["own"], world.exam, (kit.highest,)).mean())
    return [
        {"tasks": len(tasks), "share": share, "dense": dense,
         **{way: float(rate[column]) for way, rate in rates.items()}}
        for column, share in enumerate(shares)
    ]  # fmt: skip


def nearest(task: Task, known: Sequence[Task]) -> Task:
    """The most similar other task: most parts shared over parts of either."""

    def alike(other: Task) -> float:
        ours, theirs = set(task.parts), set(other.parts)
        return len(ours & theirs) / len(ours | theirs)

    return max((other for other in known if other != task), key=alike)


if __name__ == "__main__":
    typer.run(main)
