"""What a module counts for: a number, one for each block, and when.

EMMA's equations 7 and 8 weigh each module of an assembly; weights per block and windows are ours. A window is of time
steps, not of calls, so that what is told depends on nothing but the time step and can be worked out beforehand.
"""

import copy
import math
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from typing import Union

from ..errors import FitError
from ..hosts import Sampler
from ..plan.pattern import rows_of

Weighed = Union[float, Sequence[float], "Weight"]


@dataclass(frozen=True)
class Window:
    """The time steps from `highest` down to `lowest`, both in it. 1000 is noise, 0 the picture."""

    highest: float = float("inf")
    lowest: float = float("-inf")

    def __contains__(self, time: object) -> bool:
        return isinstance(time, (int, float)) and self.lowest <= time <= self.highest

    @property
    def card(self) -> dict[str, float]:
        """Those of its ends that it has."""
        return {name: end for name, end in asdict(self).items() if math.isfinite(end)}


@dataclass(frozen=True)
class Weight:
    """What a module's additions are multiplied by; 0 leaves it out.

    Attributes:
        value: A number, or one for each block.
        when: The time steps at which the module speaks: a `Window`, or `times_of` some calls of a run. None for the
            window that the module's file names, if it does.
    """

    value: float | tuple[float, ...] = 1.0
    when: Container[float] | None = None

    @classmethod
    def of(cls, given: Weighed) -> "Weight":
        """A weight from what people write for one."""
        if isinstance(given, Weight):
            return given
        return cls(tuple(given) if isinstance(given, Sequence) else float(given))

    def __post_init__(self) -> None:
        if isinstance(self.value, Sequence):
            object.__setattr__(self, "value", tuple(self.value))

    def at(self, block: int) -> float:
        """What it is in one block."""
        return self.value[block] if isinstance(self.value, tuple) else self.value

    def check(self, name: str, blocks: int) -> None:
        """Raise `FitError` if there is not a finite number for every block."""
        if isinstance(self.value, tuple) and len(self.value) != blocks:
            raise FitError(f"{name!r} has {len(self.value)} weights for {blocks} blocks; give one, or {blocks}.")
        if not all(math.isfinite(self.at(block)) for block in range(blocks)):
            raise FitError(f"{name!r} has the weight {self.value}: give a number that is finite.")


def times_of(scheduler: Sampler, steps: int, rows: str) -> frozenset[float]:
    """The time steps of these calls of a run, for `Weight.when`. The scheduler is left as it is.

    Args:
        steps: What the pipeline is asked for.
        rows: In the grammar of plans: "0:10", "!::5", "-3:". See `intarsia.plan.pattern`.

    Raises:
        PlanError: the rows are not of the grammar.
        FitError: a time step is asked for in two calls, and only one of them is named.
    """
    trial = copy.deepcopy(scheduler)
    trial.set_timesteps(steps)
    times = [float(time) for time in trial.timesteps]
    chosen = rows_of(rows, len(times))
    inside = frozenset(times[row] for row in chosen)
    torn = next((row for row, time in enumerate(times) if time in inside and row not in chosen), None)
    if torn is not None:
        raise FitError(
            f"rows {rows!r}: {type(scheduler).__name__} asks at time step {times[torn]:g} more than once, and row "
            f"{torn} is left out where another is in; name both or neither."
        )
    return inside
