"""What one module is given in one call: the features of a reference for each sample, or none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor

from ..errors import FitError

Given = Union[Tensor, Sequence[Tensor | None], "Reference"]


@dataclass(frozen=True)
class Reference:
    """Features of references, a row for each sample.

    Attributes:
        features: (batch, tokens, width).
        real: (batch, tokens), false where a token is padding; None if none is.
        present: (batch), false where a sample has no reference; None if all have one. The rows of absent references
            are zeros that count as real, for attention over nothing is NaN, and NaN times nothing is NaN.
    """

    features: Tensor
    real: Tensor | None = None
    present: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def of(cls, given: Given) -> "Reference":
        """A reference from features (batch, tokens, width), or from one (tokens, width) or None for each sample.

        Raises:
            FitError: the features are of other dimensions, of unequal widths, empty, or all None.
        """
        if isinstance(given, Reference):
            return given
        if isinstance(given, Tensor):
            if given.ndim != 3 or 0 in given.shape:
                raise FitError(f"features should be (batch, tokens, width), and these are {tuple(given.shape)}.")
            return cls(given)
        there = [one for one in given if one is not None]
        if not there or any(one.ndim != 2 or 0 in one.shape or one.shape[1] != there[0].shape[1] for one in there):
            shapes = [None if one is None else tuple(one.shape) for one in given]
            raise FitError(f"features should be (tokens, width) for each sample, or None, and these are {shapes}.")
        longest = max(len(one) for one in there)
        features = there[0].new_zeros(len(given), longest, there[0].shape[1])
        real = torch.ones(len(given), longest, dtype=torch.bool, device=features.device)
        for row, one in enumerate(given):
            if one is not None:
                features[row, : len(one)] = one
                real[row, len(one) :] = False
        present = torch.tensor([one is not None for one in given], device=features.device)
        return cls(features, None if real.all() else real, None if present.all() else present)

    def spread(self, rows: int, name: str) -> "Reference":
        """The same for more rows: each sample's is repeated for its neighbours, as pipelines repeat their prompts.

        Raises:
            FitError: the rows are not a multiple of what there is.
        """
        if rows == len(self):
            return self
        if rows % len(self):
            raise FitError(
                f"{len(self)} references of {name!r} cannot be shared out among {rows} samples; give 1 or {rows}."
            )
        return self.changed(lambda part: part.repeat_interleave(rows // len(self), 0))

    def changed(self, change: Callable[[Tensor], Tensor]) -> "Reference":
        """The same with its rows in another order or number."""
        real = None if self.real is None else change(self.real)
        return Reference(change(self.features), real, None if self.present is None else change(self.present))
