"""How a site's answer is told from the values it computed before.

Each forecast is a weighted sum of the last few computed values. Holding the last one is what DeepCache does;
continuing the line or the parabola through the last two or three is TaylorSeer's idea (orders 1 and 2).
Going only part of the way along the line (`damping` below 1), and weights fitted by least squares for each
distance, are ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PlanError


@dataclass(frozen=True)
class Hold:
    """The last computed value."""

    @property
    def depth(self) -> int:
        """How many computed values are looked at."""
        return 1

    def weights(self, row: int, computed: Sequence[int]) -> tuple[float, ...]:
        """What each of the last computed values counts, newest first."""
        return (1.0,)


@dataclass(frozen=True)
class Extrapolate:
    """Continue the polynomial through the last computed values.

    Attributes:
        order: 1 for the line through two values, 2 for the parabola through three.
        damping: How much of the step away from the last value is taken; 1 is all of it.
    """

    order: int = 1
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise PlanError(f"a forecast continues a line (order 1) or a parabola (order 2), not order {self.order!r}.")

    @property
    def depth(self) -> int:
        return self.order + 1

    def weights(self, row: int, computed: Sequence[int]) -> tuple[float, ...]:
        """Lagrange's weights at `row`, drawn towards the last value; of a lower order while values are few."""
        points = computed[: self.depth]
        weights = []
        for point in points:
            weight = 1.0
            for other in points:
                if other != point:
                    weight *= (row - other) / (point - other)
            weights.append(self.damping * weight)
        weights[0] += 1 - self.damping
        return tuple(weights)


@dataclass(frozen=True)
class Fitted:
    """Weights found by least squares on a few runs, for each distance from the last computed row.

    Attributes:
        by_distance: At place d - 1, the weights for a row d after the last computed one, newest value first.
            Farther rows use the last entry.
    """

    by_distance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.by_distance or not all(self.by_distance):
            raise PlanError("fitted weights: at least one list of at least one weight.")
        if not all(math.isfinite(weight) for weights in self.by_distance for weight in weights):
            raise PlanError("fitted weights: every weight is a finite number.")

    @property
    def depth(self) -> int:
        return max(len(weights) for weights in self.by_distance)

    def weights(self, row: int, computed: Sequence[int]) -> tuple[float, ...]:
        """The fitted weights, or the last value while too few are computed."""
        distance = min(row - computed[0], len(self.by_distance))
        weights = self.by_distance[distance - 1]
        return weights if len(computed) >= len(weights) else (1.0,)


Forecast = Hold | Extrapolate | Fitted
HOLD = Hold()
