"""What stands beside a kit: training one model for one task, pruning by magnitude, and a plain model.

Kits learn at a rate that falls, and their weights are averaged. So every budget of seconds is a training of its own,
whose rate falls to nothing over it, and is as good as its weights or their average, whichever are better. Memory is
laid out and kept for them as it is for kits.
"""

import copy
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torch_pruning
from torch import Tensor, nn

from benchmarks.factory.worlds import World
from intarsia import heap, rig
from intarsia.factory import Task
from intarsia.factory.boxes import answering, losses
from intarsia.factory.exams import own_answers
from intarsia.factory.frontier import marked
from intarsia.factory.seeking import BOXES, cells_of
from intarsia.hosts.detector import BOX
from intarsia.plan import Plan
from intarsia.train import Schedule, seed_everything
from intarsia.train.ema import Average

BATCH = 48  # pictures a step
CLIPPED = 1.0  # norm of gradients, as where kits are trained
LOOK, LOOKS = 0.5, 10  # seconds from one look at the exam to the next, at least; and a share of those gone by
HEADS = ("fc", "classifier", "reach", "names")  # of the supernets of these worlds
RATIOS = 8  # tries at a pruning ratio


@dataclass(frozen=True)
class Taught:
    """A training of one model for one task.

    Attributes:
        accuracy: The best at any look: rivals are given that.
        seconds: Of training alone: the last step may end a little after its time.
        steps: Of training, each of `BATCH` pictures.
        reached: Seconds after which it was as good as was asked; None if never.
    """

    accuracy: float
    seconds: float
    steps: int
    reached: float | None


def step(optimizer: torch.optim.Optimizer, model: nn.Module, loss: Tensor) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIPPED)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@heap.kept()
def taught(model: nn.Module, task: Task, world: World, seconds: float, *, goal: float = 2.0) -> Taught:
    """Train a model for a task at a rate that falls to 0 over so many seconds, or until it is as good as `goal`.

    Looking at the exam costs no seconds. The model is left in evaluation mode.
    """
    if world.aid is not None:
        world.aid(model)
    model.requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=world.rate)
    average = Average(dict(model.named_parameters()), Schedule.average)
    best, reached, spent, steps = marked(model.eval(), *world.exam(task)), None, 0.0, 0
    while spent < seconds and reached is None:
        due = min(seconds, spent + max(LOOK, spent / LOOKS))
        model.train()
        while spent < due:
            began = time.perf_counter()
            optimizer.param_groups[0]["lr"] = world.rate * (1 - spent / seconds)
            with torch.enable_grad():
                step(optimizer, model, world.loss(model, task, BATCH))
            average.update(steps)
            steps += 1
            spent += time.perf_counter() - began
        best = max(best, looked_at(model.eval(), average, task, world))
        reached = spent if best >= goal else None
    return Taught(best, spent, steps, reached)


def looked_at(model: nn.Module, average: Average, task: Task, world: World) -> float:
    """How good a model is, by its weights or by their average; batch norms keep the statistics that they have."""
    live = marked(model, *world.exam(task))
    with average.worn():
        return max(live, marked(model, *world.exam(task)))


def untrained(plan: Plan, world: World) -> nn.Module:
    """The architecture of a plan with the weights that the world's supernet began with."""
    return rig.bake(plan, world.host())[0]


class Plain(nn.Module):
    """A world's whole architecture, which learns all concepts and is told nothing of tasks."""

    def __init__(self, world: World) -> None:
        super().__init__()
        host = world.host()
        self.model = host.module.requires_grad_(True)
        self.probe = world.probe(self.model) if world.probe else None
        self.cells = cells_of(host) if world.space.things else None

    def wrong(self, pictures: Tensor, *truth: Tensor) -> Tensor:
        """What the supernet's first stage minimises.

        Args:
            truth: What the lessons tell of concepts: what is right, or boxes and names.
        """
        if self.cells is not None:
            answers, (boxes, names) = self.model(pictures), truth
            wrong = losses(answers[..., BOX:], answers[..., :BOX], answering(self.cells, boxes), names, boxes)
            return wrong["names"] + BOXES * wrong["boxes"]
        (concepts,) = truth
        if self.probe is None:
            return F.cross_entropy(self.model(pictures), concepts)
        return self.probe.wrong(self.probe(self.model, pictures), concepts)


class Chooser(nn.Module):
    """What a plain model says to one task: the task's own answers, or what follows from the concepts that it sees."""

    def __init__(self, whole: Plain, world: World, task: Task) -> None:
        super().__init__()
        self.whole, self.world, self.task = whole, world, task

    def forward(self, pictures: Tensor) -> Tensor:
        if self.whole.probe is None:
            return own_answers(self.world.space, self.whole.model(pictures), self.task)
        seen = self.whole.probe(self.whole.model, pictures).cells.argmax(1)
        return F.one_hot(self.world.answered(self.task, seen), len(self.task.answers)).float()


@heap.kept()
def plain(world: World, seconds: float, seed: int) -> Plain:
    """The world's whole architecture, trained for so long at a falling rate."""
    seed_everything(seed)
    whole = Plain(world).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(whole.parameters(), lr=world.rate)
    spent, draw = 0.0, 0
    while spent < seconds:
        began = time.perf_counter()
        optimizer.param_groups[0]["lr"] = world.rate * (1 - spent / seconds)
        with torch.enable_grad():
            step(optimizer, whole, whole.wrong(*world.lessons.concepts(draw)))
        spent, draw = spent + time.perf_counter() - began, draw + 1
    return whole.eval()


def pruned(model: nn.Module, size: tuple[int, int, int], macs: float) -> nn.Module:
    """The model pruned by the magnitude of groups (torch-pruning) to at most so many MACs, by bisecting the ratio.

    Its ratio is the same for every layer, the residual stream included; what the model answers stays whole. A model
    that costs no more is not pruned: the least that goes is a channel of every layer.
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

    with torch.no_grad(), rig.count_macs() as counted:
        model(pictures)
    if counted.total <= macs:
        return copy.deepcopy(model).requires_grad_(True)
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
