"""From an order to a model: rank, cut, bake, measure; and back a little if it is over its budget.

Source: NN-Factory (Xu et al. 2023): customisation by generation, without training. Differs from it: budgets are upper
bounds that are never exceeded; what was predicted is measured before it is promised.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import FitError, OverBudget
from ..plan import Plan
from ..rig import Lineage, bake, peak_bytes
from .budget import UNITS, Budget
from .clocks import Clock, WallClock, clock_for
from .device import Device
from .kit import Kit
from .ranking import Ranking
from .refreshing import refreshed
from .task import Task

MEASUREMENTS = 8  # of models on the way to one that fits


@dataclass(frozen=True)
class Order:
    """A task, a budget, and the device that seconds and memory are meant on."""

    task: Task
    budget: Budget
    device: Device | None = None


@dataclass(frozen=True)
class Fulfilled:
    """A model, and what became of the order.

    Attributes:
        plan: Which units it keeps.
        model: Plain PyTorch, in evaluation mode.
        costs: Exact: `macs`, `params`, `bytes`; with a device, `seconds` and `memory` as measured. Of a remote device
            `seconds` are as predicted, with the error added that 95 % of held-out subnets stayed within.
        predicted: `seconds` and `memory` as the device had said.
        measured: How many models were measured.
        took: Seconds of `assemble`, `bake` and `measure`.
    """

    plan: Plan
    model: nn.Module
    lineage: Lineage
    costs: Mapping[str, float]
    predicted: Mapping[str, float]
    measured: int
    took: Mapping[str, float]


@dataclass
class Bench:
    """Where models of one order are made and measured.

    Attributes:
        known: What every beginning of the ranking costs, as far as that is known without making it.
        pictures: Unlabelled, to take the statistics of batch norms anew from; None to leave them.
    """

    kit: Kit
    ranking: Ranking
    known: Mapping[str, NDArray[Any]]
    order: Order
    clock: Clock
    pictures: Tensor | None
    measured: int = 0
    took: dict[str, float] = field(default_factory=lambda: {"assemble": 0.0, "bake": 0.0, "measure": 0.0})

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the seconds of a step."""
        began = time.perf_counter()
        yield
        self.took[name] += time.perf_counter() - began

    def told(self, length: int) -> dict[str, float]:
        """What is known of a beginning of the ranking."""
        return {name: costs[length - self.ranking.least].item() for name, costs in self.known.items()}

    def made(self, length: int) -> tuple[Plan, nn.Module, Lineage, dict[str, float]]:
        """The model of a beginning, and all that it costs."""
        with self.timed("bake"):
            plan = self.ranking.plan(length)
            model, lineage = bake(plan, self.kit.host)
            model.eval().requires_grad_(False)
            if self.pictures is not None:
                refreshed(model, self.pictures)
        costs = self.told(length)
        if self.order.device is not None:
            with self.timed("measure"):
                inputs = torch.zeros(1, *self.kit.host.size)
                if not self.order.device.remote:
                    costs["seconds"] = self.clock.seconds(model, inputs)
                costs["memory"] = peak_bytes(model, inputs)
                self.measured += 1
        return plan, model, lineage, costs


def fulfil(order: Order, kit: Kit, *, clock: Clock | None = None, pictures: Tensor | None = None) -> Fulfilled:
    """The model that a kit has for an order: the largest beginning of the task's ranking within every bound.

    No labels, no gradients. With a device, what is promised was measured on the model itself, on the runtime that the
    device is of; the largest that was predicted to fit is tried first, then smaller ones by bisection. Seconds on a
    remote device are predicted with caution, and have to be measured there.

    Args:
        clock: If not given, of the wall, on the runtime that the device is of and with its threads.
        pictures: (count, channels, height, width), normalised, unlabelled: batch norms take their statistics anew.

    Raises:
        OverBudget: not even the smallest that was trained for fits; `cheapest` is what that one costs.
        FitError: the device is of another machine, runtime, supernet or size; seconds or memory are bound without one.
        RigError: the runtime that the device is of is not installed.
    """
    clock = clock or (WallClock() if order.device is None else clock_for(order.device.machine))
    if order.device is not None:
        order.device.refuse_other(kit.grounds, clock)
    elif order.budget.on_device:
        raise FitError("a budget of seconds or memory is meant on a device: measure one with 'intarsia meter'.")
    began = time.perf_counter()
    ranking = kit.assembler.rank([order.task], kit.grounds)[0]
    predicted = order.device.predict(ranking) if order.device is not None else {}
    known: dict[str, NDArray[Any]] = dict(ranking.costs)
    if order.device is not None and order.device.remote:
        known["seconds"] = order.device.cautious(ranking)
    told = {**predicted, **known}
    bench = Bench(kit, ranking, known, order, clock, pictures)
    floor, ceiling = (ranking.cut_at_share(share) for share in (kit.lowest, kit.highest))
    bounds = order.budget.bounds
    bench.took["assemble"] = time.perf_counter() - began
    if over := order.budget.exceeded(bench.told(floor)):
        raise refusal(order, bench.made(floor)[3], over)

    afforded = np.all([told[name] <= bound for name, bound in bounds.items()], axis=0)
    high = max(floor, min(ceiling, ranking.cut(afforded) or floor))
    length, found = high, bench.made(high)
    if order.budget.exceeded(found[3]):
        length, found = floor, bench.made(floor) if high > floor else found
        if over := order.budget.exceeded(found[3]):
            raise refusal(order, found[3], over)
        while high - length > 1 and bench.measured < MEASUREMENTS:
            middle = (length + high) // 2
            tried = bench.made(middle)
            if order.budget.exceeded(tried[3]):
                high = middle
            else:
                length, found = middle, tried
    plan, model, lineage, costs = found
    said = {name: float(values[length - ranking.least]) for name, values in predicted.items()}
    return Fulfilled(plan, model, lineage, costs, said, bench.measured, bench.took)


def refusal(order: Order, cheapest: Mapping[str, float], over: list[str]) -> OverBudget:
    """Why no model fits, and what the cheapest costs."""
    bounds = order.budget.bounds
    complaints = ", ".join(f"{cheapest[name]:.6g} {UNITS[name]} and not {bounds[name]:.6g}" for name in over)
    return OverBudget(f"over budget: the cheapest model for this task costs {complaints}.", cheapest)
