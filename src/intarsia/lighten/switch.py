"""Multi-UNet switching: another UNet answers some of the calls.

Source: A-SDM (Zhu et al. 2024) lets a compressed UNet answer early calls and the original the later ones; T-Stitch
does so by a share of the steps, OMS-DPM searches for the order. A boundary here is a whole number of calls,
printed in the plan, so there is no rounding to disagree about; the search is ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import PlanError
from ..plan import Plan, Rule, Use
from ..plan.pattern import write_rows
from ..rig import Host, applied


def switch(rows: int, answers: Mapping[str, Sequence[int]]) -> Plan:
    """Let other models answer in these rows.

    Args:
        answers: For each name of a model, the rows that it answers.

    Raises:
        PlanError: a row is named twice, or does not exist.
    """
    named = [row for chosen in answers.values() for row in chosen]
    if len(set(named)) < len(named):
        raise PlanError("a row can be answered by one model only.")
    if wrong := [row for row in named if not 0 <= row < rows]:
        raise PlanError(f"there is no row {wrong[0]} in a plan of {rows} rows (0 to {rows - 1}).")
    rules = tuple(Rule(write_rows(chosen, rows), "host", Use(name)) for name, chosen in answers.items() if len(chosen))
    counted: dict[str, str | int | float | bool] = {name: len(chosen) for name, chosen in answers.items()}
    return Plan(rows, rules, made_by={"planner": "switch", **counted})


def first(rows: int, count: int, order: int = 1) -> tuple[int, ...]:
    """The first `count` rows: the other model begins. Calls of one sampler step are not torn apart.

    Args:
        order: Calls that a sampler step makes, `scheduler.order`.
    """
    return tuple(range(whole_steps(rows, count, order)))


def last(rows: int, count: int, order: int = 1) -> tuple[int, ...]:
    """At most `count` last rows, from the beginning of a sampler step: the other model ends."""
    whole_steps(rows, count, order)
    return tuple(range(-(-(rows - count) // order) * order, rows))


def spread(rows: int, count: int, order: int = 1) -> tuple[int, ...]:
    """Rows spread evenly over the run, so that the models take turns."""
    steps, chosen = -(-rows // order), -(-whole_steps(rows, count, order) // order)
    starts = [int((place + 0.5) * steps / chosen) * order for place in range(chosen)] if chosen else []
    return tuple(row for start in starts for row in range(start, min(start + order, rows)))


def whole_steps(rows: int, count: int, order: int) -> int:
    """`count` rounded down to whole sampler steps.

    Raises:
        PlanError: there are not so many rows.
    """
    if not 0 <= count <= rows:
        raise PlanError(f"count={count}: name a number from 0 to {rows}, the rows of the plan.")
    return rows if count == rows else count // order * order


ORDERS: dict[str, Callable[..., tuple[int, ...]]] = {"first": first, "last": last, "spread": spread}


def sampler_steps(rows: int, order: int = 1) -> tuple[range, ...]:
    """The rows of each sampler step; Heun's last step is one call."""
    return tuple(range(start, min(start + order, rows)) for start in range(0, rows, order))


@dataclass(frozen=True)
class Sensitivity:
    """How far the final latents move when one model answers one sampler step.

    Attributes:
        names: The models.
        harm: Squared distance, (models, steps).
        steps: The rows of each step.
    """

    names: tuple[str, ...]
    harm: np.ndarray
    steps: tuple[range, ...]


def sensitivity_of(
    host: Host, others: Mapping[str, Host], run: Callable[[], Tensor], rows: int, order: int = 1
) -> Sensitivity:
    """Let each of the others answer each sampler step alone. Calls `run` once whole, and once for each step and model.

    Args:
        order: Calls that a sampler step makes, `scheduler.order`.
    """
    whole, steps = run(), sampler_steps(rows, order)
    harm = np.zeros((len(others), len(steps)))
    for place, name in enumerate(others):
        for number, step in enumerate(steps):
            with applied(switch(rows, {name: step}), host, others=others):
                harm[place, number] = float((run() - whole).double().square().sum())
    return Sensitivity(tuple(others), harm, steps)


def cheapest_harm(seen: Sensitivity, costs: Sequence[float], budget: float) -> dict[str, list[int]]:
    """Which model answers which rows, so that the harms add up to the least within a budget. Exact; no step is torn.

    What is spent depends only on how many rows each model answers, so for each such count the best way is kept.

    Args:
        costs: What a call costs, of the host and then of each model; in units of the host's.
        budget: What all rows may cost together.

    Raises:
        PlanError: the cheapest model in every row costs more.
    """
    harm = np.vstack([np.zeros(len(seen.steps)), seen.harm])
    best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {(0,) * len(costs): (0.0, ())}
    for number, step in enumerate(seen.steps):
        longer: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
        for counts, (sofar, chosen) in best.items():
            for place in range(len(costs)):
                after = (*counts[:place], counts[place] + len(step), *counts[place + 1 :])
                found = (sofar + float(harm[place, number]), (*chosen, place))
                if after not in longer or found[0] < longer[after][0]:
                    longer[after] = found
        best = longer
    within = {counts: one for counts, one in best.items() if np.dot(counts, costs) <= budget * (1 + 1e-9)}
    if not within:
        least = min(costs) * sum(map(len, seen.steps))
        raise PlanError(f"even the cheapest model in every row costs {least:.1f} host calls, more than {budget:.1f}.")
    chosen = min(within.values())[1]
    return {
        name: [row for step, answering in zip(seen.steps, chosen, strict=True) if answering == place for row in step]
        for place, name in enumerate(seen.names, 1)
    }


@dataclass(frozen=True)
class Switched:
    """What a search came to: the best plan, and for each candidate the mean squared distance of its latents."""

    plan: Plan
    tried: Mapping[str, float]


def search_switch(
    host: Host,
    others: Mapping[str, Host],
    run: Callable[[], Tensor],
    rows: int,
    macs_ratio: float,
    *,
    order: int = 1,
    seen: Sensitivity | None = None,
) -> Switched:
    """The best order in which UNets answer the calls of a run, within a share of the host's MACs.

    Candidates are the searched order and, for each other model, first, last and spread. Each is run whole.

    Args:
        run: Draws a few pictures with fixed seeds and returns their final latents. Report on other pictures.
        order: Calls that a sampler step makes, `scheduler.order`.
        seen: What `sensitivity_of` found of these models and rows, if another budget was searched before.

    Raises:
        PlanError: no order is so cheap.
    """
    costs = [1.0, *(other.outline.macs / host.outline.macs for other in others.values())]
    seen = seen or sensitivity_of(host, others, run, rows, order)
    candidates = {"searched": switch(rows, cheapest_harm(seen, costs, macs_ratio * rows))}
    for (name, _), cost in zip(others.items(), costs[1:], strict=True):
        count = int(np.ceil(rows * (1 - macs_ratio) / (1 - cost) - 1e-9)) if cost < 1 else rows + 1
        if count <= rows:
            for kind, chosen in ORDERS.items():
                answered = chosen(rows, min(-(-count // order) * order, rows), order)
                if rows - len(answered) * (1 - cost) <= macs_ratio * rows + 1e-9:  # whole steps may be fewer calls
                    candidates[f"{name} {kind}"] = switch(rows, {name: answered})
    whole = run()
    tried = {}
    for label, plan in candidates.items():
        with applied(plan, host, others=others):
            tried[label] = float((run() - whole).double().square().mean())
    return Switched(candidates[min(tried, key=lambda label: tried[label])], tried)
