"""What the UNet is told at each time step, worked out once for a reading of the words.

Source: ours. ELLA's tokens differ from step to step, and a port that worked them out at one time step for all drew
visibly worse. Keys are time steps as they come, never rounded and never counted: Euler's
are fractions, Heun's come twice, and an image-to-image run begins in the middle.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..errors import FitError
from .reference import Reference
from .stack import Stack

Uncond = Literal["off", "same"]
READINGS = 2  # guidance in two calls, and a ControlNet that guesses, go to and fro between two readings of the words


class Reading(NamedTuple):
    """Words, how they were read, and the tokens told of them so far, by time step."""

    words: Tensor
    manner: tuple[Any, ...]
    tokens: dict[float, Tensor]


class Table:
    """A stack with references, and the tokens that it has told so far. New references make a new table.

    Tokens are kept for the last two readings of words only, and while weights and parameters stay as they are; in
    training nothing is.

    Args:
        uncond: Whether the half without words hears the references too, "same", or not, "off".

    Raises:
        FitError: `uncond` is neither.
    """

    def __init__(self, stack: Stack, references: Mapping[str, Reference], uncond: Uncond = "off") -> None:
        if uncond not in get_args(Uncond):
            raise FitError(f"uncond {uncond!r}: say 'off' or 'same', whether the half without words hears references.")
        self.stack = stack
        self.references = dict(references)
        self.unworded = self.references if uncond == "same" else {}
        self.readings: list[Reading] = []

    def tokens(self, words: Tensor, times: Tensor, guided: bool) -> Tensor:
        """Tokens for one call of the UNet.

        Args:
            guided: Whether the first half of the rows is the prediction without words. With `uncond` "off" it hears
                no module, so no module needs to be trained to be silent there.

        Raises:
            FitError: an odd number of rows cannot be two halves.
        """
        if torch.is_grad_enabled() or times.numel() != 1:
            return self.told(words, times, guided)
        known = self.known(words, guided)
        time = float(times)
        if time not in known:
            known[time] = self.told(words, times, guided)
        return known[time]

    @torch.no_grad()
    def precompute(self, words: Tensor, times: Iterable[float], guided: bool) -> None:
        """Fill in the tokens of these time steps, one by one, so that they are what a call would work out."""
        for time in times:
            self.tokens(words, torch.tensor(float(time)), guided)

    def known(self, words: Tensor, guided: bool) -> dict[float, Tensor]:
        """The tokens kept for these words, by time step; none yet if the words are new."""
        windows = [module.window for module in self.stack.senses.values()]
        manner = guided, dict(self.stack.weights), windows, versions(self.stack)
        for reading in self.readings:
            if reading.manner == manner and same(reading.words, words):
                return reading.tokens
        fresh = Reading(words.clone(), manner, {})
        self.readings = [fresh, *self.readings][:READINGS]
        return fresh.tokens

    def told(self, words: Tensor, times: Tensor, guided: bool) -> Tensor:
        """Tokens, worked out."""
        if not guided:
            return self.stack(words, times, self.references)
        if len(words) % 2:
            raise FitError(f"guidance calls the UNet with two halves, and this call has {len(words)} rows of words.")
        without, with_words = words.chunk(2)
        earlier, later = times.chunk(2) if times.numel() > 1 else (times, times)
        return torch.cat([self.stack(without, earlier, self.unworded), self.stack(with_words, later, self.references)])


def versions(stack: Stack) -> list[tuple[int, int]]:
    """Which parameters a stack has, and how often each was changed in place."""
    # Those made in inference mode cannot be changed outside of it, and count nothing.
    return [(id(one), 0 if one.is_inference() else one._version) for one in stack.parameters()]


def same(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors hold the same, in the same precision and place."""
    alike = (ours.shape, ours.dtype, ours.device) == (theirs.shape, theirs.dtype, theirs.device)
    return alike and torch.equal(ours, theirs)
