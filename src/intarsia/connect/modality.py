"""One module for one modality: gated blocks that tell the carried tokens of a reference.

Source: EMMA (Han et al. 2024), section 3.1.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CardError, FitError
from ..parts.gated_perceiver import GatedPerceiver, Gating
from ..tensors import fill
from .connector import Connector, Form
from .files import read, write
from .weights import Window

DOCUMENT = "module/1"


@dataclass(frozen=True)
class Features:
    """What a module looks at.

    Attributes:
        width: Of each feature token.
        encoder: The name of the encoder that makes them, for people to read.
    """

    width: int
    encoder: str


class Modality(nn.Module):
    """A module, closed at birth: it changes nothing until it is trained.

    Args:
        name: How it is called in a stack, a Python identifier such as `style`.
        connector: What it plugs into; only its form and its fingerprint are kept.
        inner: The width that its blocks work in, the connector's if not given; less makes a smaller file.
        window: The time steps at which it speaks, unless its weight says when. Ours.

    Attributes:
        ground: The fingerprint of the connector that it was made for.

    Raises:
        FitError: the name is no identifier, or the connector's heads do not divide the inner width.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        features: Features,
        gating: Gating = Gating(),
        *,
        inner: int | None = None,
        window: Window = Window(),
    ) -> None:
        super().__init__()
        if not name.isidentifier() or hasattr(nn.ModuleDict, name) or hasattr(nn.ModuleDict(), name):
            raise FitError(
                f"a module cannot be called {name!r}; name it with letters, digits and underscores, and not as torch's "
                "own attributes are."
            )
        self.name, self.features, self.gating, self.window = name, features, gating, window
        self.form: Form = connector.form
        self.ground: str = connector.fingerprint
        self.inner = self.form.width if inner is None else inner
        if self.inner % self.form.heads:
            raise FitError(f"{self.form.heads} heads do not divide an inner width of {inner}; name another width.")
        self.project = nn.Linear(features.width, self.inner)
        self.blocks: Any = nn.ModuleList(
            GatedPerceiver(self.form.width, self.form.heads, self.form.time_width, gating, self.inner)
            for _ in range(self.form.blocks)
        )

    def forward(self, features: Tensor) -> Tensor:
        """What the blocks read: (batch, tokens, features' width) to (batch, tokens, inner width)."""
        return self.project(features)

    @property
    def opening(self) -> Tensor:
        """How far the gates stand open: the mean magnitude of their global scalars."""
        openings = torch.stack([one for block in self.blocks for one in block.openings])
        return (openings.tanh() if self.gating.bounded else openings).abs().mean()

    def save(self, path: Path, training: Mapping[str, Any], *, half: bool = False) -> None:
        """One safetensors file with a card.

        Args:
            training: A summary of how it was trained, for people and for `Modality.load` to show.
            half: Whether all but the gates goes into half precision.

        Raises:
            OutputExists: something stands at `path`.
        """
        tensors = {
            name: value.half() if half and "_gate." not in name else value for name, value in self.state_dict().items()
        }
        card = {
            "intarsia": DOCUMENT, "name": self.name, "connector": self.ground, "form": asdict(self.form),
            "features": asdict(self.features), "gating": asdict(self.gating), "inner": self.inner,
            "window": self.window.card, "training": dict(training),
        }  # fmt: skip
        write(path, tensors, card)

    @classmethod
    def load(cls, path: Path, connector: Connector) -> "Modality":
        """What `save` wrote, frozen.

        Raises:
            CardError: it is another kind of file, or made for another connector.
        """
        tensors, card = read(path, DOCUMENT)
        ours = asdict(connector.form)
        try:
            differs = [
                f"{name} {card['form'][name]}, not {ours[name]}" for name in ours if card["form"][name] != ours[name]
            ]
            if differs or card["connector"] != connector.fingerprint:
                raise CardError(
                    f"{path}: made for the connector {card['connector']}, and this one is {connector.fingerprint}"
                    f"{' (' + ', '.join(differs) + ')' if differs else ''}; plug it into its own, or train it for this."
                )
            made = cls(
                card["name"], connector, Features(**card["features"]), Gating(**card["gating"]), inner=card["inner"],
                window=Window(**card.get("window", {})),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise CardError(f"{path}: its card lacks or has too much of something ({error!r}).") from error
        fill(made, tensors, path)
        return made.eval().requires_grad_(False)
