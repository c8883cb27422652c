"""What stands beside a kit: training one model for one task, and pruning by magnitude."""

import copy
import time
from dataclasses import dataclass

import torch
import torch_pruning
from torch import nn

from benchmarks.factory.worlds import World
from intarsia import rig
from intarsia.factory import Task
from intarsia.factory.frontier import marked

BATCH, RATE, LOOK = 96, 2e-3, 20  # pictures a step, peak of AdamW, steps between looks at the exam
HEADS = ("fc", "classifier", "reach", "names")  # of the supernets of these worlds
RATIOS = 8  # tries at a pruning ratio


@dataclass(frozen=True)
class Taught:
    """A training of one model for one task.

    Attributes:
        accuracy: The best that it had at any look: rivals are given that.
        seconds: Of training alone.
        reached: Seconds after which it was as good as was asked; None if never.
    """

    accuracy: float
    seconds: float
    reached: float | None


def taught(model: nn.Module, task: Task, world: World, *, seconds: float, goal: float = 2.0) -> Taught:
    """Train a model for a task until it is as good as `goal`, or so many seconds have gone by.

    Looking at the exam costs no seconds. The model is left in evaluation mode.
    """
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    best, reached, spent = marked(model.eval(), *world.exam(task)), None, 0.0
    while spent < seconds and reached is None:
        began = time.perf_counter()
        model.train()
        for _ in range(LOOK):
            with torch.enable_grad():
                world.loss(model, task, BATCH).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        spent += time.perf_counter() - began
        best = max(best, marked(model.eval(), *world.exam(task)))
        reached = spent if best >= goal else None
    return Taught(best, spent, reached)


def fresh(model: nn.Module) -> nn.Module:
    """The same architecture with weights as if new."""
    copied = copy.deepcopy(model)
    for module in reversed(list(copied.modules())):  # a whole may begin otherwise than its parts would
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return copied


def pruned(model: nn.Module, size: tuple[int, int, int], macs: float) -> nn.Module:
    """The model pruned by the magnitude of groups (torch-pruning) to at most so many MACs, by bisecting the ratio.

    Its ratio is the same for every layer, the residual stream included; what the model answers stays whole.
    """
    pictures = torch.zeros(1, *size)

    def at(ratio: float) -> tuple[nn.Module, int]:
        copied = copy.deepcopy(model).requires_grad_(True)
        heads = [module for name, module in copied.named_modules() if name in HEADS]
        with torch.enable_grad():
            torch_pruning.pruner.BasePruner(
                copied, pictures, torch_pruning.importance.GroupMagnitudeImportance(p=2), pruning_ratio=ratio,
                ignored_layers=heads,
            ).step()  # fmt: skip
        with torch.no_grad(), rig.count_macs() as counted:
            copied.eval()(pictures)
        return copied, counted.total

    low, high = 0.0, 0.98
    found, _ = at(high)
    for _ in range(RATIOS):
        middle = (low + high) / 2
        tried, cost = at(middle)
        if cost <= macs:
            high, found = middle, tried
        else:
            low = middle
    return found
