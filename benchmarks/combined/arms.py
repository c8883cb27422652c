"""Ways of drawing with fewer MACs: each lever alone, levers together, and fewer steps."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from intarsia import Bill, Plan, PlanError, price, resolve, rig
from intarsia.lighten.search import Watched, choose_keys, plan_of
from intarsia.lighten.switch import last, switch

FACTORS = (3.0, 4.3, 5.0, 6.0)  # fewer MACs than the whole run's; seconds fall less
FEWER = (25, 17, 12, 10, 8)
COMBINED = "student, inherit"  # how the families of arms begin that have more than one lever
TEACHER, STUDENT = "teacher", "student"

Unets = Mapping[str, rig.Host]


@dataclass(frozen=True)
class Arm:
    """One way of drawing.

    Attributes:
        family: Which levers.
        model: The name of the one whose UNet is planned for.
        steps: Of the sampler.
        plan: For its UNet.
        others: Names of UNets that the plan uses.
    """

    family: str
    model: str
    steps: int
    plan: Plan
    others: tuple[str, ...] = ()

    def worn(self, unets: Unets) -> AbstractContextManager:
        return rig.applied(self.plan, unets[self.model], others={name: unets[name] for name in self.others})

    def bill(self, unets: Unets) -> Bill:
        used = {name: unets[name] for name in self.others}
        outlines = {name: host.outline for name, host in used.items()}
        return price(resolve(self.plan, unets[self.model].outline, used), outlines)


def within(watched: Watched, cost: Callable[[Plan], int], budget: float, answered: Sequence[int]) -> Plan | None:
    """The searched inheritance plan that computes the most calls within so many MACs; None if nothing would be saved.

    Args:
        answered: Rows that the teacher answers; none is computed for their sake.

    Raises:
        PlanError: inheriting as much as can be is not cheap enough.
    """
    matters = replace(watched, weight=np.where(np.isin(range(watched.rows), answered), 0.0, watched.weight))
    ending = switch(watched.rows, {TEACHER: answered})

    def computing(count: int) -> Plan:
        return plan_of(watched, choose_keys(matters, count), depth=3) | ending

    most = bisect_right(range(1, watched.rows), budget, key=lambda count: cost(computing(count)))
    if most == 0:
        raise PlanError(f"the least is {cost(computing(1)) / budget:.2f} of the budget.")
    return computing(most) if most < watched.rows - 1 else None


def arms_of(
    unets: Unets, rows_of: Callable[[int], int], steps: int, look: Callable[[str, int], Watched], refused: list[str]
) -> Iterator[Arm]:
    """Every arm; the whole model's own run comes first. What cannot be so cheap is told in `refused`.

    Args:
        rows_of: How often the UNet is called in so many steps.
        look: What is seen of a model's calls in so many steps.
    """

    def arm(family: str, model: str, count: int, plan: Plan | None = None, *others: str) -> Arm:
        return Arm(family, model, count, plan or Plan(rows_of(count)), others)

    yield arm("whole", TEACHER, steps)
    for count in FEWER:
        if count < steps:
            yield arm(f"fewer steps, {count}", TEACHER, count)
            yield arm(f"student, {count} steps", STUDENT, count)
    yield arm("student", STUDENT, steps)
    rows = rows_of(steps)
    yield arm("switch, student first", STUDENT, steps, switch(rows, {TEACHER: last(rows, rows // 2)}), TEACHER)
    full = unets[TEACHER].outline.macs * rows
    for count in (steps, steps // 2):
        for name, model, ends in (("inherit", TEACHER, 0), (COMBINED, STUDENT, 0), (COMBINED, STUDENT, 2)):
            others = (TEACHER,) * bool(ends)

            def cost(plan: Plan, model: str = model, others: tuple[str, ...] = others) -> int:
                return arm("", model, 1, plan, *others).bill(unets).total

            for factor in FACTORS:
                family = f"{name} x{factor:g}, {count} steps" + ", teacher last" * bool(ends)
                try:
                    plan = within(look(model, count), cost, full / factor, last(rows_of(count), ends))
                except PlanError as error:
                    refused.append(f"{family}: {error}")
                    continue
                if plan is not None:
                    yield arm(family, model, count, plan, *others)
