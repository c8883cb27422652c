"""Ways of drawing with fewer MACs: each lever alone, levers together, and fewer steps."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from diffusers import DiffusionPipeline

from intarsia import Bill, Plan, PlanError, hosts, price, resolve, rig
from intarsia.lighten.search import Watched, choose_keys, plan_of
from intarsia.lighten.switch import last, switch

FACTORS = (3.0, 4.3, 5.0, 6.0)  # fewer MACs than the whole run's; seconds fall less
FEWER = (25, 17, 12, 10, 8)
COMBINED = "student, inherit"  # how the families of arms begin that have more than one lever

Look = Callable[[DiffusionPipeline, int], Watched]


@dataclass(frozen=True)
class Arm:
    """One way of drawing.

    Attributes:
        family: Which levers.
        pipe: The pipeline whose UNet is planned for.
        host: That UNet.
        steps: Of the sampler.
        plan: For its UNet.
        others: UNets that the plan uses.
    """

    family: str
    pipe: DiffusionPipeline
    host: rig.Host
    steps: int
    plan: Plan
    others: dict[str, rig.Host]

    def worn(self) -> AbstractContextManager:
        return rig.applied(self.plan, self.host, others=self.others)

    @property
    def bill(self) -> Bill:
        outlines = {name: host.outline for name, host in self.others.items()}
        return price(resolve(self.plan, self.host.outline, self.others), outlines)


def within(watched: Watched, cost: Callable[[Plan], int], budget: float, answered: Sequence[int]) -> Plan | None:
    """The searched inheritance plan that computes the most calls within so many MACs; None if nothing would be saved.

    Args:
        answered: Rows that the teacher answers; none is computed for their sake.

    Raises:
        PlanError: inheriting as much as can be is not cheap enough.
    """
    matters = replace(watched, weight=np.where(np.isin(range(watched.rows), answered), 0.0, watched.weight))
    ending = switch(watched.rows, {"teacher": answered})

    def computing(count: int) -> Plan:
        return plan_of(watched, choose_keys(matters, count), depth=3) | ending

    most = bisect_right(range(1, watched.rows), budget, key=lambda count: cost(computing(count)))
    if most == 0:
        raise PlanError(f"the least is {cost(computing(1)) / budget:.2f} of the budget.")
    return computing(most) if most < watched.rows - 1 else None


def arms_of(
    whole: DiffusionPipeline,
    light: DiffusionPipeline,
    hosts_of: dict[int, rig.Host],
    steps: int,
    look: Look,
    refused: list[str],
) -> Iterator[Arm]:
    """Every arm; the whole model's own run comes first. What cannot be so cheap is told in `refused`.

    Args:
        hosts_of: For the `id` of each pipeline, its UNet.
        look: What is seen of a pipeline's calls in so many steps.
    """
    teacher = {"teacher": hosts_of[id(whole)]}

    def arm(family: str, pipe: DiffusionPipeline, count: int, plan: Plan | None = None, **others: rig.Host) -> Arm:
        empty = Plan(hosts.rows(pipe.scheduler, count))
        return Arm(family, pipe, hosts_of[id(pipe)], count, plan or empty, others)

    yield arm("whole", whole, steps)
    for count in FEWER:
        if count < steps:
            yield arm(f"fewer steps, {count}", whole, count)
            yield arm(f"student, {count} steps", light, count)
    yield arm("student", light, steps)
    rows = hosts.rows(light.scheduler, steps)
    yield arm("switch, student first", light, steps, switch(rows, {"teacher": last(rows, rows // 2)}), **teacher)
    full = hosts_of[id(whole)].outline.macs * rows
    for count in (steps, steps // 2):
        for name, pipe, ends in (("inherit", whole, 0), (COMBINED, light, 0), (COMBINED, light, 2)):
            rows = hosts.rows(pipe.scheduler, count)
            others = teacher if ends else {}

            def cost(plan: Plan, pipe: DiffusionPipeline = pipe, others: dict[str, rig.Host] = others) -> int:
                return arm("", pipe, 1, plan, **others).bill.total

            for factor in FACTORS:
                family = f"{name} x{factor:g}, {count} steps" + ", teacher last" * bool(ends)
                try:
                    plan = within(look(pipe, count), cost, full / factor, last(rows, ends))
                except PlanError as error:
                    refused.append(f"{family}: {error}")
                    continue
                if plan is not None:
                    yield arm(family, pipe, count, plan, **others)
