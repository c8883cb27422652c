"""From an order to a model: rank, cut, bake, measure; and back a little if it is over its budget.

Source: NN-Factory (Xu et al. 2023): customisation by generation, without training. Differs from it: budgets are upper
bounds that are never exceeded; what was predicted is measured before it is promised, but for remote devices.
"""

import math
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import FitError, OverBudget
from ..plan import Plan
from ..rig import bake, peak_bytes
from .budget import UNITS, Budget
from .clocks import Clock, RuntimeClock, WallClock, clock_for, is_of_the_wall, keeping, lasting
from .device import Device
from .kit import Kit
from .metering import picture_for
from .ranking import Ranking
from .refreshing import baked_anew
from .task import Task

STOPS = 126  # models of a task that are measured, some 2 % apart
MEASUREMENTS = 9  # of models on the way to one that fits; halves of so many stops need 7, and two guesses are free
TIMES = 4  # that seconds of a model that fits are measured; the slowest counts: the promise is to hold next time too
SPARE = 0.03  # of the seconds of a budget, that models are left short of: machines are not always as fast
LASTING = 0.1  # seconds of each: a model that takes a thousandth could be lucky for a few dozen calls
Made = tuple[Plan, nn.Module, dict[str, float]]


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
            `seconds` are as predicted, and an error as large as 95 % of held-out subnets stayed within is allowed for.
        predicted: `seconds` and `memory` as the device had said.
        measured: How many models were timed; none for a remote device.
        took: Seconds of `assemble`, `bake`, `convert` for the device's runtime, and `measure`.
        converted: The files that were measured, by name, where the device's runtime has any.
    """

    plan: Plan
    model: nn.Module
    costs: Mapping[str, float]
    predicted: Mapping[str, float]
    measured: int
    took: Mapping[str, float]
    converted: Mapping[str, bytes] = field(default_factory=dict)


@dataclass
class Bench:
    """Where models of one order are made and measured.

    Attributes:
        known: What every beginning of the ranking costs, as far as that is known without making it.
        pictures: Unlabelled, to take the statistics of batch norms anew from; None to leave them.
        measured, tried: How many models were timed, and how many were made for the device.
    """

    kit: Kit
    ranking: Ranking
    known: Mapping[str, NDArray[Any]]
    order: Order
    clock: Clock
    pictures: Tensor | None
    measured: int = 0
    tried: int = 0
    took: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("assemble", "bake", "convert", "measure"), 0.0)
    )

    @property
    def sought(self) -> Budget:
        """The budget that the largest model is sought for: of seconds that are measured, some are to spare."""
        budget, device = self.order.budget, self.order.device
        if budget.seconds is None or device is None or device.remote or not is_of_the_wall(self.clock):
            return budget
        return replace(budget, seconds=(1 - SPARE) * budget.seconds)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the seconds of a step."""
        began = time.perf_counter()
        yield
        self.took[name] += time.perf_counter() - began

    def told(self, length: int) -> dict[str, float]:
        """What is known of a beginning of the ranking."""
        return {name: costs[length - self.ranking.least].item() for name, costs in self.known.items()}

    def made(self, length: int) -> Made:
        """The model of a beginning, and all that it costs."""
        with self.timed("bake"):
            plan = self.ranking.plan(length)
            host, pictures = self.kit.host, self.pictures
            model = bake(plan, host)[0] if pictures is None else baked_anew(plan, host, pictures)
            model.eval().requires_grad_(False)
        costs = self.told(length)
        if self.order.device is not None:
            inputs = picture_for(self.kit.host)  # as the device was measured
            if isinstance(self.clock, RuntimeClock) and not self.order.device.remote:
                with self.timed("convert"):
                    self.clock.converted(model, inputs)
            with self.timed("measure"):
                if not self.order.device.remote:
                    costs["seconds"] = self.slowest(model, inputs)
                    self.measured += 1
                costs["memory"] = peak_bytes(model, inputs)
            self.tried += 1
        return plan, model, costs

    def slowest(self, model: nn.Module, inputs: Tensor) -> float:
        """The most seconds of several measurements; the one that is over the budget is the last."""
        bound, most = self.order.budget.bounds.get("seconds", math.inf), 0.0
        for _ in range(TIMES):
            most = max(most, self.clock.seconds(model, inputs))
            if most > bound:
                break
        return most


def fulfil(order: Order, kit: Kit, *, clock: Clock | None = None, pictures: Tensor | None = None) -> Fulfilled:
    """The model that a kit has for an order: the largest beginning of the task's ranking within every bound.

    No labels, no gradients. With a device, what is promised was measured on the model itself: seconds on the runtime
    that the device is of, and memory as PyTorch holds it; the largest that was predicted to fit is tried first, then
    others; see `searched`. Of measured seconds a few in a hundred are left to spare, if any model allows for that, so
    that the promise holds where the machine is a little slower. Seconds on a remote device are predicted with caution,
    and have to be measured there.

    Args:
        clock: If not given, of the wall, on the runtime that the device is of and with its threads.
        pictures: (count, channels, height, width), normalised, unlabelled: batch norms take their statistics anew. For
            kits whose weights expect statistics of each model by itself. Those of `learned` expect the mixture that
            they were trained among, and where tasks share one head, a refreshed model may be no better than guessing.

    Raises:
        OverBudget: not even the smallest that was trained for fits; `cheapest` is what that one costs.
        FitError: the device is of another machine, runtime, supernet or size, or remote and too often wrong; seconds
            or memory are bound without one; pictures are of another size than the kit's.
        RigError: the runtime that the device is of is not installed.
    """
    if pictures is not None and tuple(pictures.shape[1:]) != kit.host.size:
        wanted = ", ".join(map(str, kit.host.size))
        raise FitError(f"pictures of shape {tuple(pictures.shape)}: the kit takes (count, {wanted}).")
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
    with keeping(clock) as kept:
        bench = Bench(kit, ranking, known, order, lasting(kept, LASTING), pictures)
        floor, ceiling = (ranking.cut_at_share(share) for share in (kit.lowest, kit.highest))
        bench.took["assemble"] = time.perf_counter() - began
        if over := order.budget.exceeded(bench.told(floor)):
            raise refusal(order, bench.made(floor)[2], over)
        length, (plan, model, costs) = searched(bench, {**predicted, **known}, floor, ceiling)
        if over := order.budget.exceeded(costs):
            raise refusal(order, costs, over)
        files = kept.files(model) if isinstance(kept, RuntimeClock) and bench.took["convert"] else {}
    said = {name: float(values[length - ranking.least]) for name, values in predicted.items()}
    return Fulfilled(plan, model, costs, said, bench.measured, bench.took, files)


def searched(bench: Bench, told: Mapping[str, NDArray[Any]], floor: int, ceiling: int) -> tuple[int, Made]:
    """The longest beginning that is told to fit, where all that is bound is known; else one that does when measured.

    What has to be measured is sought among `stops_of` the ranking alone, until the next longer one is over: tighter
    budgets nest, however wrong what is told may be. The longest that was told to fit is tried first; what is told is
    then corrected by what was measured, and the longest that should now fit is tried, or, where too few measurements
    would be left to settle the rest by halves, the one nearest to it.

    Args:
        told: What each beginning is said to cost, from the shortest on.
        floor, ceiling: The shortest and the longest that were trained for.

    Returns:
        The shortest, if none fits with seconds to spare.
    """
    ranking, budget = bench.ranking, bench.sought
    seen = {name: [(0.0, 0.0)] for name in budget.bounds}  # of each model: what was told, and what was measured

    def longest() -> int:
        fits = [told[name] <= told_within(bound, seen[name]) for name, bound in budget.bounds.items()]
        return min(ranking.cut(np.all(fits, axis=0)) or floor, ceiling)

    if budget.bounds.keys() <= bench.known.keys():
        length = longest()
        return length, bench.made(length)
    stops = stops_of(ranking, floor, ceiling)
    fitting, over, found = -1, len(stops), None
    while over - fitting > 1:
        reach = 2 ** (MEASUREMENTS - bench.tried - 1)
        wanted = bisect_right(stops, longest()) - 1
        place = min(max(wanted, fitting + 1, over - reach), over - 1, fitting + reach)
        made = bench.made(stops[place])
        if budget.exceeded(made[2]):
            over = place
        else:
            fitting, found = place, made
        for name in budget.bounds:
            seen[name].append((float(told[name][stops[place] - ranking.least]), made[2][name]))
    return stops[max(fitting, 0)], found or made


def stops_of(ranking: Ranking, floor: int, ceiling: int) -> list[int]:
    """The beginnings that are measured: `STOPS` at most, each dearer in MACs by the same factor than the last."""
    least, macs = ranking.least, ranking.costs["macs"]
    shares = np.geomspace(macs[floor - least], macs[ceiling - least], STOPS)
    lengths = least + np.searchsorted(macs, shares.round(), side="right") - 1
    return np.unique(ranking.ends[[floor, *lengths, ceiling]]).tolist()


def told_within(bound: float, seen: list[tuple[float, float]]) -> float:
    """How much may be told of a cost that shall be within a bound: by the line through the last two models.

    Args:
        seen: Of no model first, and then of each: what was told, and what was measured.
    """
    if len(seen) == 1:
        return bound
    (before, then), (said, was) = seen[-2:]
    steep = (was - then) / (said - before) if said != before else was / said
    return said + (bound - was) / min(max(steep, was / said / 2), was / said * 2)  # noise makes no cliffs


def refusal(order: Order, cheapest: Mapping[str, float], over: list[str]) -> OverBudget:
    """Why no model fits, and what the cheapest costs."""
    bounds = order.budget.bounds
    complaints = ", ".join(f"{cheapest[name]:.6g} {UNITS[name]} and not {bounds[name]:.6g}" for name in over)
    return OverBudget(f"over budget: the cheapest model for this task costs {complaints}.", cheapest)
