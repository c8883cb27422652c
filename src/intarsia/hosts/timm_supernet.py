"""Any timm CNN or ViT as a modular supernet: its units found, priced, gated live, and cut out for good.

Sites:

    layer1.0, blocks.3        unit: a block with units inside; one that can be left out is a unit itself
    layer1.0.conv1            subunit: groups of channels, between the layer named and the one that reads them
    blocks.3.attn.qkv         subunit: heads
    blocks.3.mlp.fc1          subunit: groups of MLP units
    fc, head                  unit: the classifier, whose units are its answers

Source: NN-Factory (Xu et al. 2023), the modular supernet: pretrained modules that can be conditionally activated.
Differs from it: only inner channels and whole residual blocks are gated, so that slicing is exact; groups of channels
are units.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FitError
from ..plan import Outline, Price, Site
from ..rig import Gate, Lineage, outline_of
from ..rig.bare import bare_copy
from ..rig.outlining import module_macs
from . import timm_narrowing
from .timm_blocks import ENDS, blocks_of
from .timm_folding import fold, pairs_of
from .timm_units import FINDERS, units_of
from .timm_whole import unfollowed


class TimmSupernet:
    """A timm model whose units plans of one row can keep.

    Args:
        module: The model. It is not changed.
        size: Of one picture: (channels, height, width).
        grain: The most channels in one unit.
        architecture: What `timm.create_model` knows the model by; read off the model if not given.
        arguments: What else it was created with, so that it can be built again.
        folded: Batch norms are part of the convolutions before them, so it is not for training; see `folded`.
        unfolded: If so, the supernet before that, where its weights are known.

    Attributes:
        units: By site, those of layers and answers.
        blocks: Those that can be left out, and the gates that shut each off.
        inexact: The layers that stay whole because slicing them would not be exact, and why.

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
        folded: bool = False,
        unfolded: "TimmSupernet | None" = None,
    ) -> None:
        self.folded, self.unfolded = folded, unfolded
        self.module, self.size, self.grain = module, size, grain
        said = getattr(module, "pretrained_cfg", None) or {}
        self.architecture = architecture or said.get("architecture") or type(module).__name__
        self.arguments = dict(arguments or {})
        self.name = f"timm/{self.architecture}"
        units, self.inexact = units_of(module, grain)
        self.units = {site.path: site for site in units}
        self.blocks = blocks_of(module, self.inputs())
        if not self.gates:
            known = ", ".join(sorted({kind.__name__ for kind in (*FINDERS, *ENDS)}))
            raise FitError(f"no units are found in {type(module).__name__}. Blocks that we can follow: {known}.")

    @cached_property
    def outline(self) -> Outline:
        return replace(
            outline_of(self),
            prices=self.prices(),
            bytes=bytes_of(self.module),
        )

    @cached_property
    def whole(self) -> dict[str, str]:
        """The modules that stay whole, inexact to slice or not followed, and why; not those of next to no MACs."""
        return self.inexact | unfollowed(self.module, self.inputs(), self.units.values(), self.inexact)

    @cached_property
    def gates(self) -> dict[str, tuple[Gate, ...]]:
        return {path: site.gates for path, site in self.units.items() if site.gates} | self.blocks

    @cached_property
    def answers(self) -> str | None:
        """The site whose units are the model's answers, if it has one."""
        return next((path for path, site in self.units.items() if not site.gates), None)

    def sites(self) -> tuple[Site, ...]:
        """Blocks one after another: plans of one row remember nothing, so who reads whom is of no matter."""
        found: list[Site] = []
        last: tuple[str, ...] = ()
        for block in self.places:
            inside = [site for site in self.units.values() if site.block == block != site.path]
            parts = tuple(site.path for site in inside)
            if block in self.blocks:
                found.append(Site(block, "unit", reads=last, parts=parts, units=1, skip="identity"))
            else:
                count = self.units[block].count if block in self.units else 0
                found.append(Site(block, "unit", reads=last, parts=parts, units=count))
            found += [Site(site.path, "subunit", units=site.count) for site in inside]
            last = (block,)
        return tuple(found)

    @property
    def places(self) -> tuple[str, ...]:
        """The blocks that have units inside or can be left out, and the answers, in the order of the modules."""
        asked = {site.block for site in self.units.values()} | self.blocks.keys()
        return tuple(path for path, _ in self.module.named_modules() if path in asked)

    @property
    def root(self) -> str:
        return self.places[-1]

    def inputs(self, **sizes: int | None) -> dict[str, Tensor]:
        return {"x": torch.empty(1, *self.size, device="meta")}

    def shortcut_module(self, path: str) -> str | None:
        return None

    def prices(self) -> tuple[Price, ...]:
        """What each unit, or pair of units of neighbouring sites, costs: one entry for each site or pair.

        A block that can be left out costs what is left of it without any units.
        """
        readers: dict[str, set[str]] = {}
        for path, site in self.units.items():
            for layer in (*(maker for maker, _ in site.makers), *site.readers):
                readers.setdefault(layer, set()).add(path)
        attentions = {site.attention: path for path, site in self.units.items() if site.attention is not None}
        macs = module_macs(self.module, self.inputs(), (*readers, *attentions, *self.blocks))
        within = {path: sum(macs[layer] for layer in readers if layer.startswith(f"{path}.")) for path in attentions}
        sums: dict[tuple[str, ...], list[int]] = {}

        def pairs(paths: Collection[str]) -> int:
            return prod(self.units[path].count for path in paths)

        def add(paths: Collection[str], place: int, amount: int) -> None:
            sums.setdefault(tuple(sorted(paths)), [0, 0, 0])[place] += amount // pairs(paths)

        for layer, around in readers.items():
            add(tuple(around), 0, macs[layer])
        for attention, path in attentions.items():
            add([path], 0, macs[attention] - within[attention])
        parameters = dict(self.module.named_parameters())
        tensors = parameters | dict(self.module.named_buffers())
        for name, along in timm_narrowing.cuts_of(self.module, tuple(self.units.values())).items():
            paths = {site.path for site, _ in along.values()}
            add(paths, 1, tensors[name].numel() if name in parameters else 0)
            add(paths, 2, tensors[name].numel() * tensors[name].element_size())
        for block in self.blocks:
            module = self.module.get_submodule(block)
            whole = macs[block], sum(value.numel() for value in module.parameters()), bytes_of(module)
            inside = [paths for paths in sums if paths[0].startswith(f"{block}.")]
            sums[block,] = [
                amount - sum(sums[paths][place] * pairs(paths) for paths in inside)
                for place, amount in enumerate(whole)
            ]
        return tuple(Price(paths, *amounts) for paths, amounts in sorted(sums.items()))

    def narrowed(self, kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, Lineage]:
        return timm_narrowing.narrowed(self.module, tuple(self.units.values()), kept)


def bytes_of(module: nn.Module) -> int:
    """Of parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in module.state_dict().values())


def folded(host: TimmSupernet) -> TimmSupernet:
    """A copy for use alone, whose batch norms are part of the convolutions before them; the host itself without any."""
    pairs = pairs_of(host.module, host.inputs())
    if not pairs:
        return host
    module = bare_copy(host.module, share=False).eval()
    fold(module, pairs)
    return TimmSupernet(
        module, host.size, grain=host.grain, architecture=host.architecture, arguments=host.arguments, folded=True,
        unfolded=host,
    )  # fmt: skip


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
