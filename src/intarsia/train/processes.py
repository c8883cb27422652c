"""The processes that train together."""

from datetime import timedelta

import torch
from accelerate import PartialState

PATIENCE = timedelta(hours=12)  # one process may draw lessons or judge pictures while the others wait


def processes() -> PartialState:
    """Those that `torchrun` or `accelerate launch` began, on CUDA or a CPU.

    Ask before anything else of accelerate's is made: not told that there is only a CPU, it takes two processes of
    `torchrun` for two trainings, which would race for one folder.
    """
    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
