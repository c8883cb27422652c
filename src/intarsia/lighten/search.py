"""A planner that looks: watch a site over a few runs, then choose when to compute it and how to tell it between.

Two things are watched. The *Gram matrix* of the site's answers over the rows of a run: from it alone, the best
weights for telling any row from any others, and the error left, are known in closed form. And each row's
*weight*: how far the final latents move when only that row is told instead of computed. The rows to compute are
then chosen by dynamic programming, exactly, for any number of them.

Source: ours. The idea of choosing when to inherit from measured change is A-SDM's and DeepCache's successors';
telling a row by weights fitted to it alone, and the program over Gram matrices, we found nowhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import PlanError
from ..plan import Bill, Extrapolate, Fitted, Plan, Reuse, Rule, price, resolve
from ..plan.outline import HOST
from ..rig import Host, applied
from ..rig.listening import listening
from .inherit import inherit
from .modes import even

DAMPINGS = (0.5, 0.7, 1.0)  # shares of the step along the line that are tried
RUNS = 8  # of a search besides one for each row: the whole model's and one for each candidate
RIDGE = 1e-4  # of the Gram matrix's mean diagonal: keeps weights small where values are almost equal


@dataclass(frozen=True)
class Watched:
    """What was seen of one site.

    Attributes:
        site: The site.
        gram: Inner products of its answers in any two rows, summed over runs: (rows, rows).
        weight: For each row, squared distance of the final latents per squared error of the site there.
    """

    site: str
    gram: np.ndarray
    weight: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.gram)

    def told(self, row: int, computed: Sequence[int]) -> tuple[np.ndarray, float]:
        """The best weights for telling a row from computed ones, and the squared error left."""
        known = list(computed)
        inner = self.gram[np.ix_(known, known)]
        ridge = RIDGE * np.trace(inner) / len(known) * np.eye(len(known))
        wished = self.gram[known, row]
        # The last value is the prior: what is fitted is the way from it, so that ridge draws towards holding.
        hold = np.eye(len(known))[0]
        weights = hold + np.linalg.solve(inner + ridge, wished - inner @ hold)
        left = self.gram[row, row] - 2 * weights @ wished + weights @ inner @ weights
        return weights, float(max(left, 0.0))


def watch(host: Host, site: str, run: Callable[[], Tensor], rows: int) -> Watched:
    """See how a site's answers move over a run, and how much each row of it matters.

    Calls `run` once whole and once for each row.

    Args:
        run: Draws a few pictures with fixed seeds and returns their final latents.
    """
    whole, gram = run_with_gram(host, answering_unit(host, site), run, rows)
    weight = np.zeros(rows)
    for row in range(1, rows):
        only = Plan(rows, (Rule(str(row), site, Reuse()),))
        with applied(only, host):
            moved = float((run() - whole).double().square().sum())
        error = gram[row, row] - 2 * gram[row - 1, row] + gram[row - 1, row - 1]
        weight[row] = moved / max(error, 1e-12)
    return Watched(site, gram, weight)


def answering_unit(host: Host, site: str) -> str:
    """The unit whose output a site's reuse inherits.

    Raises:
        PlanError: the site is left at several places, so that no single answer can be watched.
    """
    if site == HOST:
        return host.outline.root
    found = host.outline.by_path[site]
    units = host.outline.leaving(found.parts) if found.level in ("block", "layer") else (site,)
    if len(units) != 1:
        raise PlanError(
            f"{site!r} hands on {len(units)} features; name a site with one, such as a layer of an up block."
        )
    return units[0]


def run_with_gram(host: Host, unit: str, run: Callable[[], Tensor], rows: int) -> tuple[Tensor, np.ndarray]:
    """Run the whole host and take down one unit's answers as inner products."""
    with listening(host.module, [unit], copies=True) as heard:
        latents = run()
    answers = heard[unit]
    if len(answers) != rows:
        raise PlanError(f"the run made {len(answers)} calls of the model, not {rows}.")
    flat = torch.stack([answer.flatten().float() for answer in answers]).double()
    return latents, (flat @ flat.T).cpu().numpy()


def choose_keys(watched: Watched, count: int, depth: int = 2) -> tuple[int, ...]:
    """The rows to compute, `count` of them, that leave the least weighted error when the others are told.

    Exact by dynamic programming over the last two computed rows; a `depth` of 1 tells from the last one alone.
    """
    rows = watched.rows
    if not 1 <= count <= rows:
        raise PlanError(f"count={count}: name a number from 1 to {rows}, the rows of the plan.")
    stretch = stretch_costs(watched, depth)
    # best[before, last]: least error with `last` the newest key and `before` the one before it (or itself).
    best = np.full((rows, rows), np.inf)
    best[0, 0] = 0.0
    steps: list[np.ndarray] = []
    for _ in range(count - 1):
        grown = np.full((rows, rows), np.inf)
        came = np.zeros((rows, rows), dtype=int)
        for last in range(rows):
            for following in range(last + 1, rows):
                total = best[:, last] + stretch[:, last, following]
                came[last, following] = int(np.argmin(total))
                grown[last, following] = total[came[last, following]]
        steps.append(came)
        best = grown
    total = best + stretch[:, :, rows]
    before, last = (int(place) for place in np.unravel_index(np.argmin(total), total.shape))
    keys = [last]
    for came in reversed(steps):
        keys.append(before)
        before, last = int(came[before, last]), before
    return tuple(sorted(set(keys)))


def stretch_costs(watched: Watched, depth: int) -> np.ndarray:
    """Errors of telling all rows between two neighbouring keys: at [before, last, following]."""
    rows = watched.rows
    costs = np.full((rows, rows, rows + 1), np.inf)
    for last in range(rows):
        for before in range(last + 1):
            computed = [last] if before == last or depth == 1 else [last, before]
            if before == last and last > 0:
                continue  # only the first key has none before it
            total = 0.0
            for following in range(last + 1, rows + 1):
                costs[before, last, following] = total
                if following < rows:
                    total += watched.weight[following] * watched.told(following, computed)[1]
    return costs


def plan_of(watched: Watched, keys: Sequence[int], depth: int = 2) -> Plan:
    """A plan that computes the site in the key rows and tells each other row by its own best weights."""
    rules = []
    for row in sorted(set(range(watched.rows)) - set(keys)):
        computed = sorted((key for key in keys if key < row), reverse=True)[:depth]
        weights, _ = watched.told(row, computed)
        rounded = tuple(round(float(weight), 4) for weight in weights)
        rules.append(Rule(str(row), watched.site, Reuse(forecast=Fitted((rounded,)))))
    made_by: dict[str, str | int | float | bool] = {
        "planner": "search", "site": watched.site, "computed": len(keys), "depth": depth,
    }  # fmt: skip
    return Plan(watched.rows, tuple(rules), made_by=made_by)


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        plan: The best plan within the budget.
        bill: Its price.
        tried: For each candidate, its name and the mean squared distance of its latents to the whole model's.
    """

    plan: Plan
    bill: Bill
    tried: dict[str, float]


def search(host: Host, site: str, run: Callable[[], Tensor], rows: int, macs_ratio: float) -> Found:
    """The best plan that reuses one site and stays within a share of the whole host's MACs.

    Candidates are plans of chosen rows (chosen for telling from two values) and of evenly spread ones, told from the
    last two or three by weights fitted to what was watched, or along the line, which may do better where answers under
    the plan stray from those that were watched. Each is run, and the one whose final latents are nearest to the whole
    model's is returned.

    Args:
        run: Draws a few pictures with fixed seeds and returns their final latents. Report on other pictures.
        macs_ratio: The budget, between 0 and 1.

    Raises:
        PlanError: reusing this site cannot save so much.
    """
    count = keys_within(host, site, rows, macs_ratio)
    watched = watch(host, site, run, rows)
    spread = even(rows, count)
    chosen = choose_keys(watched, count)
    candidates = {
        f"{name}, depth {depth}": plan_of(watched, keys, depth)
        for name, keys in (("even", spread), ("chosen", chosen)) for depth in (2, 3)
    } | {
        f"even, {damping:g} of the line": inherit(rows, sites=site, keys=spread, forecast=Extrapolate(1, damping))
        for damping in DAMPINGS
    }  # fmt: skip
    whole = run()
    tried = {}
    for name, plan in candidates.items():
        with applied(plan, host):
            tried[name] = float((run() - whole).double().square().mean())
    best = min(tried, key=lambda name: tried[name])
    plan = candidates[best]
    plan = replace(plan, made_by={**plan.made_by, "planner": "search"})
    return Found(plan, price(resolve(plan, host.outline)), tried)


def search_among(host: Host, sites: Sequence[str], run: Callable[[], Tensor], rows: int, macs_ratio: float) -> Found:
    """The best plan over several sites, each searched for by itself; what cannot save so much is passed over.

    Raises:
        PlanError: none of the sites can save so much.
    """
    found: dict[str, Found] = {}
    refused: list[PlanError] = []
    for site in sites:
        try:
            found[site] = search(host, site, run, rows, macs_ratio)
        except PlanError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    best = min(found, key=lambda site: min(found[site].tried.values()))
    tried = {f"{site}, {name}": distance for site, one in found.items() for name, distance in one.tried.items()}
    return Found(found[best].plan, found[best].bill, tried)


def keys_within(host: Host, site: str, rows: int, macs_ratio: float) -> int:
    """How many rows may compute the site within a share of the MACs."""
    reuse = price(resolve(inherit(rows, every=rows, sites=site), host.outline)).macs[1] if rows > 1 else 0
    whole = host.outline.macs
    count = int((macs_ratio * rows * whole - rows * reuse) / (whole - reuse) + 1e-9)
    if count < 1:
        least = (whole + (rows - 1) * reuse) / (rows * whole)
        raise PlanError(
            f"reusing {site!r} leaves {least:.1%} of the MACs at the least, more than the {macs_ratio:.1%} asked for. "
            "Name a site nearer to the output."
        )
    return min(count, rows)
