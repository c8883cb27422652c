"""Batch norms made part of the convolutions before them: the same answers from fewer operations, and no training.

Small models spend much of their seconds between operations, and a norm is one more after every convolution. Exporters
for other runtimes fold them; PyTorch runs a model as it is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..rig.bare import bare_copy
from ..rig.outlining import on_meta

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)  # not those that do more to their weights, as standardising them
NORMS = (nn.BatchNorm2d, BatchNormAct2d)

Pairs = tuple[tuple[str, str], ...]


def pairs_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> Pairs:
    """The convolutions that a batch norm follows, and nothing but that one, whenever they are called; and the norms.

    Args:
        inputs: Of the model, by name, on the meta device.
    """
    module = bare_copy(model).eval()
    made: list[tuple[Tensor, int, str]] = []  # outputs are kept, so that no other takes the place of one in memory
    before: dict[str, set[str | None]] = {}

    def told(path: str, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        made.append((output, output._version, path))  # an activation may change it in place

    def asked(path: str, _module: nn.Module, args: tuple[Any, ...]) -> None:
        makers = (maker for value, version, maker in made if value is args[0] and value._version == version)
        before.setdefault(path, set()).add(next(makers, None))

    for path, layer in module.named_modules():
        if type(layer) in CONVOLUTIONS:
            layer.register_forward_hook(partial(told, path))
        elif type(layer) in NORMS and layer.track_running_stats:
            layer.register_forward_pre_hook(partial(asked, path))
    with on_meta(module, {}) as (run, *_):
        run(inputs)
    followed = Counter(maker for makers in before.values() for maker in makers)
    alone = {norm: next(iter(makers)) for norm, makers in before.items() if len(makers) == 1}
    return tuple((maker, norm) for norm, maker in alone.items() if maker is not None and followed[maker] == 1)


@torch.no_grad()
def fold(model: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    """Fold norms into convolutions, in place; of a model that blocks were cut out of, those that are left.

    Args:
        model: In evaluation mode: what is folded is the running statistics.
    """
    here = {path for path, _ in model.named_modules()}
    for convolution, norm in pairs:
        if {convolution, norm} <= here:
            maker: Any = model.get_submodule(convolution)
            layer: Any = model.get_submodule(norm)
            model.set_submodule(convolution, fuse_conv_bn_eval(maker, layer))
            model.set_submodule(norm, getattr(layer, "act", None) or nn.Identity())
