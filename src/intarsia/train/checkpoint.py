"""Checkpoints that a kill cannot spoil: safetensors and JSON, written beside the old one and swapped in."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import CardError
from .ema import Average


class Checkpoint:
    """Everything a run needs to go on to the bit: weights, their average, buffers, moments, progress."""

    def __init__(
        self,
        folder: Path,
        parameters: dict[str, nn.Parameter],
        buffers: dict[str, Tensor],
        average: Average,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        self.folder = folder
        self.parameters = parameters
        self.buffers = buffers
        self.average = average
        self.movers = {
            value: optimizer for optimizer in optimizers for group in optimizer.param_groups
            for value in group["params"]
        }  # fmt: skip

    def read(self) -> dict[str, float]:
        """How far the run came: `step`, `seconds`, and the losses last logged."""
        path = self.folder / "progress.json"
        return json.loads(path.read_text()) if path.exists() else {"step": 0, "seconds": 0.0}

    def save(self, progress: dict[str, float]) -> None:
        """Write a whole checkpoint, then put it in place of the last."""
        fresh, old = self.folder.with_suffix(".part"), self.folder.with_suffix(".old")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(
            {name: value.detach().contiguous() for name, value in self.parameters.items()}, fresh / "live.safetensors"
        )
        save_file(
            {name: value.contiguous() for name, value in self.average.kept.items()}, fresh / "average.safetensors"
        )
        save_file(self._moments(), fresh / "moments.safetensors")
        if self.buffers:
            save_file({name: value.contiguous() for name, value in self.buffers.items()}, fresh / "buffers.safetensors")
        (fresh / "progress.json").write_text(json.dumps(progress))
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
        fresh.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def load(self) -> dict[str, float]:
        """Take up the last checkpoint, if there is one; say how far it came."""
        old = self.folder.with_suffix(".old")
        if not self.folder.exists() and old.exists():
            old.rename(self.folder)
        if not self.folder.exists():
            return self.read()
        live = load_file(self.folder / "live.safetensors")
        theirs, ours = ({name: tuple(value.shape) for name, value in one.items()} for one in (live, self.parameters))
        if theirs != ours:
            odd, _ = min(theirs.items() ^ ours.items())
            how = "differs" if odd in theirs and odd in ours else "is in one of them only"
            raise CardError(f"{self.folder}: written for another model ({odd!r} {how}). Name another folder.")
        average, moments = (
            load_file(self.folder / "average.safetensors"),
            load_file(self.folder / "moments.safetensors"),
        )
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(live[name])
                self.average.kept[name].copy_(average[name])
            if self.buffers:
                for name, kept in load_file(self.folder / "buffers.safetensors").items():
                    self.buffers[name].copy_(kept)
        for called, moment in moments.items():
            name, kind = called.rsplit("/", 1)
            value = self.parameters[name]
            # In the layout of the weight: fused optimizers go through memory, not through coordinates.
            own = moment if kind == "step" else torch.empty_like(value).copy_(moment)
            self.movers[value].state[value][kind] = own
        return self.read()

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{name}/{kind}": moment.contiguous()
            for name, value in self.parameters.items()
            for kind, moment in self.movers[value].state.get(value, {}).items()
        }


def wear_average(objective: nn.Module, run: Path) -> None:
    """Load the averaged weights of a run into its objective; weights that were not trained stay.

    Raises:
        CardError: the run was of another model.
    """
    found = objective.load_state_dict(load_file(run / "checkpoint" / "average.safetensors"), strict=False)
    if found.unexpected_keys:
        raise CardError(f"{run}: {found.unexpected_keys[0]!r} is not in the model it should go into.")
