"""Feature inheritance: answer a site from its last answer instead of computing it.

Source: A-SDM (Zhu et al. 2024), feature inheritance at block, layer and unit level. With the uniform mode
and a `branch_site` it is DeepCache (Ma et al. 2023), to the bit.
Differs from both: rows are calls of the host, not sampler steps, and whatever fed only a reused feature is
never computed, wherever it is.
"""

from ..errors import PlanError
from ..plan import Outline, Plan, Reuse, Rule


def inherit(rows: int, *, every: int, sites: str) -> Plan:
    """Compute the sites on every `every`-th row and reuse their features in between.

    Row 0 always computes. With `every=1` the plan is empty: nothing is reused.

    Args:
        rows: Calls of the host in one run, `hosts.rows(scheduler, steps)`. Not sampler steps.
        every: 2 computes rows 0, 2, 4 and so on.
        sites: Pattern of the sites to reuse; see `intarsia.plan.pattern`.

    Raises:
        PlanError: `every` is not between 1 and `rows`.

    Example:
        >>> print(inherit(6, every=3, sites="mid_block"))
                   0
        host       ######
        mid_block  #..#..
        # run   . reuse   - skip
    """
    if not 1 <= every <= rows:
        raise PlanError(f"every={every}: name a number from 1 (nothing is reused) to {rows}, the rows of the plan.")
    rules = () if every == 1 else (Rule(f"!::{every}", sites, Reuse()),)
    return Plan(rows, rules, made_by={"planner": "inherit", "every": every, "sites": sites})


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
