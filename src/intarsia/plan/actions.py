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


@dataclass(frozen=True)
class Keep:
    """Keep these of the site's units and leave the others out: NN-Factory's gates, decided once.

    Only in a plan of one row, which is baked.

    Attributes:
        units: Their numbers, ascending; at least one.
    """

    units: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.units:
            raise PlanError("keep names no unit: a site keeps at least one.")
        if self.units[0] < 0 or list(self.units) != sorted(set(self.units)):
            raise PlanError(f"the units to keep are numbers from 0, ascending and each once, not {list(self.units)}.")


Action = Run | Reuse | Skip | Use | Keep
