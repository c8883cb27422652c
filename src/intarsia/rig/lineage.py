"""Where each tensor of a smaller model came from."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Lineage:
    """For each tensor of the smaller model, the name it has in the model it was cut from."""

    origins: Mapping[str, str]

    @torch.no_grad()
    def fill(self, smaller: nn.Module, source: nn.Module) -> None:
        """Copy every tensor along the lineage."""
        theirs = source.state_dict()
        for name, value in smaller.state_dict().items():
            value.copy_(theirs[self.origins[name]])

    @property
    def renamed(self) -> dict[str, str]:
        """The tensors whose names differ."""
        return {name: origin for name, origin in self.origins.items() if name != origin}
