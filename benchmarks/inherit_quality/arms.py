"""The candidates: how each makes its plan, and the share of MACs that it is held to."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from intarsia import Extrapolate, Hold, Plan, Reuse, Rule
from intarsia.lighten import branch_site, inherit, modes
from intarsia.lighten.search import Watched, choose_keys, keys_within, plan_of
from intarsia.lighten.speed import DAMPING
from intarsia.plan.outline import HOST
from intarsia.rig import Host

SPEEDUPS_IN_MACS = (1.4, 2.0, 3.0, 4.0)
ROUNDED_UP = "fewer steps, rounded up"


@dataclass(frozen=True)
class Arm:
    """One row of the table: a plan, or fewer steps of the whole model.

    Attributes:
        family: What a user would call it.
        factor: One over the share of MACs that it is allowed.
        gate: T-GATE's gate step.
    """

    family: str
    factor: float
    plan: Plan | None = None
    steps: int | None = None
    gate: int | None = None

    @property
    def name(self) -> str:
        return f"{self.family} x{self.factor:g}"


def fewest_interval(host: Host, site: str, rows: int, factor: float) -> int | None:
    """The smallest uniform interval that stays within the budget."""
    count = keys_within(host, site, rows, 1 / factor)
    return next((every for every in range(2, rows + 1) if len(modes.uniform(rows, every)) <= count), None)


def arms(host: Host, rows: int, steps: int, watched: Callable[[str], Watched], quick: bool) -> Iterator[Arm]:
    """Every candidate at every budget. `watched` looks at a site once and remembers."""
    site = branch_site(host.outline, 0)
    for factor in SPEEDUPS_IN_MACS[1:2] if quick else SPEEDUPS_IN_MACS:
        yield Arm("fewer steps", factor, steps=math.floor(steps / factor))
        yield Arm(ROUNDED_UP, factor, steps=math.ceil(steps / factor))
        count = keys_within(host, site, rows, 1 / factor)
        every = fewest_interval(host, site, rows, factor)
        if every is not None:
            yield Arm("DeepCache", factor, inherit(rows, every=every, sites=site))
        even = modes.even(rows, count)
        told = {
            "even, held": Hold(),
            "even, line": Extrapolate(1),
            "even, half the line": Extrapolate(1, 0.5),
            "even, parabola": Extrapolate(2),
        }
        for name, forecast in told.items():
            yield Arm(name, factor, inherit(rows, keys=even, sites=site, forecast=forecast))
        look = watched(site)
        yield Arm("even, fitted", factor, plan_of(look, even, depth=3))
        yield Arm("searched", factor, plan_of(look, choose_keys(look, count), depth=3))
        yield from whole_calls(host, rows, factor, watched)
        if quick:
            continue
        for mode in ("front", "middle", "back"):
            keys = modes.MODES[mode](rows, count=count)
            plan = inherit(rows, keys=keys, sites=site, forecast=Extrapolate(1, 0.5))
            yield Arm(f"{mode}, half the line", factor, plan)
        yield from other_levels(host, rows, factor)


def whole_calls(host: Host, rows: int, factor: float, watched: Callable[[str], Watched]) -> Iterator[Arm]:
    """Some calls are told from earlier ones, and nothing of the model is entered."""
    count = keys_within(host, HOST, rows, 1 / factor)
    even = modes.even(rows, count)
    told = {
        "held": Hold(), "line": Extrapolate(1), "most of the line": Extrapolate(1, DAMPING), "parabola": Extrapolate(2),
    }  # fmt: skip
    for name, forecast in told.items():
        yield Arm(f"whole calls, {name}", factor, inherit(rows, keys=even, sites=HOST, forecast=forecast))
    look = watched(HOST)
    yield Arm("whole calls, fitted", factor, plan_of(look, even, depth=3))
    yield Arm("whole calls, searched", factor, plan_of(look, choose_keys(look, count), depth=3))


def other_levels(host: Host, rows: int, factor: float) -> Iterator[Arm]:
    """Inheriting elsewhere: blocks, units with their residuals, subunits. Where a budget is out of reach, nothing."""
    from intarsia import PlanError, price, resolve

    levels = {
        "block up_blocks.1": Rule("1", "up_blocks.1", Reuse()),
        "unit residuals": Rule("1", "**.resnets.* | **.attentions.*", Reuse("residual")),
        "attention residuals": Rule("1", "**.attentions.*", Reuse("residual")),
        "subunits attn1, ff": Rule("1", "**.attn1 | **.ff", Reuse()),
    }
    for name, rule in levels.items():
        bill = price(resolve(Plan(2, (rule,)), host.outline))
        reuse, whole = bill.macs[1], bill.whole
        count = int((rows * whole / factor - rows * reuse) / (whole - reuse) + 1e-9)
        if count < 1:
            continue
        try:
            yield Arm(
                f"{name}, half the line",
                factor,
                inherit(
                    rows, keys=modes.even(rows, min(count, rows)), sites=rule.sites, carry=rule.do.carry,
                    forecast=Extrapolate(1, 0.5),
                ),
            )  # fmt: skip
        except PlanError:
            continue
