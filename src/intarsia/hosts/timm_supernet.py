"""Any timm CNN or ViT as a modular supernet: its units found, priced, gated live, and cut out for good.

Sites:

    layer1.0, blocks.3        unit: a block with units inside
    layer1.0.conv1            subunit: groups of channels, between the layer named and the one that reads them
    blocks.3.attn.qkv         subunit: heads
    blocks.3.mlp.fc1          subunit: groups of MLP units
    fc, head                  unit: the classifier, whose units are its answers

Source: NN-Factory (Xu et al. 2023), the modular supernet: pretrained modules that can be conditionally activated.
Differs from it: only inner channels are gated, so that slicing is exact; whole groups of channels are units.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FitError
from ..plan import Outline, Price, Site
from ..rig import Gate, Lineage, outline_of
from ..rig.outlining import module_macs
from . import timm_narrowing
from .timm_units import FINDERS, units_of


class TimmSupernet:
    """A timm model whose units plans of one row can keep.

    Args:
        module: The model. It is not changed.
        size: Of one picture: (channels, height, width).
        grain: The most channels in one unit.
        architecture: What `timm.create_model` knows the model by; read off the model if not given.
        arguments: What else it was created with, so that it can be built again.

    Attributes:
        whole: The layers that stay whole though they have inner channels, and why.

    Raises:
        FitError: no unit is found.
    """

    def __init__(
        self,
        module: nn.Module,
        size: tuple[int, int, int],
        *,
        grain: int = 8,
        architecture: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.module, self.size, self.grain = module, size, grain
        said = getattr(module, "pretrained_cfg", None) or {}
        self.architecture = architecture or said.get("architecture") or type(module).__name__
        self.arguments = dict(arguments or {})
        self.name = f"timm/{self.architecture}"
        units, self.whole = units_of(module, grain)
        if all(site.gate is None for site in units):
            known = ", ".join(kind.__name__ for kind in FINDERS)
            raise FitError(f"no units are found in {type(module).__name__}. Blocks that we can follow: {known}.")
        self.units = {site.path: site for site in units}

    @cached_property
    def outline(self) -> Outline:
        return replace(
            outline_of(self),
            prices=self.prices(),
            bytes=sum(value.numel() * value.element_size() for value in self.module.state_dict().values()),
        )

    @cached_property
    def gates(self) -> dict[str, Gate]:
        return {path: site.gate for path, site in self.units.items() if site.gate is not None}

    @cached_property
    def answers(self) -> str | None:
        """The site whose units are the model's answers, if it has one."""
        return next((path for path, site in self.units.items() if site.gate is None), None)

    def sites(self) -> tuple[Site, ...]:
        """Blocks one after another; they are never skipped, so who reads whom is of no matter."""
        found: list[Site] = []
        last: tuple[str, ...] = ()
        for block in dict.fromkeys(site.block for site in self.units.values()):
            inside = [site for site in self.units.values() if site.block == block]
            parts = tuple(site.path for site in inside if site.path != block)
            found.append(Site(block, "unit", reads=last, parts=parts, units=0 if parts else inside[0].count))
            found += [Site(site.path, "subunit", units=site.count) for site in inside if site.path != block]
            last = (block,)
        return tuple(found)

    @property
    def root(self) -> str:
        return list(self.units.values())[-1].block

    def inputs(self, **sizes: int | None) -> dict[str, Tensor]:
        return {"x": torch.empty(1, *self.size, device="meta")}

    def shortcut_module(self, path: str) -> str | None:
        return None

    def prices(self) -> tuple[Price, ...]:
        """What each unit, or pair of units of neighbouring sites, costs: one entry for each site or pair."""
        readers: dict[str, set[str]] = {}
        for path, site in self.units.items():
            for layer in (*(maker for maker, _ in site.makers), *site.readers):
                readers.setdefault(layer, set()).add(path)
        attentions = {site.attention: path for path, site in self.units.items() if site.attention is not None}
        macs = module_macs(self.module, self.inputs(), (*readers, *attentions))
        inside = {path: sum(macs[layer] for layer in readers if layer.startswith(f"{path}.")) for path in attentions}
        sums: dict[tuple[str, ...], list[int]] = {}

        def add(paths: Collection[str], place: int, amount: int) -> None:
            between = 1
            for path in paths:
                between *= self.units[path].count
            sums.setdefault(tuple(sorted(paths)), [0, 0, 0])[place] += amount // between

        for layer, around in readers.items():
            add(tuple(around), 0, macs[layer])
        for attention, path in attentions.items():
            add([path], 0, macs[attention] - inside[attention])
        parameters = dict(self.module.named_parameters())
        tensors = parameters | dict(self.module.named_buffers())
        for name, along in timm_narrowing.cuts_of(self.module, tuple(self.units.values())).items():
            paths = {site.path for site, _ in along.values()}
            add(paths, 1, tensors[name].numel() if name in parameters else 0)
            add(paths, 2, tensors[name].numel() * tensors[name].element_size())
        return tuple(Price(paths, *amounts) for paths, amounts in sorted(sums.items()))

    def narrowed(self, kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, Lineage]:
        return timm_narrowing.narrowed(self.module, tuple(self.units.values()), kept)


def create(architecture: str, size: tuple[int, int, int], *, grain: int = 8, **arguments: Any) -> TimmSupernet:
    """A supernet with fresh weights, as `timm.create_model` builds it.

    Args:
        arguments: For `timm.create_model`: `num_classes`, `in_chans`, widths. Plain data, so that they can be saved.

    Raises:
        FitError: timm knows no such model, or no unit is found in it.
    """
    import timm

    from ..plan.table import nearest
    from . import detector  # noqa: F401  timm knows it from here on

    if not timm.is_model(architecture):
        raise FitError(f"timm has no model {architecture!r}.{nearest(architecture, timm.list_models())}")
    module = timm.create_model(architecture, pretrained=False, **arguments)
    return TimmSupernet(module.eval(), size, grain=grain, architecture=architecture, arguments=arguments)
