"""A device: what a supernet's models will cost on one machine and runtime; `metering` makes it, a file keeps it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from ..errors import CardError, FitError
from ..saving import write_text
from .clocks import Clock, Machine
from .fitting import Array, Line, Score
from .ranking import Grounds, Ranking
from .runtimes import TORCH

FORMAT = "device/2"
# What predictions start from. Weights have to be fetched, so what is multiplied is not all that takes time.
COUNTED = {"seconds": ("macs", "bytes"), "memory": ("bytes",)}
SURE = 0.9  # rank correlation with what was measured, below which predictions are doubtful


@dataclass(frozen=True)
class Device:
    """A machine, as one supernet finds it.

    Attributes:
        machine: The processor, its threads, the version of torch, and the `runtime` if that is another.
        host: The shape hash of the supernet's outline.
        inputs: The input shapes that it holds for, by name.
        sites: In the order of the lines' shares.
        seconds, memory: Of a call.
        subnets, held_out: How many subnets were measured, and how many of them the fits did not see.
        scores: By what was predicted, how well the held-out ones were.
        remote: Measured elsewhere, by `time_models.py`: what is made for it here cannot be measured here.
        took: Seconds that measuring took; None if it was measured elsewhere.
    """

    machine: Machine
    host: str
    inputs: Mapping[str, tuple[int, ...]]
    sites: tuple[str, ...]
    seconds: Line
    memory: Line
    subnets: int
    held_out: int
    scores: Mapping[str, Score]
    remote: bool = False
    took: float | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is predicted too badly to choose models by, and what to do: a line each."""
        return tuple(
            f"{name} of models that the fit has not seen have a rank correlation of {score.spearman:.2f} with what was "
            f"predicted, less than {SURE}. Measure them again, with nothing else running."
            for name, score in self.scores.items()
            if score.spearman < SURE
        )

    def predict(self, ranking: Ranking) -> dict[str, Array]:
        """Seconds and memory of each beginning of a ranking, from the shortest on; longer is never said to be less."""
        shares = ranking.counts / ranking.grounds.units
        return {
            name: np.maximum.accumulate(getattr(self, name).predict(counted_of(ranking.costs, name), shares))
            for name in COUNTED
        }

    def cautious(self, ranking: Ranking) -> Array:
        """Seconds of each beginning of a ranking that 95 % of the held-out subnets stayed below: for remote devices.

        The error is relative to what was measured, so what was measured is at most what is told over 1 - error.

        Raises:
            FitError: the error is so large that it bounds nothing.
        """
        error = self.scores["seconds"].error_95
        if error >= 1:
            raise FitError(
                f"the device's predictions of seconds are off by {error:.0%}, so they bound nothing. Time its subnets "
                "again, with nothing else running there: 'intarsia meter --export'."
            )
        return self.predict(ranking)["seconds"] / (1 - error)

    def refuse_other(self, grounds: Grounds, clock: Clock) -> None:
        """Raise `FitError` unless it was measured for this supernet, at this size, on this machine and runtime.

        A model is promised to be within its budget, and that is measured here: the file of another machine could not
        keep the promise. Of a remote device nothing is promised to have been measured, so its machine may differ.
        """
        outline = grounds.outline
        problems = []
        if self.host != outline.shape_hash:
            problems.append(
                f"the device was measured for the supernet {self.host}, this one is {outline.shape_hash} (and folding "
                "batch norms makes another of it)"
            )
        elif self.sites != grounds.sites:
            problems.append("the device's sites are in another order than the supernet's")
        if dict(self.inputs) != {name: tuple(shape) for name, shape in outline.inputs.items()}:
            problems.append(f"the device was measured at {dict(self.inputs)}, the supernet takes {outline.inputs}")
        if not self.remote:
            there, here = ({"runtime": TORCH, **machine} for machine in (self.machine, clock.machine))
            problems += [
                f"the device was measured with {name} {there.get(name)!r}, here it is {here.get(name)!r}"
                for name in {**there, **here}
                if there.get(name) != here.get(name)
            ]
        if problems:
            raise FitError([f"{problem}. Measure it anew: 'intarsia meter'." for problem in problems])


def counted_of(costs: Mapping[str, NDArray[np.int64]], name: str) -> Array:
    """What predictions of `seconds` or `memory` start from, (models, what is counted)."""
    return np.stack([costs[counted] for counted in COUNTED[name]], 1).astype(float)


@checked(config=ConfigDict(extra="forbid", strict=False, allow_inf_nan=False), frozen=True, kw_only=True)
class _File(Device):
    """A device as its file says it; whatever else the file says is refused."""

    intarsia: Literal["device/2"]


def text_of(device: Device) -> str:
    """What a device file holds."""
    plain = json.loads(json.dumps({"intarsia": FORMAT, **asdict(device)}))
    return yaml.safe_dump(plain, sort_keys=False, width=100)


def save_device(device: Device, path: Path) -> None:
    """Write a device file.

    Raises:
        OutputExists: something stands at `path`.
    """
    write_text(path, text_of(device))


def load_device(path: Path) -> Device:
    """Read a device file.

    Raises:
        CardError: it is not one.
        FileNotFoundError: there is no such file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        read = TypeAdapter(_File).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CardError(f"{path}: not a device file: {where}: {first['msg']}. 'intarsia meter' writes one.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(
            f"{path}: not a device file: {str(error).splitlines()[0]}. 'intarsia meter' writes one."
        ) from None
    if (wrong := lacking(read)) is not None:
        raise CardError(f"{path}: not a device file: {wrong}. 'intarsia meter' writes one.")
    return Device(**{name: getattr(read, name) for name in Device.__dataclass_fields__})


def lacking(device: Device) -> str | None:
    """What is missing from a device, or is too much, where each part of it is of its type."""
    for name, counted in COUNTED.items():
        if name not in device.scores:
            return f"scores.{name}: missing"
        line: Line = getattr(device, name)
        if len(line.slopes) != len(counted):
            return f"{name}.slopes: {len(line.slopes)} numbers for {' and '.join(counted)}"
        for part in ("each_share", "middle"):
            if (count := len(getattr(line, part))) != len(device.sites):
                return f"{name}.{part}: {count} numbers for {len(device.sites)} sites"
    return None
