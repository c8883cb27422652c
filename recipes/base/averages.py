"""Take the averaged weights out of a training run."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn


def wear_average(objective: nn.Module, run: Path) -> None:
    """Load the averaged weights of a run into its objective; weights that were not trained stay."""
    found = objective.load_state_dict(load_file(run / "checkpoint" / "average.safetensors"), strict=False)
    if found.unexpected_keys:
        raise ValueError(f"{run}: {found.unexpected_keys[0]!r} is not in the model it should go into")
