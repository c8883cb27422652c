"""Cut units out of a timm model: a model of the same classes with smaller layers, and nothing of ours in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..rig import Lineage
from ..rig.bare import bare_copy
from .timm_units import Units

Cuts = dict[str, dict[int, tuple[Units, int]]]


def cuts_of(model: nn.Module, units: Sequence[Units]) -> Cuts:
    """For each tensor and dimension that units lie along, which units those are and how many times over."""
    cuts: Cuts = {}
    for site in units:
        for path, times in site.makers:
            layer = model.get_submodule(path)
            for name, value in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
                if value.ndim:
                    cuts.setdefault(f"{path}.{name}", {})[0] = site, times
        for path in site.readers:
            cuts.setdefault(f"{path}.weight", {})[1] = site, 1
    return cuts


def narrowed(model: nn.Module, units: Sequence[Units], kept: Mapping[str, Sequence[int]]) -> tuple[nn.Module, Lineage]:
    """A smaller model, its weights not set, and which part of which tensor each of its tensors is.

    Args:
        kept: The units to keep, by site; sites that are not named keep all. A block that keeps none is left out.
    """
    gone = {path for path, chosen in kept.items() if not chosen}
    cut = [
        site
        for site in units
        if site.path in kept and len(kept[site.path]) < site.count and not {site.path, site.block} & gone
    ]
    slices = {
        name: {dimension: indices(site, kept[site.path], times) for dimension, (site, times) in along.items()}
        for name, along in cuts_of(model, cut).items()
    }
    smaller = bare_copy(model)
    for block in gone:
        smaller.set_submodule(block, nn.Identity())
    with torch.no_grad():
        renew(smaller, slices)
    for site in cut:
        declare(smaller, site, len(kept[site.path]))
    return smaller, Lineage({name: name for name in smaller.state_dict()}, slices=slices)


def indices(site: Units, kept: Sequence[int], times: int) -> list[int]:
    """The indices, along a dimension, of the channels of these units."""
    channels = [unit * site.width + channel for unit in kept for channel in range(site.width)]
    return [turn * site.count * site.width + channel for turn in range(times) for channel in channels]


def renew(model: nn.Module, slices: Mapping[str, Mapping[int, Sequence[int]]]) -> None:
    """Give a model tensors of its own, of the sliced shapes; what is not in a state dict keeps its values."""
    named = set(model.state_dict())
    made: dict[int, nn.Parameter] = {}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, value in module._parameters.items():
            if value is not None:
                if id(value) not in made:
                    shape = sliced(value.shape, slices.get(prefix + name, {}))
                    made[id(value)] = nn.Parameter(value.new_empty(shape), requires_grad=value.requires_grad)
                module._parameters[name] = made[id(value)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                shape = sliced(buffer.shape, slices.get(prefix + name, {}))
                module._buffers[name] = buffer.new_empty(shape) if prefix + name in named else buffer.clone()


def sliced(shape: torch.Size, along: Mapping[int, Sequence[int]]) -> list[int]:
    """A shape after cutting."""
    return [len(along[dimension]) if dimension in along else size for dimension, size in enumerate(shape)]


def declare(model: Any, site: Units, count: int) -> None:
    """Let the layers say the sizes that they now have."""
    channels = count * site.width
    for path, times in site.makers:
        layer = model.get_submodule(path)
        if isinstance(layer, nn.Conv2d):
            if layer.groups > 1:  # depthwise: as many groups as channels
                layer.groups = layer.in_channels = channels
            layer.out_channels = channels
        elif isinstance(layer, nn.Linear):
            layer.out_features = times * channels
        elif isinstance(layer, nn.BatchNorm2d):
            layer.num_features = channels
    for path in site.readers:
        layer = model.get_submodule(path)
        if isinstance(layer, nn.Conv2d):
            layer.in_channels = channels
        elif isinstance(layer, nn.Linear):
            layer.in_features = channels
    if site.attention is not None:
        heads = model.get_submodule(site.attention)
        heads.num_heads, heads.attn_dim = count, channels
    if not site.gates and hasattr(model, "num_classes"):
        model.num_classes = count
