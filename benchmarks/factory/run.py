"""Models for tasks and budgets: what a kit makes in a second beside what is trained, pruned, or picked otherwise.

    python -m benchmarks.factory.run                      mosaics, three seeds; a day of one thread
    python -m benchmarks.factory.run --world fashion --data FOLDER
    python -m benchmarks.factory.run --world sprites --data runs/sprites/sprites.npz    detection
    python -m benchmarks.factory.run --quick              a rehearsal in under a minute; its figures mean nothing

A scenario is a task and a budget, a share of the MACs of the whole model for that task. In one run, on one exam:

    ours                 fulfilled: assembled, baked, measured, exported
    dense                the largest model of the kit for the task
    another's, mean, random, nearest      the same supernet with other units: of another task, the mean of all, drawn,
                         of the most similar task that was trained
    blind                a supernet trained alike whose assembler is told nothing of tasks
    scratch              our architecture with fresh weights, trained until within a point of ours, or for `patience`
    tuned                ours, trained on for some seconds
    pruned 0, 10, 60     the dense one, pruned by magnitude with torch-pruning and trained on for so many seconds
    pruned equal         and for as many as ours took, from the order to the measured model
"""

import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import typer

from benchmarks.factory.rivals import fresh, pruned, taught
from benchmarks.factory.worlds import World, fashion_world, mosaic_world, sprite_world
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import factory
from intarsia.factory import Kit, Ranking, Task
from intarsia.factory.audit import accuracies, whose
from intarsia.factory.frontier import marked
from intarsia.rig import bake

SHARES = (0.15, 0.2, 0.22, 0.3, 0.5, 0.7, 1.0)  # those that a world was not trained for are left out
WORLDS: dict[str, Callable[[Path, int], World]] = {
    "mosaics": mosaic_world, "fashion": fashion_world, "sprites": sprite_world,
}  # fmt: skip
TUNING = (0, 10, 60)  # seconds
PAIRS = 7


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    world: str = typer.Option("mosaics", help="mosaics, fashion or sprites."),
    data: Path = typer.Option(Path("runs/mosaics/data"), help="Where the pictures are."),
    runs: Path = typer.Option(Path("runs/benchmark-factory"), help="Where kits are kept; trainings resume."),
    seeds: int = typer.Option(3, help="Kits, each trained from another seed."),
    trained: int = typer.Option(4, help="Tasks of each part for which rivals are trained."),
    patience: float = typer.Option(300.0, help="Seconds after which training from scratch gives up."),
    shown: int = typer.Option(400, help="Pictures for each task in the exam."),
) -> None:
    """Train kits, fulfil orders, train rivals, claim."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scrap:
        if quick:
            runs, seeds, trained, patience, shown = Path(scrap), 1, 1, 0.5, 40
        here = WORLDS[world](data, shown)
        shares = [share for share in SHARES if here.lowest <= share <= here.highest]
        shares = shares[:1] if quick else shares
        rows: list[dict] = []
        for seed in range(seeds):
            rows += seed_rows(here, runs, seed, shares, quick=quick, trained=trained, patience=patience)
    for row in rows:
        print(row)
    settings = {
        "quick": quick, "world": world, "seeds": seeds, "shares": shares, "patience": patience, "shown": shown,
        "steps": (2, 2) if quick else here.steps,
    }  # fmt: skip
    write_result(f"factory_{world}", rows, claims_of(here, rows), settings)


def seed_rows(
    world: World, runs: Path, seed: int, shares: Sequence[float], *, quick: bool, trained: int, patience: float
) -> list[dict]:
    """Everything of one seed: rows of parts, of scenarios with rivals, and of the device."""
    steps = (2, 2) if quick else world.steps
    run = runs / f"{world.name}-{seed}"
    kit = world.kit(run, steps, seed)
    training = sum(
        json.loads((run / stage / "checkpoint/progress.json").read_text())["seconds"]
        for stage in ("concepts", "customising")
    )
    blind = world.kit(runs / f"{world.name}-{seed}-blind", steps, seed, blind=True)
    device = factory.meter_device(kit.host, subnets=24 if quick else 64, seed=seed)
    score = device.scores["seconds"]
    rows: list[dict] = [{
        "kind": "device", "seed": seed, "training seconds": training, "spearman": score.spearman,
        "error_95": score.error_95, "within_10": score.within_10, "held out": device.held_out,
        "fastest over dense": fastest_over_dense(kit, world.tasks["seen"][0]),
    }]  # fmt: skip
    for part, every in world.tasks.items():
        tasks = every[: 2 * trained] if quick else every
        rankings = whose(kit, tasks, seed=seed) | {
            "nearest": kit.assembler.rank([nearest(task, world.tasks["seen"]) for task in tasks], kit.grounds),
            "blind": blind.assembler.rank(tasks, blind.grounds),
        }
        rankings["nearest"] = [
            Ranking(one.grounds, one.order, task.answers)
            for one, task in zip(rankings["nearest"], tasks, strict=True)
        ]  # fmt: skip
        rates = {
            way: accuracies(blind if way == "blind" else kit, tasks, ranks, world.exam, shares).mean(0)
            for way, ranks in rankings.items()
        }
        dense = accuracies(kit, tasks, rankings["own"], world.exam, (kit.highest,)).mean()
        for column, share in enumerate(shares):
            found = {way: float(rate[column]) for way, rate in rates.items()}
            rows.append({"kind": "part", "seed": seed, "part": part, "tasks": len(tasks), "share": share,
                         "dense": float(dense), **found})  # fmt: skip
        for place in np.linspace(0, len(tasks) - 1, trained).round().astype(int):
            for share in shares:
                row = scenario(world, kit, tasks[place], share, device, quick=quick, patience=patience)
                rows.append({"kind": "scenario", "seed": seed, "part": part, **row})
    return rows


def fastest_over_dense(kit: Kit, task: Task) -> float:
    """Seconds of the smallest model over those of the largest: the median of pairs, one after the other."""
    ranking, clock = kit.assembler.rank([task], kit.grounds)[0], factory.WallClock()
    small, large = (
        bake(ranking.plan(ranking.cut_at_share(share)), kit.host)[0].eval() for share in (kit.lowest, kit.highest)
    )
    shown = torch.zeros(1, *kit.host.size)
    return statistics.median(clock.seconds(small, shown) / clock.seconds(large, shown) for _ in range(PAIRS))


def nearest(task: Task, seen: Sequence[Task]) -> Task:
    """The most similar other task: most parts shared over parts of either."""

    def alike(other: Task) -> float:
        ours, theirs = set(task.parts), set(other.parts)
        return len(ours & theirs) / len(ours | theirs)

    return max((other for other in seen if other != task), key=alike)


def scenario(
    world: World, kit: Kit, task: Task, share: float, device: factory.Device, *, quick: bool, patience: float
) -> dict:
    """One task and one budget, ours and the rivals that are trained for it."""
    whole = kit.assembler.rank([task], kit.grounds)[0]
    macs = share * float(whole.costs["macs"][-1])
    order = factory.Order(task, factory.Budget(macs=macs), device)
    done = factory.fulfil(order, kit)
    ours = marked(done.model, *world.exam(task))
    with tempfile.TemporaryDirectory() as scrap:
        began = time.perf_counter()
        factory.ship(order, done, kit, Path(scrap) / "out", [] if quick else ["onnx"])
        export = time.perf_counter() - began
    largest = factory.fulfil(factory.Order(task, factory.Budget(macs=1e15)), kit).model
    scratch = taught(fresh(done.model), task, world, seconds=patience, goal=ours - 0.01)
    row = {
        "task": ", ".join(world.space.spoken(task)), "share": share, "ours": ours, **done.took, "export": export,
        "over budget": done.costs["macs"] > macs, "dense": marked(largest, *world.exam(task)),
        "scratch": scratch.accuracy, "scratch seconds": scratch.seconds, "scratch reached": scratch.reached,
    }  # fmt: skip
    smaller = pruned(largest, kit.host.size, macs)
    for name, seconds in {**{str(seconds): seconds for seconds in TUNING}, "equal": sum(done.took.values())}.items():
        given = min(seconds, patience)
        row[f"pruned {name}"] = taught(copy.deepcopy(smaller), task, world, seconds=given).accuracy
    tuned = taught(copy.deepcopy(done.model), task, world, seconds=min(TUNING[1], patience))
    return row | {"tuned": tuned.accuracy}


def claims_of(world: World, rows: Sequence[dict]) -> list[Claim]:
    """What is held against targets."""
    parts = [row for row in rows if row["kind"] == "part"]
    scenarios = [row for row in rows if row["kind"] == "scenario"]
    devices = [row for row in rows if row["kind"] == "device"]
    shares = sorted({row["share"] for row in parts})

    def mean(way: str, part: str = "seen", *at: float) -> float:
        return float(np.mean([row[way] for row in parts if row["part"] == part and row["share"] in (at or shares)]))

    claims = []
    for share, target in world.kept.items():
        if share in shares:
            kept = mean("own", "seen", share) / mean("dense", "seen", share)
            claims.append(at_least(f"accuracy at {share:.0%} of the MACs over the dense model's, seen", kept, target))
    claims.append(at_most("points by which unseen tasks are below seen ones",
                          100 * (mean("own") - mean("own", "unseen")), 2.0))  # fmt: skip
    low = [row for row in parts if row["share"] in shares[:2] and row["part"] == "seen"]
    asked = {"random": world.apart or 0.0} | ({"another's": world.apart, "mean": world.apart} if world.apart else {})
    claims += [
        at_least(f"points above {way} units at the two lowest budgets, the worst seed",
                 min(100 * (row["own"] - row[way]) for row in low), points)
        for way, points in asked.items()
    ]  # fmt: skip
    if world.fastest is not None:
        claims.append(at_most("seconds of the fastest model over the dense one's, worst seed",
                              max(row["fastest over dense"] for row in devices), world.fastest))  # fmt: skip
    ours = [row["assemble"] + row["bake"] for row in scenarios]
    every = [row["assemble"] + row["bake"] + row["measure"] for row in scenarios]
    # Trainings that never got there took longer than their patience: the ratio is then too low, never too high.
    needed = [row["scratch reached"] or row["scratch seconds"] for row in scenarios]
    training = statistics.median(row["training seconds"] for row in devices)
    saved = statistics.median(needed) - statistics.median(every)
    claims += [
        at_most("seconds to assemble and bake, worst", max(ours), 1.0),
        at_most("seconds with measurement, worst", max(every), 5.0),
        at_least("seconds of training from scratch over ours, median",
                 statistics.median(long / short for long, short in zip(needed, ours, strict=True)), 100.0),
        at_least("points above pruning by magnitude given equal seconds, mean",
                 100 * float(np.mean([row["ours"] - row["pruned equal"] for row in scenarios])), 0.0),
        at_most("models over their budget", float(sum(row["over budget"] for row in scenarios)), 0.0),
        at_least("rank correlation of predicted and measured seconds, worst seed",
                 min(row["spearman"] for row in devices), 0.95),
        at_least("share of held-out models predicted within 10 %, worst seed",
                 min(row["within_10"] for row in devices), 0.95),
        at_most("scenarios after which a kit has paid for its training", training / max(saved, 1e-9), 1000.0),
    ]  # fmt: skip
    return claims


if __name__ == "__main__":
    typer.run(main)
