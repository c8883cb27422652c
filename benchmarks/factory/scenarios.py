"""One task and one budget: what the kit makes of it, and what is trained or pruned for it beside."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.factory.rivals import pruned, taught, untrained
from benchmarks.factory.worlds import World
from intarsia import OverBudget, factory
from intarsia.factory import Fulfilled, Kit, Task
from intarsia.factory.clocks import Clock
from intarsia.factory.frontier import marked
from intarsia.train import seed_everything

TUNING = (0.0, 10.0, 60.0)  # seconds
AFRESH = 5  # measurements of a model after it was fulfilled
UNLABELLED = 256  # pictures that statistics of batch norms are taken anew from


def scenario(
    world: World, kit: Kit, task: Task, share: float, device: factory.Device, clock: Clock, *, quick: bool,
    patience: float,
) -> dict[str, object]:  # fmt: skip
    """One task and one share, ours and the rivals that are trained for it; the same whatever was run before.

    Args:
        clock: The one that the device was measured with.
    """
    seed_everything(0)
    ranking = kit.assembler.rank([task], kit.grounds)[0]
    macs = share * float(ranking.costs["macs"][-1])
    order = factory.Order(task, factory.Budget(macs=macs), device)
    done = factory.fulfil(order, kit, clock=clock)
    largest = factory.fulfil(factory.Order(task, factory.Budget(macs=1e15)), kit).model
    ours = score(world, done.model, task)
    again = factory.fulfil(order, kit, clock=clock, pictures=unlabelled(world)).model
    row = {
        "task": ", ".join(world.space.spoken(task)), "share": share, "ours": ours, **done.took,
        "refreshed": score(world, again, task), "export": exported(order, done, kit, [] if quick else ["onnx"]),
        "over budget": done.costs["macs"] > macs, "dense": score(world, largest, task),
    }  # fmt: skip
    row["in seconds"] = in_seconds(kit, task, share, device, clock, largest)
    return row | trained_beside(world, kit, task, macs, done, largest, ours, patience)


def score(world: World, model: nn.Module, task: Task) -> float:
    """How good a model is for a task."""
    return marked(model, *world.exam(task))


def unlabelled(world: World) -> torch.Tensor:
    """Pictures of the world, (count, channels, height, width), of which nothing is told."""
    seen: list[torch.Tensor] = []
    while sum(map(len, seen)) < UNLABELLED:
        seen.append(world.lessons.tasks(len(seen))[0])
    return torch.cat(seen)


def exported(order: factory.Order, done: Fulfilled, kit: Kit, formats: Sequence[str]) -> float:
    """Seconds to write a model."""
    with tempfile.TemporaryDirectory() as scrap:
        began = time.perf_counter()
        factory.ship(order, done, kit, Path(scrap) / "out", formats)
        return time.perf_counter() - began


def in_seconds(
    kit: Kit, task: Task, share: float, device: factory.Device, clock: Clock, largest: nn.Module
) -> Mapping[str, object]:
    """An order of a share of the largest model's seconds, and the model measured afresh."""
    shown = torch.zeros(1, *kit.host.size)
    budget = share * clock.seconds(largest, shown)
    order = factory.Order(task, factory.Budget(seconds=budget), device)
    try:
        done = factory.fulfil(order, kit, clock=clock)
    except OverBudget as refusal:
        return {"budget": budget, "refused": refusal.cheapest["seconds"]}
    afresh = statistics.median(clock.seconds(done.model, shown) for _ in range(AFRESH))
    return {"budget": budget, "promised": done.costs["seconds"], "afresh": afresh, "measured": done.measured,
            **done.took}  # fmt: skip


def trained_beside(
    world: World, kit: Kit, task: Task, macs: float, done: Fulfilled, largest: nn.Module, ours: float, patience: float
) -> dict[str, object]:
    """What needs training: from scratch, ours further, and the largest model pruned and read at four moments."""
    scratch = taught(untrained(done.plan, world), task, world, (patience,), goal=ours - 0.01)
    row: dict[str, object] = {
        "scratch": scratch.accuracy[-1], "scratch seconds": scratch.seconds[-1], "scratch reached": scratch.reached,
    }  # fmt: skip
    moments = {f"{seconds:g}": min(seconds, patience) for seconds in TUNING}
    moments = dict(sorted({**moments, "equal": sum(done.took.values())}.items(), key=lambda one: one[1]))
    tuned = taught(pruned(largest, kit.host.size, macs), task, world, tuple(moments.values()))
    for name, accuracy, seconds in zip(moments, tuned.accuracy, tuned.seconds, strict=True):
        row |= {f"pruned {name}": accuracy, f"pruned {name} seconds": seconds}
    return row | {"tuned": taught(done.model, task, world, (moments["10"],)).accuracy[-1]}
