"""One task and one budget: what the kit makes of it, and what is trained or pruned for it beside."""

import copy
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.factory.rivals import pruned, taught, untrained
from benchmarks.factory.timing import dense_seconds, made_at, seconds_over, while_still
from benchmarks.factory.worlds import World
from intarsia import OverBudget, RigError, factory, rig
from intarsia.factory import Fulfilled, Kit, Task
from intarsia.factory.clocks import Clock
from intarsia.factory.frontier import marked
from intarsia.train import seed_everything

TUNING = (0.0, 10.0, 60.0)  # seconds, each of a training of its own
UNLABELLED = 256  # pictures that statistics of batch norms are taken anew from


def order_of(kit: Kit, task: Task, share: float, device: factory.Device) -> factory.Order:
    """A task at a share of the MACs of the whole model for it."""
    macs = share * float(kit.assembler.rank([task], kit.grounds)[0].costs["macs"][-1])
    return factory.Order(task, factory.Budget(macs=macs), device)


def timed(kit: Kit, task: Task, share: float, device: factory.Device, clock: Clock) -> dict[str, object]:
    """What an order takes, and whether budgets are kept. Wants a quiet machine.

    Args:
        clock: The one that the device was measured with.
    """
    order = order_of(kit, task, share, device)
    done = factory.fulfil(order, kit, clock=clock)
    return {
        "task": ", ".join(kit.space.spoken(task)), "share": share, **done.took, **exported(order, done, kit, ["onnx"]),
        "over budget": macs_of(done.model, kit) > order.budget.bounds["macs"],
        "in seconds": in_seconds(kit, task, share, device, clock),
    }  # fmt: skip


def macs_of(model: nn.Module, kit: Kit) -> int:
    """Multiply-accumulates of a call, counted while it is made: what was planned is not asked."""
    with torch.no_grad(), rig.count_macs() as counted:
        model(torch.zeros(1, *kit.host.size))
    return counted.total


def exported(order: factory.Order, done: Fulfilled, kit: Kit, formats: Sequence[str]) -> dict[str, object]:
    """Seconds to write a model; or why it is not kept, for the other runtime answers otherwise."""
    with tempfile.TemporaryDirectory() as scrap:
        began = time.perf_counter()
        try:
            factory.ship(order, done, kit, Path(scrap) / "out", formats)
        except RigError as refusal:
            return {"not exported": str(refusal)}
        return {"export": time.perf_counter() - began}


def in_seconds(kit: Kit, task: Task, share: float, device: factory.Device, clock: Clock) -> Mapping[str, object]:
    """An order of seconds, and afresh the model beside the largest.

    The largest of some kits has a share of the MACs itself: of that share, the seconds ordered are all of its own.
    """
    largest, part = made_at(kit, task, kit.highest), share / kit.highest

    def row(dense: float) -> dict[str, object]:
        budget = part * dense
        order = factory.Order(task, factory.Budget(seconds=budget), device)
        try:
            done = factory.fulfil(order, kit, clock=clock)
        except OverBudget as refusal:
            return {"budget": budget, "refused": refusal.cheapest["seconds"]}
        afresh = seconds_over(done.model, largest, kit.host.size, clock) / part
        return {"budget": budget, "promised": done.costs["seconds"], "afresh over budget": afresh,
                "measured": done.measured, **done.took}  # fmt: skip

    return while_still(lambda: dense_seconds(largest, kit.host.size, clock), row)


def beside(
    world: World, kit: Kit, task: Task, share: float, device: factory.Device, clock: Clock, patience: float
) -> dict[str, object]:
    """Ours, and the rivals that are trained for the same; the same whatever was run before.

    The order is fulfilled here too, so that its seconds and those of the trainings are of the same minutes.
    """
    seed_everything(0)
    order = order_of(kit, task, share, device)
    done = factory.fulfil(order, kit, clock=clock)
    again = factory.fulfil(order, kit, clock=clock, pictures=unlabelled(world)).model
    largest = made_at(kit, task, kit.highest)
    ours = score(world, done.model, task)
    row = {
        "task": ", ".join(kit.space.spoken(task)), "share": share, "ours": ours, **done.took,
        "refreshed": score(world, again, task), "dense": score(world, largest, task),
    }  # fmt: skip
    scratch = taught(untrained(done.plan, world), task, world, patience, goal=ours - 0.01)
    row |= {
        "scratch": scratch.accuracy, "scratch seconds": scratch.seconds, "scratch steps": scratch.steps,
        "scratch reached": scratch.reached,
    }  # fmt: skip
    budgets = {f"{seconds:g}": min(seconds, patience) for seconds in TUNING} | {"equal": sum(done.took.values())}
    smaller = pruned(largest, kit.host.size, order.budget.bounds["macs"])
    for name, seconds in budgets.items():
        tuned = taught(copy.deepcopy(smaller), task, world, seconds)
        row |= {f"pruned {name}": tuned.accuracy, f"pruned {name} steps": tuned.steps}
    return row | {"tuned": taught(done.model, task, world, budgets["10"]).accuracy}


def score(world: World, model: nn.Module, task: Task) -> float:
    """How good a model is for a task."""
    return marked(model, *world.exam(task))


def unlabelled(world: World) -> torch.Tensor:
    """Pictures of the world, (count, channels, height, width), of which nothing is told."""
    seen: list[torch.Tensor] = []
    while sum(map(len, seen)) < UNLABELLED:
        seen.append(world.lessons.tasks(len(seen))[0])
    return torch.cat(seen)
