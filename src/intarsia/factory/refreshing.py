"""Statistics of batch norms taken anew from unlabelled pictures: a subnet's are not quite the supernet's.

Source: US-Nets (Yu and Huang 2019), Once-for-All (Cai et al. 2020): statistics are calibrated for each subnet.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def refreshed(model: nn.Module, pictures: Tensor, batch: int = 64) -> None:
    """Set running means and variances to those of these pictures. Models without batch norms stay as they are.

    Args:
        pictures: (count, channels, height, width), normalised as for the model; a last batch of one is left out.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    before = [(norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the plain mean over all batches
    for part in pictures.split(batch):
        if len(part) > 1:
            model(part)
    for norm, (training, momentum) in zip(norms, before, strict=True):
        norm.train(training)
        norm.momentum = momentum
