"""Statistics of batch norms taken anew: a subnet's are not quite the supernet's, nor those of averaged weights.

Source: US-Nets (Yu and Huang 2019), Once-for-All (Cai et al. 2020): statistics are calibrated for each subnet.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import FitError
from ..hosts.timm_folding import fold, pairs_of
from ..hosts.timm_supernet import TimmSupernet
from ..plan import Plan
from ..rig import bake


@contextmanager
def statistics_anew(model: nn.Module) -> Iterator[bool]:
    """Running means and variances are the plain mean over all calls made inside; says whether there are any to take.

    If an exception ends the block, they are what they were before it.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    before = [(norm.training, norm.momentum) for norm in norms]
    statistics = [(value, value.clone()) for norm in norms for value in norm.buffers()]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None
    try:
        yield bool(norms)
    except BaseException:
        for value, was in statistics:
            value.copy_(was)
        raise
    finally:
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.train(training)
            norm.momentum = momentum


@torch.no_grad()
def refreshed(model: nn.Module, pictures: Tensor, batch: int = 64) -> None:
    """Set running means and variances to those of these pictures. Models without batch norms stay as they are.

    So do those of kits whose batch norms are folded: for them give pictures to `fulfil`.

    Args:
        pictures: (count, channels, height, width), normalised as for the model; a last batch of one is left out.
        batch: Pictures in a call.

    Raises:
        FitError: one picture, or none, has no statistics, nor have batches of one; the model does not take such
            pictures. It is left as it was.
    """
    if len(pictures) < 2:
        raise FitError(f"{len(pictures)} pictures for statistics of batch norms: give two or more, better hundreds.")
    if batch < 2:
        raise FitError(f"batches of {batch} for statistics of batch norms: give two or more, better dozens.")
    with statistics_anew(model) as any_at_all:
        for part in pictures.split(batch) if any_at_all else ():
            if len(part) > 1:
                called(model, part)


def baked_anew(plan: Plan, host: TimmSupernet, pictures: Tensor) -> nn.Module:
    """The model of a plan, with running statistics of these pictures; folded into convolutions if the supernet's are.

    Raises:
        FitError: as `refreshed` does; or nobody knows what was folded, as of a pack's supernet.
    """
    trained = host.unfolded or host
    if trained.folded:
        raise FitError(
            "this supernet's batch norms are folded and what they were is not known, so they have no statistics to "
            "take anew: order from the kit, or leave the pictures out."
        )
    model = bake(replace(plan, host=trained.outline.shape_hash), trained)[0].eval().requires_grad_(False)
    model.to(next(host.module.parameters()))  # where the kit was moved to, which the supernet before folding was not
    refreshed(model, pictures)
    if trained is not host:
        fold(model, pairs_of(trained.module, trained.inputs()))
    return model


def called(model: nn.Module, pictures: Tensor) -> None:
    """Call a model; what it raises for such pictures becomes a `FitError` of one line."""
    try:
        model(pictures)
    except (RuntimeError, ValueError, AssertionError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FitError(
            f"pictures of shape {tuple(pictures.shape)}, {pictures.dtype}, are none for this model: {why} Give them as "
            "(count, channels, height, width), normalised as for the model."
        ) from error
