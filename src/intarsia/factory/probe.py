"""What is in each cell of a picture, told from layers inside a supernet: a teacher's aid, thrown away afterwards.

Where answers are no concepts, such as yes and no, heads that learn from them alone stay at chance.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Told(NamedTuple):
    """What one call of a network tells.

    Attributes:
        answers: (batch, answers): what the network says itself.
        cells: (batch, concepts, rows, columns): logits of what is in each cell.
        counts: (batch, concepts, 1 + cells): logits of how many cells hold each concept; None if nobody counts.
    """

    answers: Tensor
    cells: Tensor
    counts: Tensor | None


class Probe(nn.Module):
    """Looks at one layer for what is in each cell, and at a later one, if wanted, for how many cells hold it.

    Args:
        net: A network that it is to look into; others of the same layers and widths may be shown to it later.
        size: (channels, height, width) of its pictures.
        layer: The module whose map, (batch, channels, height, width), has a place for each cell.
        concepts: How many things there are to tell apart.
        cells: Rows and columns of the grid; the map's sides are multiples of it.
        counting: The module, after `layer`, from whose map to count.
    """

    def __init__(
        self,
        net: nn.Module,
        size: tuple[int, int, int],
        layer: str,
        concepts: int,
        cells: int,
        *,
        counting: str | None = None,
    ) -> None:
        super().__init__()
        self.layers = (layer,) if counting is None else (layer, counting)
        self.concepts, self.cells = concepts, cells
        with torch.no_grad():
            _, maps = self.heard(net, torch.zeros(2, *size))
        widths = [one.shape[1] for one in maps]
        self.placing = nn.Conv2d(widths[0], concepts, 1)
        self.counting = nn.Linear(widths[1], concepts * (1 + cells**2)) if counting is not None else None

    def heard(self, net: nn.Module, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the network answers in a call, and what the layers hand on in it."""
        maps: list[Tensor] = []
        handles = [
            net.get_submodule(layer).register_forward_hook(lambda _module, _args, out: maps.append(out))
            for layer in self.layers
        ]
        try:
            return net(pictures), maps
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, net: nn.Module, pictures: Tensor) -> Told:
        answers, maps = self.heard(net, pictures)
        placed = self.placing(F.adaptive_avg_pool2d(maps[0], self.cells))
        if self.counting is None:
            return Told(answers, placed, None)
        return Told(answers, placed, self.counting(maps[1].mean((2, 3))).unflatten(1, (self.concepts, -1)))

    def wrong(self, told: Told, cells: Tensor) -> Tensor:
        """Cross-entropy of what is in the cells, and of the counts.

        Args:
            cells: (batch, rows, columns): the concept in each.
        """
        wrong = F.cross_entropy(told.cells, cells)
        if told.counts is None:
            return wrong
        counts = F.one_hot(cells.flatten(1), self.concepts).sum(1)
        return wrong + F.cross_entropy(told.counts.transpose(1, 2), counts)
