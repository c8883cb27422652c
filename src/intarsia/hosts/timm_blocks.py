"""The blocks of timm's models that can be left out whole, and where all that they add can be shut off.

A residual block adds to its input. Where nothing else happens to the input on its way, a model without the block
answers as the model in which what it adds is 0. A thin block still has all its layers to call; none is faster.

Source: stochastic depth (Huang et al. 2016), which leaves blocks out while training; here it is decided once, by task.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from timm.models._efficientnet_blocks import (
    DepthwiseSeparableConv,
    EdgeResidual,
    InvertedResidual,
    UniversalInvertedResidual,
)
from timm.models.convnext import ConvNeXtBlock
from timm.models.resnet import BasicBlock, Bottleneck
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..rig.bare import bare_copy
from ..rig.contract import Gate
from ..rig.outlining import on_meta

Ends = tuple[str, ...]  # the modules inside a block that hand on all that it adds; none if it cannot be left out


def resnet_ends(last: str, activation: str) -> Callable[[Any], Ends]:
    """Of ResNets' blocks: their input comes out of a ReLU, so that the block's own leaves it as it is."""

    def ends(block: Any) -> Ends:
        if block.downsample is not None or type(getattr(block, activation)) is not nn.ReLU:
            return ()
        return ("se",) if block.se is not None else (last,)

    return ends


def ends_if_skipping(block: Any) -> Ends:
    """Of EfficientNets' blocks."""
    return ("drop_path",) if block.has_skip else ()


def convnext_ends(block: Any) -> Ends:
    """Of ConvNeXts' blocks."""
    return ("drop_path",) if type(block.shortcut) is nn.Identity else ()


# What we know how to leave out. Listing a block here, and a model with it in the tests, tests it.
ENDS: Mapping[type[nn.Module], Callable[[Any], Ends]] = {
    BasicBlock: resnet_ends("bn2", "act2"),
    Bottleneck: resnet_ends("bn3", "act3"),
    DepthwiseSeparableConv: ends_if_skipping,
    InvertedResidual: ends_if_skipping,
    EdgeResidual: ends_if_skipping,
    UniversalInvertedResidual: ends_if_skipping,
    ConvNeXtBlock: convnext_ends,
    Block: lambda _block: ("drop_path1", "drop_path2"),
}


def blocks_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, tuple[Gate, ...]]:
    """The blocks of a model that can be left out, in the order of its modules, and the gates that shut each off.

    A block that is told more than its input stays: what takes its place would not know what to do with the rest.

    Args:
        inputs: Of the model, by name, on the meta device.
    """
    found = {}
    for path, module in model.named_modules():
        ends = ENDS[type(module)](module) if type(module) in ENDS else ()
        if ends:
            found[path] = tuple(Gate(f"{path}.{end}", 1, 1, after=True) for end in ends)
    more = told_more(model, inputs, found)
    return {path: gates for path, gates in found.items() if path not in more}


def told_more(model: nn.Module, inputs: Mapping[str, Tensor], paths: Iterable[str]) -> set[str]:
    """Those of these modules that a call of the model tells more than one thing."""
    module, more = bare_copy(model).eval(), set[str]()

    def look(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple, kwargs: dict) -> None:
            if kwargs or len(args) != 1:
                more.add(path)

        return hook

    for path in paths:
        module.get_submodule(path).register_forward_pre_hook(look(path), with_kwargs=True)
    with on_meta(module, {}) as (run, *_):
        run(inputs)
    return more
