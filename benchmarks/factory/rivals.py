"""What stands beside a kit: training one model for one task, and pruning by magnitude."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torch_pruning
from torch import Tensor, nn

from intarsia import factory, rig
from intarsia.factory import Task
from intarsia.factory.frontier import accuracy_of

BATCH, RATE, LOOK = 96, 2e-3, 20  # pictures a step, peak of AdamW, steps between looks at the exam
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


def taught(
    model: nn.Module,
    task: Task,
    lesson: Callable[[Task, int], tuple[Tensor, Tensor]],
    exam: factory.Exam,
    *,
    seconds: float,
    goal: float = 2.0,
) -> Taught:
    """Train a model for a task until it is as good as `goal`, or so many seconds have gone by.

    Looking at the exam costs no seconds. The model is left in evaluation mode.
    """
    model.requires_grad_(True)
    places = torch.full((max(task.answers) + 1,), -1)
    places[list(task.answers)] = torch.arange(len(task.answers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    best, reached, spent = accuracy_of(model.eval(), task, *exam(task)), None, 0.0
    while spent < seconds and reached is None:
        began = time.perf_counter()
        model.train()
        for _ in range(LOOK):
            pictures, answers = lesson(task, BATCH)
            with torch.enable_grad():
                F.cross_entropy(model(pictures), places[answers]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        spent += time.perf_counter() - began
        best = max(best, accuracy_of(model.eval(), task, *exam(task)))
        reached = spent if best >= goal else None
    return Taught(best, spent, reached)


def fresh(model: nn.Module) -> nn.Module:
    """The same architecture with weights as if new."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return copied


def pruned(model: nn.Module, size: tuple[int, int, int], macs: float) -> nn.Module:
    """The model pruned by the magnitude of groups (torch-pruning) to at most so many MACs, by bisecting the ratio.

    Its ratio is the same for every layer, the residual stream included; the classifier's outputs stay.
    """
    pictures = torch.zeros(1, *size)

    def at(ratio: float) -> tuple[nn.Module, int]:
        copied = copy.deepcopy(model).requires_grad_(True)
        heads = [module for module in copied.modules() if isinstance(module, nn.Linear)]
        with torch.enable_grad():
            torch_pruning.pruner.BasePruner(
                copied, pictures, torch_pruning.importance.GroupMagnitudeImportance(p=2), pruning_ratio=ratio,
                ignored_layers=heads[-1:],
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
