"""Give a smaller UNet back what was cut out of it: the kernels of removed layers, as experts of those that stayed.

Source: A-SDM's ME-CondConv goes into pruned blocks "to inherit the original convolution parameters".
Which convolution inherits from which is not told; here it is every removed one of equal shape in the same block.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from ..errors import FitError
from ..hosts.assembled_unet import AssembledUNet
from ..plan.pattern import sites_of
from ..rig.lineage import Lineage

KEPT = "**.resnets.*.conv1 | **.resnets.*.conv2"


def donors_of(
    smaller: nn.Module, whole: nn.Module, lineage: Lineage, most: int | None = None
) -> dict[str, tuple[str, ...]]:
    """For each convolution in a resnet of the smaller model, the removed ones of the whole that fit it.

    Args:
        most: How many each inherits at most, those with its own place in their resnet first; None: all.
    """
    theirs = {path: module for path, module in whole.named_modules() if isinstance(module, nn.Conv2d)}
    kept = {origin.removesuffix(".weight") for origin in lineage.origins.values()}
    found = {}
    for path in sites_of(KEPT, [name for name, module in smaller.named_modules() if isinstance(module, nn.Conv2d)]):
        conv = smaller.get_submodule(path)
        block = block_of(lineage.origins[f"{path}.weight"])
        fitting = [
            other
            for other, module in theirs.items()
            if other not in kept and block_of(other) == block and alike(module, conv)
        ]
        fitting.sort(key=lambda other: place_in_resnet(other) != place_in_resnet(path))
        if fitting:
            found[path] = tuple(fitting[:most])
    return found


def alike(one: nn.Conv2d, other: Any) -> bool:
    """Whether two convolutions differ in nothing but weights."""
    return one.weight.shape == other.weight.shape and (one.stride, one.padding) == (other.stride, other.padding)


def place_in_resnet(path: str) -> str:
    """`conv1` or `conv2`."""
    return path.rpartition(".")[2]


def block_of(path: str) -> str:
    """The block that a module is in."""
    return path.split(".resnets.")[0].split(".attentions.")[0]


@torch.no_grad()
def with_experts(
    smaller: UNet2DConditionModel,
    whole: UNet2DConditionModel,
    lineage: Lineage,
    *,
    routing: str = "time",
    most: int | None = None,
) -> tuple[AssembledUNet, Mapping[str, tuple[str, ...]]]:
    """A copy of a smaller UNet whose convolutions have the removed ones as further experts.

    Its first answers are those of the smaller UNet; to the bit, but where routing by input convolves several samples.

    Args:
        whole: The UNet that it was cut out of, with the lineage that says how.
        most: How many kernels a convolution inherits at most; None: all that fit.

    Returns:
        The UNet, and for each convolution the removed ones that it inherits.

    Raises:
        FitError: nothing that was removed fits anything that stayed.
    """
    donors = donors_of(smaller, whole, lineage, most)
    if not donors:
        raise FitError("no convolution that was left out has the shape of one that stayed in its block.")
    widened = AssembledUNet.of(smaller)
    for path, others in donors.items():
        widened.widen(path, count=1 + len(others), routing=routing)
        conv = widened.get_submodule(path)
        for place, other in enumerate(others, start=1):
            donor = whole.get_submodule(other)
            conv.weight[place] = donor.weight
            if conv.bias is not None:
                conv.bias[place] = donor.bias
    return widened, donors
