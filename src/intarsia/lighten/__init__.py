"""Make a diffusion UNet cheaper (A-SDM). Every planner is listed here; what `PLANNERS` lists is tested."""

from collections.abc import Callable
from dataclasses import dataclass

from ..plan import Plan
from ..plan.forecast import Extrapolate, Fitted
from .inherit import branch_site as branch_site
from .inherit import inherit as inherit


@dataclass(frozen=True)
class Described:
    """A way of making plans, and where the idea comes from."""

    name: str
    summary: str
    source: str


@dataclass(frozen=True)
class Planner(Described):
    """A function that returns a plan.

    Attributes:
        examples: Arguments, besides `rows`, of plans that every host with four levels can run.
    """

    make: Callable[..., Plan]
    examples: tuple[dict, ...]


PLANNERS = (
    Planner(
        name="inherit",
        make=inherit,
        summary="compute some sites on every n-th call and reuse their features in between",
        source="A-SDM, feature inheritance; DeepCache's uniform interval",
        examples=(
            {"every": 2, "sites": "up_blocks.2"},
            {"every": 3, "sites": "mid_block | down_blocks.[23] | up_blocks.[01]"},
            {"every": 5, "sites": "up_blocks.3.layers.1"},
            {"every": 2, "sites": "down_blocks.*"},
            {"every": 3, "sites": "**.attn1"},
            {"every": 4, "sites": "conv_out"},
            {"every": 3, "sites": "host", "forecast": Extrapolate(order=1)},
            {"every": 3, "sites": "**.attentions.*", "carry": "residual"},
            {"every": 2, "sites": "**.resnets.*", "carry": "residual", "forecast": Extrapolate(order=1)},
            {"keys": (0, 1, 2, 5), "sites": "up_blocks.2", "forecast": Extrapolate(order=2, damping=0.5)},
            {"keys": (0, 3), "sites": "up_blocks.1.layers.*", "forecast": Fitted(((1.4, -0.4), (0.9,)))},
            {"every": 3, "sites": "mid_block | up_blocks.*.layers.0", "carry": "residual"},
        ),
    ),
)

# Planners that look at models at work, so they are not one call with a number of rows.
SEARCH = Described(
    name="search",
    summary="watch a site over a few runs, choose the rows to compute under a budget, fit how the others are told",
    source="ours; an exact dynamic program over measured distances",
)
ASSEMBLE = Described(
    name="assemble",
    summary="leave out of a model for good what matters least for what it costs, measured site by site",
    source="A-SDM's model assembly; choosing by measured sensitivity is LD-Pruner's and LAPTOP-Diff's idea",
)
SWITCH = Described(
    name="switch",
    summary="let other UNets answer some of the calls: first, last, in turns, or where it harms least",
    source="A-SDM's multi-UNet switching; T-Stitch, OMS-DPM; the exact program is ours",
)
LOOKING = (SEARCH, ASSEMBLE, SWITCH)
