"""Any number of modules at once, which were trained apart: all speak in parallel, and what they say is summed.

Source: EMMA (Han et al. 2024), section 3.2, equations 7 and 8: every module looks at the same carried tokens; all that
attention adds is summed before any feed-forward part, and then all that those add.
The sum is made in the order of the modules' names, since floating point addition of three terms depends on the order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FitError
from ..rig import count_macs
from .connector import Connector
from .modality import Modality
from .reference import Given, Reference
from .weights import Weighed, Weight


@dataclass(frozen=True)
class Voice:
    """One module in one call.

    Attributes:
        read: What it looks at, (batch, tokens, width).
        real: (batch, tokens), false where that is padding, or None.
        heard: (batch), false where the sample has no reference or is out of a window, or None.
    """

    module: Modality
    weight: Weight
    read: Tensor
    real: Tensor | None
    heard: Tensor | None

    def speaks(self, number: int) -> bool:
        """Whether it can add anything in a block. What is shut is left out, not multiplied by 0, but in training."""
        shut = not torch.is_grad_enabled() and self.module.blocks[number].closed
        return self.weight.at(number) != 0 and not shut

    def attend(self, number: int, carried: Tensor, moment: Tensor) -> Tensor:
        return self.weighed(number, self.module.blocks[number].attend(carried, self.read, moment, self.real))

    def feed(self, number: int, carried: Tensor, moment: Tensor) -> Tensor:
        return self.weighed(number, self.module.blocks[number].feed(carried, moment))

    def weighed(self, number: int, added: Tensor) -> Tensor:
        added = self.weight.at(number) * added
        return added if self.heard is None else torch.where(self.heard[:, None, None], added, 0.0)


class Stack(nn.Module):
    """A connector and the modules that are plugged into it.

    It works in the precision and on the device of its own weights, single precision unless somebody changes it, and
    answers in those of the words. Modules are brought to those of a connector that has weights.

    Args:
        modules: In any order.
        weights: By module, 1 where nothing is said.

    Raises:
        FitError: two modules of one name, a module of another connector, a weight for nobody or for too few blocks.
    """

    def __init__(
        self, connector: Connector, modules: Iterable[Modality], weights: Mapping[str, Weighed] | None = None
    ) -> None:
        super().__init__()
        modules = list(modules)
        names = sorted(module.name for module in modules)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise FitError(f"two modules are called {twice!r}; a stack tells its modules apart by their names.")
        fingerprint = connector.fingerprint
        for module in modules:
            if module.ground != fingerprint:
                raise FitError(
                    f"the module {module.name!r} was made for the connector {module.ground}, and this one is "
                    f"{fingerprint}; plug it into its own, or train it for this."
                )
        given = {name: Weight.of(value) for name, value in (weights or {}).items()}
        self.connector = connector
        self.senses: Any = nn.ModuleDict({module.name: module for module in sorted(modules, key=lambda one: one.name)})
        if (weight := next(iter(getattr(connector, "parameters", lambda: ())()), None)) is not None:
            self.senses.to(weight)
        self.refuse_strangers(given)
        self.weights = {name: given.get(name, Weight()) for name in self.senses}
        for name, weight in self.weights.items():
            weight.check(name, connector.form.blocks)

    def refuse_strangers(self, named: Mapping[str, object]) -> None:
        """Raise `FitError` if there is a name that no module has."""
        stranger = next((name for name in named if name not in self.senses), None)
        if stranger is not None:
            raise FitError(f"no module is called {stranger!r}; the stack has: {', '.join(self.senses) or 'none'}.")

    def references(self, given: Mapping[str, Given | None]) -> dict[str, Reference]:
        """What modules are given, checked; those given None are left out.

        Raises:
            FitError: no module has this name, or its features are of another width.
        """
        self.refuse_strangers(given)
        found = {name: Reference.of(value) for name, value in given.items() if value is not None}
        for name, reference in found.items():
            features, width = self.senses[name].features, reference.features.shape[-1]
            if width != features.width:
                raise FitError(
                    f"{name!r} looks at features of width {features.width}, from {features.encoder}, "
                    f"and was given {width}; encode the reference with that."
                )
        return found

    def forward(self, words: Tensor, times: Tensor, references: Mapping[str, Reference]) -> Tensor:
        """Tokens for the UNet: (batch, tokens, width).

        Args:
            words: The text encoder's states, (batch, words, words' width).
            times: Time steps, of shape (), (1) or (batch).
            references: Of a row for each sample, or of a divisor of the batch; modules without one are silent.

        Raises:
            FitError: the words are of another width than the connector's, or references cannot be shared out.
        """
        wanted = self.connector.words_width
        if words.shape[-1] != wanted:
            raise FitError(
                f"the words are {words.shape[-1]} wide and the connector reads {wanted}; encode them for it."
            )
        here = next(self.parameters(), words)
        times = times.reshape(-1).to(here.device)
        voices = [
            self.voice(name, references[name].spread(len(words), name), times, here)
            for name in self.senses
            if name in references
        ]

        def between(number: int, carried: Tensor, moment: Tensor) -> Tensor:
            speaking = [voice for voice in voices if voice is not None and voice.speaks(number)]
            return self.spoken(number, carried, moment, speaking)

        return self.connector(words.to(here), times, between).to(words)

    def spoken(self, number: int, carried: Tensor, moment: Tensor, voices: Sequence[Voice]) -> Tensor:
        """The carried tokens after what these modules say in one block."""
        carried = summed(carried, [voice.attend(number, carried, moment) for voice in voices])
        return summed(carried, [voice.feed(number, carried, moment) for voice in voices])

    def voice(self, name: str, reference: Reference, times: Tensor, here: Tensor) -> Voice | None:
        """A module with what it looks at, or None if no sample hears it."""
        module: Modality = self.senses[name]
        when = self.weights[name].when
        window = module.window if when is None else when
        inside = torch.tensor([time in window for time in times.tolist()], device=here.device)
        present = None if reference.present is None else reference.present.to(here.device)
        heard = inside.expand(len(reference)) if present is None else inside & present
        if not heard.any():
            return None
        real = None if reference.real is None else reference.real.to(here.device)
        return Voice(
            module, self.weights[name], module(reference.features.to(here)), real, None if heard.all() else heard
        )

    @torch.no_grad()
    def macs(self, words: Tensor, references: Mapping[str, Given]) -> int:
        """Multiply-accumulates that one call adds to the UNet's, counted in a call at time step 500.

        Calls that a table knows (`attached(...)`, then `precompute`) add none.
        """
        with count_macs() as counted:
            self(words, torch.tensor(500.0), self.references(references))
        return counted.total


def summed(carried: Tensor, added: Sequence[Tensor]) -> Tensor:
    """The carried tokens and the sum of all that is added, the sum first; the very same if nothing is."""
    plus: Callable[[Tensor, Tensor], Tensor] = torch.add
    return carried + reduce(plus, added) if added else carried
