"""What moves the weights: AdamW, or Muon where they are matrices."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from .groups import optimizer_groups

Method = Literal["adamw", "muon"]
BESIDE = 0.15  # of Muon's rate: what AdamW beside it learns at


def optimizers_of(
    objective: nn.Module, trained: Mapping[str, nn.Parameter], method: Method, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Optimizers that together move all trained parameters; each of their groups has its `factor` of the rate.

    Muon (Jordan et al. 2024) makes the steps of a matrix orthogonal, here as long as AdamW's would be (Liu et al.
    2025). Whatever is no matrix goes by AdamW, at `BESIDE` of the rate; so should embeddings, which Muon takes here.

    Args:
        weight_decay: Of parameters that are in no group of the objective's.
    """
    groups = optimizer_groups(objective, trained, weight_decay)
    if method == "adamw":
        return [adamw(groups)]
    matrices, others = (only(groups, matrix) for matrix in (True, False))
    others = [group | {"factor": BESIDE * group["factor"]} for group in others]
    muon = [torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw")] if matrices else []
    return [*muon, *([adamw(others)] if others else [])]


def adamw(groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)


def only(groups: list[dict[str, Any]], matrix: bool) -> list[dict[str, Any]]:
    """Groups of nothing but matrices, or of nothing but the rest; vectors in the guise of matrices are of the rest."""
    found = [
        group | {"params": [one for one in group["params"] if (one.ndim == 2 and min(one.shape) > 1) == matrix]}
        for group in groups
    ]
    return [group for group in found if group["params"]]
