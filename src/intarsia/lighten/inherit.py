"""Feature inheritance: answer a site from its last answers instead of computing it.

Source: A-SDM (Zhu et al. 2024), feature inheritance at block, layer and unit level. With the uniform mode
and a `branch_site` it is DeepCache (Ma et al. 2023), to the bit.
Differs from both: rows are calls of the host, not sampler steps; whatever fed only a reused feature is
never computed, wherever it is; and a feature can be forecast from its last values instead of held.
"""

from collections.abc import Sequence
from typing import Literal

from ..errors import PlanError
from ..plan import Outline, Plan, Reuse, Rule
from ..plan.forecast import HOLD, Forecast
from ..plan.pattern import write_rows
from .modes import explicit, uniform


def inherit(
    rows: int,
    *,
    sites: str,
    every: int | None = None,
    keys: Sequence[int] | None = None,
    carry: Literal["output", "residual"] = "output",
    forecast: Forecast = HOLD,
) -> Plan:
    """Compute the sites in some rows and answer from memory in the others.

    Row 0 always computes. With `every=1` the plan is empty: nothing is reused.

    Args:
        rows: Calls of the host in one run, `hosts.rows(scheduler, steps)`. Not sampler steps.
        sites: Pattern of the sites to reuse; see `intarsia.plan.pattern`.
        every: 2 computes rows 0, 2, 4 and so on.
        keys: Instead of `every`, the rows that compute, from a function in `intarsia.lighten.modes`.
        carry: `output`: the site's answer is inherited. `residual`: what it added to its input.
        forecast: How the answer is told from the values computed before; `Hold`, `Extrapolate` or `Fitted`.

    Raises:
        PlanError: neither or both of `every` and `keys`, or rows that do not exist.

    Example:
        >>> print(inherit(6, every=3, sites="mid_block"))
                   0
        host       ######
        mid_block  #..#..
        # run   . reuse   - skip
    """
    if (every is None) == (keys is None):
        raise PlanError("say either 'every' or 'keys'.")
    chosen = uniform(rows, every) if every is not None else explicit(rows, keys or ())
    others = sorted(set(range(rows)) - set(chosen))
    text = f"!::{every}" if every is not None else write_rows(others, rows)
    rules = (Rule(text, sites, Reuse(carry, forecast)),) if others else ()
    made_by: dict[str, str | int | float | bool] = {"planner": "inherit", "computed": len(chosen), "sites": sites}
    return Plan(rows, rules, made_by=made_by)


def branch_site(outline: Outline, branch: int) -> str:
    """The site that DeepCache's branch of this number reuses: 0 leaves the least to compute.

    Branch `k` computes the last `k + 1` up layers anew and reuses what is fed into them.

    Raises:
        PlanError: there is no such branch.
    """
    layers = [site.path for site in outline.of_level("layer") if site.path.startswith("up_blocks.")]
    if not 0 <= branch < len(layers):
        raise PlanError(f"branch {branch}: this host has the branches 0 to {len(layers) - 1}.")
    fed, first = ["mid_block", *layers][-2 - branch], layers[-1 - branch]
    block, fed_block = first.split(".layers.")[0], fed.split(".layers.")[0]
    return fed if fed_block == block else fed_block
