"""What a model may cost: any of MACs, parameters, bytes, memory and seconds, together."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ..errors import FitError

UNITS = {"seconds": "s", "memory": "B", "macs": "MACs", "params": "parameters", "bytes": "B"}


@dataclass(frozen=True)
class Budget:
    """Upper bounds, met exactly; what is None may cost anything.

    Attributes:
        seconds: Of one call, on the device of the order.
        memory: Bytes of all tensors alive at once during one call, weights included.
        macs: Multiply-accumulates of one call.
        params: Parameters.
        bytes: Of parameters and buffers: the size of the file of weights, but for its header.

    Raises:
        FitError: nothing is bounded, or a bound is not a positive number.
    """

    seconds: float | None = None
    memory: float | None = None
    macs: float | None = None
    params: float | None = None
    bytes: float | None = None

    def __post_init__(self) -> None:
        if not self.bounds:
            raise FitError(f"a budget bounds something: {', '.join(UNITS)}.")
        wrong = {name: bound for name, bound in self.bounds.items() if not (math.isfinite(bound) and bound > 0)}
        if wrong:
            raise FitError([f"a budget of {bound:g} {UNITS[name]} is none." for name, bound in wrong.items()])

    @property
    def bounds(self) -> dict[str, float]:
        """What is bounded, by name."""
        return {name: bound for name, bound in asdict(self).items() if bound is not None}

    @property
    def on_device(self) -> bool:
        """Whether a device has to say what it affords."""
        return self.seconds is not None or self.memory is not None

    def exceeded(self, costs: Mapping[str, float]) -> list[str]:
        """The bounds that these costs exceed, by name."""
        return [name for name, bound in self.bounds.items() if name in costs and costs[name] > bound]
