"""A running average of weights, which generates better than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The exponential average of named parameters, kept in single precision.

    The decay grows from 0 towards `decay` as (1 + step) / (10 + step), so that the first weights, which mean
    nothing, are soon forgotten.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.live = parameters
        self.kept = {name: value.detach().float().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the live weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        live = [value.detach().float() for value in self.live.values()]
        torch._foreach_lerp_(list(self.kept.values()), live, 1 - decay)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Put the average in place of the live weights, which come back on the way out."""
        saved: dict[str, Tensor] = {name: value.detach().clone() for name, value in self.live.items()}
        try:
            self.copy_to(self.live)
            yield
        finally:
            with torch.no_grad():
                for name, value in self.live.items():
                    value.copy_(saved[name])

    @torch.no_grad()
    def copy_to(self, parameters: dict[str, nn.Parameter]) -> None:
        """Write the average into parameters of the same names."""
        for name, value in parameters.items():
            value.copy_(self.kept[name])
