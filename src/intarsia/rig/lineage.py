"""Where each tensor of an assembled model came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ..errors import FitError

HOST = ""  # the model that was assembled upon


@dataclass(frozen=True)
class Lineage:
    """For each tensor of the assembled model, the name that it has in the model it came from, and which that is.

    Attributes:
        origins: From names of tensors to the names that they had.
        sources: The named models that tensors came from; what is not in it came from the host itself.
        ancestry: Where the host was itself cut out of another model: for each of its tensors, the name there.
        slices: For tensors of which a part was taken, the indices along each dimension that was cut.
    """

    origins: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, Mapping[int, Sequence[int]]] = field(default_factory=dict)
    ancestry: Mapping[str, str] = field(default_factory=dict)

    @torch.no_grad()
    def fill(self, smaller: nn.Module, host: nn.Module, others: Mapping[str, nn.Module] | None = None) -> None:
        """Copy every tensor along the lineage.

        A source may be of another shape than the host: the model that the host was cut out of, where tensors go by
        their names in `ancestry`, or one that is as small as what is made, where they go by the names here.

        Raises:
            FitError: a source has no such tensor, or one of another shape.
        """
        known = {name: model.state_dict() for name, model in {HOST: host, **(others or {})}.items()}
        for name, value in smaller.state_dict().items():
            source, origin = self.sources.get(name, HOST), self.origins[name]
            names = (origin,) if source == HOST else (self.ancestry.get(origin), origin, name)
            theirs = next((known[source][one] for one in names if one in known[source]), None)
            if theirs is not None:
                for dimension, indices in self.slices.get(name, {}).items():
                    theirs = theirs.index_select(dimension, torch.as_tensor(indices, device=theirs.device))
            if theirs is None or theirs.shape != value.shape:
                has = "no such tensor" if theirs is None else f"one of shape {tuple(theirs.shape)}"
                raise FitError(f"{name} of shape {tuple(value.shape)} should come from {source!r}, which has {has}.")
            value.copy_(theirs)

    def origin_of(self, path: str) -> str:
        """The module that a module's tensors came from.

        Raises:
            FitError: it has no tensors.
        """
        for name, origin in self.origins.items():
            if name.startswith(f"{path}."):
                # What is inside may have been renumbered too, so names are cut at the path's depth.
                return ".".join(origin.split(".")[: path.count(".") + 1])
        raise FitError(f"nothing is known of where {path!r} came from: it has no tensors.")

    @property
    def renamed(self) -> dict[str, str]:
        """The tensors whose names differ."""
        return {name: origin for name, origin in self.origins.items() if name != origin}
