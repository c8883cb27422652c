"""Everything that can happen at a site. The set is closed: a new action is a design decision.

A cell of a plan's table holds one of these. What *not running* means at a site is the host's affair (its
contract), so the actions themselves carry next to nothing.
"""

from dataclasses import dataclass
from typing import Literal

from ..errors import PlanError
from .forecast import HOLD, Forecast


@dataclass(frozen=True)
class Run:
    """Compute the site, as the model alone would."""


@dataclass(frozen=True)
class Reuse:
    """Answer from what the site last computed: A-SDM's feature inheritance.

    Attributes:
        carry: What is inherited. `output`: the answer itself, so that whatever fed only this site is dead.
            `residual`: what the site added to its input, so that the present input still flows through.
        forecast: How the answer is told from the values computed before: held, or continued.
    """

    carry: Literal["output", "residual"] = "output"
    forecast: Forecast = HOLD

    def __post_init__(self) -> None:
        if self.carry not in ("output", "residual"):
            raise PlanError(f"carry is 'output' or 'residual', not {self.carry!r}.")


@dataclass(frozen=True)
class Skip:
    """Do without the site: its contract says whether its input passes, nothing is added, or it is cut out."""


@dataclass(frozen=True)
class Use:
    """Let another model of the same kind answer in its place.

    In a run only the host itself can be replaced; in a plan of one row that is baked, any site can be filled.
    """

    name: str


Action = Run | Reuse | Skip | Use
