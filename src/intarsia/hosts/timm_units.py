"""The units of timm's models: what can be left out of a layer so that the rest answers as if it were shut off.

Units are groups of inner channels, attention heads, MLP units and answers. They are gated after the activation, before
the one that reads them; the residual stream keeps its width. A layer is left out, with a reason, wherever
slicing would not be exact: norms over the gated axis, weights that are normalised as they are used, grouped layers.

Source: NN-Factory gates inner channels of residual blocks; heads and MLP units are as in the pruning literature
(DepGraph, Fang et al. 2023, whose dependency groups the tests compare with).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from timm.layers import BatchNormAct2d, Conv2dSame, Linear, Mlp
from timm.layers.attention import Attention
from timm.models._efficientnet_blocks import EdgeResidual, InvertedResidual, SqueezeExcite, UniversalInvertedResidual
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from ..errors import FitError
from ..rig.contract import Gate

LINEAR = (nn.Linear, Linear)


@dataclass(frozen=True)
class Units:
    """The units of one layer, and every tensor that they are in.

    Attributes:
        path: The site: the module that makes them.
        block: The module around it and its reader; the path itself for answers.
        count: How many.
        width: Channels of each.
        gates: Where they can be shut off; none for answers.
        makers: Modules whose outputs, the first dimension of their tensors, are these channels, and how many times
            over (3 for queries, keys and values).
        readers: Modules whose inputs, the second dimension of their weights, are these channels.
        attention: The attention whose heads they are.
    """

    path: str
    block: str
    count: int
    width: int
    gates: tuple[Gate, ...]
    makers: tuple[tuple[str, int], ...]
    readers: tuple[str, ...] = ()
    attention: str | None = None


class Inexact(Exception):
    """Why a layer cannot be sliced exactly."""


def convolution(module: Any, *, groups: int = 1) -> nn.Conv2d:
    """The module, if it is a plain convolution of so many groups."""
    if type(module) not in (nn.Conv2d, Conv2dSame):
        raise Inexact(f"{type(module).__name__} does more to its weights than a convolution")
    if module.groups != groups:
        raise Inexact(f"a convolution of {module.groups} groups couples the channels within each")
    return module


def each_channel_alone(*modules: nn.Module | None) -> None:
    """Refuse what mixes channels or has weights of its own for each between the makers and the reader."""
    for module in modules:
        if module is None:
            continue
        if type(module) in (nn.BatchNorm2d, BatchNormAct2d):
            each_channel_alone(getattr(module, "act", None))
        elif any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            raise Inexact(f"{type(module).__name__} over the gated axis would answer otherwise without the others")


def grouped(channels: int, grain: int) -> tuple[int, int]:
    """How many units, and channels in each: at most `grain`, dividing the channels evenly."""
    width = next(size for size in range(min(grain, channels), 0, -1) if channels % size == 0)
    return channels // width, width


def channels_of(
    path: str, block: str, channels: int, grain: int, reader: str, makers: list[str], readers: list[str], axis: int = 1
) -> Units:
    """Groups of channels between makers and readers."""
    count, width = grouped(channels, grain)
    made = tuple((maker, 1) for maker in makers)
    return Units(path, block, count, width, (Gate(reader, axis, width),), made, tuple(readers))


def basic_block(path: str, block: BasicBlock, grain: int) -> Iterator[Units]:
    """The channels between its two convolutions."""
    first = convolution(block.conv1)
    convolution(block.conv2)
    each_channel_alone(block.bn1, block.act1, block.aa)
    yield channels_of(f"{path}.conv1", path, first.out_channels, grain, f"{path}.conv2",
                      [f"{path}.conv1", f"{path}.bn1"], [f"{path}.conv2"])  # fmt: skip


def bottleneck(path: str, block: Bottleneck, grain: int) -> Iterator[Units]:
    """The channels between its three convolutions; those of the middle one are both made and read by it."""
    first, second = convolution(block.conv1), convolution(block.conv2)
    convolution(block.conv3)
    each_channel_alone(block.bn1, block.act1, block.bn2, block.act2, block.aa)
    yield channels_of(f"{path}.conv1", path, first.out_channels, grain, f"{path}.conv2",
                      [f"{path}.conv1", f"{path}.bn1"], [f"{path}.conv2"])  # fmt: skip
    yield channels_of(f"{path}.conv2", path, second.out_channels, grain, f"{path}.conv3",
                      [f"{path}.conv2", f"{path}.bn2"], [f"{path}.conv3"])  # fmt: skip


def squeezed(path: str, module: nn.Module) -> tuple[list[str], list[str]]:
    """The makers and readers inside a squeeze-and-excitation; shut off before it, a channel stays 0."""
    if type(module) is nn.Identity:
        return [], []
    if type(module) is not SqueezeExcite:
        raise Inexact(f"{type(module).__name__} is not known to keep shut-off channels at 0")
    convolution(module.conv_reduce)
    convolution(module.conv_expand)
    return [f"{path}.conv_expand"], [f"{path}.conv_reduce"]


def inverted_residual(path: str, block: InvertedResidual, grain: int) -> Iterator[Units]:
    """The expanded channels, shut off after the depthwise layer and before the squeeze."""
    wide = convolution(block.conv_pw).out_channels
    convolution(block.conv_dw, groups=wide)
    convolution(block.conv_pwl)
    each_channel_alone(block.bn1, block.bn2, block.aa)
    makers, readers = squeezed(f"{path}.se", block.se)
    inner = [f"{path}.{name}" for name in ("conv_pw", "bn1", "conv_dw", "bn2")]
    yield channels_of(f"{path}.conv_pw", path, wide, grain, f"{path}.se",
                      inner + makers, [*readers, f"{path}.conv_pwl"])  # fmt: skip


def edge_residual(path: str, block: EdgeResidual, grain: int) -> Iterator[Units]:
    """The expanded channels, shut off before the squeeze."""
    wide = convolution(block.conv_exp).out_channels
    convolution(block.conv_pwl)
    each_channel_alone(block.bn1, block.aa)
    makers, readers = squeezed(f"{path}.se", block.se)
    yield channels_of(f"{path}.conv_exp", path, wide, grain, f"{path}.se",
                      [f"{path}.conv_exp", f"{path}.bn1", *makers], [*readers, f"{path}.conv_pwl"])  # fmt: skip


def universal_inverted_residual(path: str, block: UniversalInvertedResidual, grain: int) -> Iterator[Units]:
    """The expanded channels, through the depthwise layer in the middle if there is one."""
    wide = convolution(block.pw_exp.conv).out_channels
    convolution(block.pw_proj.conv)
    each_channel_alone(block.pw_exp.bn, getattr(block.pw_exp, "aa", None))
    inner = [f"{path}.pw_exp.conv", f"{path}.pw_exp.bn"]
    if type(block.dw_mid) is not nn.Identity:
        convolution(block.dw_mid.conv, groups=wide)
        each_channel_alone(block.dw_mid.bn, getattr(block.dw_mid, "aa", None))
        inner += [f"{path}.dw_mid.conv", f"{path}.dw_mid.bn"]
    makers, readers = squeezed(f"{path}.se", block.se)
    yield channels_of(f"{path}.pw_exp.conv", path, wide, grain, f"{path}.se",
                      inner + makers, [*readers, f"{path}.pw_proj.conv"])  # fmt: skip


def mlp(path: str, block: Any, grain: int) -> Iterator[Units]:
    """The hidden units of an MLP, of linear layers or of 1x1 convolutions."""
    on_pictures = isinstance(block.fc1, nn.Conv2d)
    for layer in (block.fc1, block.fc2):
        if on_pictures:
            convolution(layer)
        elif type(layer) not in LINEAR:
            raise Inexact(f"{type(layer).__name__} is not a plain linear layer")
    each_channel_alone(block.act, block.norm)
    wide = block.fc1.out_channels if on_pictures else block.fc1.out_features
    yield channels_of(f"{path}.fc1", path.rpartition(".")[0], wide, grain, f"{path}.fc2",
                      [f"{path}.fc1"], [f"{path}.fc2"], axis=1 if on_pictures else -1)  # fmt: skip


def attention(path: str, block: Attention, grain: int) -> Iterator[Units]:
    """The heads, shut off before they are mixed. Norms of queries and keys lie within a head, and stay."""
    if not hasattr(block, "attn_dim"):
        raise Inexact("the attention of this version of timm cannot have fewer heads; that of timm 1.0.31 can")
    each_channel_alone(block.norm)
    makers = [(f"{path}.qkv", 3)] + ([(f"{path}.gate", 1)] if getattr(block, "gate", None) is not None else [])
    gate = Gate(f"{path}.proj", -1, block.head_dim)
    yield Units(f"{path}.qkv", path.rpartition(".")[0], block.num_heads, block.head_dim, (gate,), tuple(makers),
                (f"{path}.proj",), attention=path)  # fmt: skip


Finder = Callable[[str, Any, int], Iterator[Units]]  # each takes its own kind of block

# What we know how to slice. Listing a block here, and a model with it in the tests, tests it.
FINDERS: Mapping[type[nn.Module], Finder] = {
    BasicBlock: basic_block,
    Bottleneck: bottleneck,
    InvertedResidual: inverted_residual,
    EdgeResidual: edge_residual,
    UniversalInvertedResidual: universal_inverted_residual,
    Mlp: mlp,
    Attention: attention,
}

# Blocks that stay whole for a reason that we know, by the names of their classes.
WHOLE = {
    "DepthwiseSeparableConv": "its channels are the residual stream's own",
    "ConvBnAct": "its channels are the residual stream's own",
    "GlobalResponseNormMlp": "GlobalResponseNorm over the gated axis would answer otherwise without the others",
    "GluMlp": "its gates and values are halves of one layer, which we do not follow",
    "SwiGLU": "its gates and values are two layers, which we do not follow",
    "CondConvResidual": "its weights are mixed for each sample",
}


def units_of(model: nn.Module, grain: int) -> tuple[list[Units], dict[str, str]]:
    """The units of a model in the order of its modules, and the layers that stay whole, with the reasons.

    Args:
        grain: The most channels in one unit.

    Raises:
        FitError: there is no channel in a unit.
    """
    if grain < 1:
        raise FitError(f"a grain of {grain}: units have at least one channel each.")
    found: list[Units] = []
    whole: dict[str, str] = {}
    for path, module in model.named_modules():
        if type(module) in FINDERS:
            try:
                found += FINDERS[type(module)](path, module, grain)
            except Inexact as reason:
                whole[path] = str(reason)
        elif type(module).__name__ in WHOLE:
            whole[path] = WHOLE[type(module).__name__]
    asked: Any = getattr(model, "get_classifier", None)
    classifier: Any = asked() if asked is not None else None
    if type(classifier) in (*LINEAR, nn.Conv2d):
        path = next(name for name, module in model.named_modules() if module is classifier)
        count = classifier.out_channels if isinstance(classifier, nn.Conv2d) else classifier.out_features
        found.append(Units(path, path, count, 1, (), ((path, 1),)))
    return found, whole
