"""What a live plan remembers: for each lane and site, the last few computed values, newest first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..plan.forecast import Forecast


@dataclass
class Memory:
    """The features of one run. Nothing is kept that no later row will ask for."""

    lanes: dict[int, dict[str, list[tuple[int, Tensor]]]] = field(default_factory=dict)

    def holds(self, lane: int, paths: Iterable[str]) -> bool:
        """Whether a value of each of these sites is remembered in this lane."""
        held = self.lanes.get(lane, {})
        return all(path in held for path in paths)

    def open(self, lane: int) -> None:
        """Make room for a lane."""
        self.lanes.setdefault(lane, {})

    def forget(self, lanes: Iterable[int]) -> None:
        """Forget everything of some lanes."""
        for lane in lanes:
            self.lanes.pop(lane, None)

    def clear(self) -> None:
        """Forget everything."""
        self.lanes.clear()

    def put(self, lane: int, path: str, row: int, value: Tensor, depth: int) -> None:
        """Remember a value, and of the older ones as many as are wanted."""
        self.lanes[lane][path] = [(row, value), *self.lanes[lane].get(path, [])][:depth]

    def told(self, lane: int, path: str, row: int, forecast: Forecast) -> Tensor:
        """A site's answer at a row, by its forecast."""
        values = self.lanes[lane][path]
        weights = forecast.weights(row, [computed for computed, _ in values])
        return weighted([value for _, value in values], weights)

    def keep_only(self, lane: int, depths: dict[str, int]) -> None:
        """Forget what is not wanted."""
        held = self.lanes.get(lane)
        if held is None:
            return
        self.lanes[lane] = {path: held[path][:depth] for path, depth in depths.items() if path in held}

    @property
    def bytes(self) -> int:
        """Bytes of everything remembered."""
        return sum(
            value.numel() * value.element_size()
            for lane in self.lanes.values()
            for values in lane.values()
            for _, value in values
        )


def weighted(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """A weighted sum of the newest values; one value of weight 1 is handed on as it is."""
    if weights == (1.0,):
        return values[0]
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=False):
        total = torch.add(total, value, alpha=weight)
    return total
