"""A device: what a supernet's models will cost on one machine, from a few dozen of them measured there.

Source: NN-Factory (Xu et al. 2023) profiles thousands of subnets for each device; see `fitting` for what differs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from ..errors import CardError, FitError
from ..hosts.timm_supernet import TimmSupernet
from ..rig import bake, peak_bytes
from ..saving import write_text
from .clocks import Clock, Machine, WallClock
from .fitting import Array, Line, Score, fit_line, score_of
from .ranking import Grounds, Ranking

FORMAT = "device/1"
COUNTED = {"seconds": "macs", "memory": "bytes"}  # what a prediction starts from
LEAST, MOST = 24, 512  # subnets that a fit can be made from, and that anyone would wait for


@dataclass(frozen=True)
class Device:
    """A machine, as one supernet finds it.

    Attributes:
        machine: The processor, its threads, the version of torch.
        host: The shape hash of the supernet's outline.
        inputs: The input shapes that it holds for, by name.
        sites: In the order of the lines' shares.
        seconds, memory: Of a call.
        subnets, held_out: How many subnets were measured, and how many of them the fits did not see.
        scores: By what was predicted, how well the held-out ones were.
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

    def predict(self, ranking: Ranking) -> dict[str, Array]:
        """Seconds and memory of each beginning of a ranking, from the shortest on; longer is never said to be less."""
        shares = ranking.counts / ranking.grounds.units
        return {
            name: np.maximum.accumulate(getattr(self, name).predict(ranking.costs[counted].astype(float), shares))
            for name, counted in COUNTED.items()
        }

    def refuse_other(self, grounds: Grounds, clock: Clock) -> None:
        """Raise `FitError` unless it was measured for this supernet, at this size, on this machine.

        A model is promised to be within its budget, and that is measured here: the file of another machine could not
        keep the promise.
        """
        outline = grounds.outline
        problems = []
        if self.host != outline.shape_hash:
            problems.append(f"the device was measured for the supernet {self.host}, this one is {outline.shape_hash}")
        if dict(self.inputs) != {name: tuple(shape) for name, shape in outline.inputs.items()}:
            problems.append(f"the device was measured at {dict(self.inputs)}, the supernet takes {outline.inputs}")
        here = dict(clock.machine)
        for name, value in self.machine.items():
            if here.get(name) != value:
                problems.append(f"the device was measured with {name} {value!r}, here it is {here.get(name)!r}")
        if problems:
            raise FitError([f"{problem}. Measure it anew: 'intarsia meter'." for problem in problems])


def meter_device(
    host: TimmSupernet,
    *,
    subnets: int = 64,
    clock: Clock | None = None,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> Device:
    """Measure subnets of a supernet on this machine, and fit what all others will cost.

    Subnets are spread evenly over total MACs, with shapes drawn at random; a third of them, spread likewise, is held
    out. They are measured twice, there and back, and the faster time counts: a busy moment passes.

    Args:
        subnets: 50 to 64 are enough.
        clock: Of the wall, if not given.
        tell: Told how many measurements have been made, of twice the subnets.

    Raises:
        FitError: too few subnets for a fit, or more than anyone would wait for.
    """
    if not LEAST <= subnets <= MOST:
        raise FitError(f"{subnets} subnets: a device is measured from {LEAST} to {MOST}.")
    clock = clock or WallClock()
    grounds = Grounds.of(host.outline, host.answers)
    rankings, lengths = stratified(grounds, subnets, seed)
    inputs = torch.randn(1, *host.size, generator=torch.Generator().manual_seed(seed))
    seconds = np.full(subnets, np.inf)
    memory = np.zeros(subnets)
    for done, subnet in enumerate([*range(subnets), *reversed(range(subnets))], start=1):
        model, _ = bake(rankings[subnet].plan(lengths[subnet]), host)
        model.eval()
        seconds[subnet] = min(seconds[subnet], clock.seconds(model, inputs))
        if not memory[subnet]:
            memory[subnet] = peak_bytes(model, inputs)
        tell(done)

    counts = np.stack([one.counts[length - one.least] for one, length in zip(rankings, lengths, strict=True)])
    costs = grounds.costs(counts, len(rankings[0].answers))
    shares = counts / grounds.units
    hidden = np.zeros(subnets, bool)
    hidden[np.argsort(costs["macs"])[1::3]] = True
    lines, scores = {}, {}
    for name, measured in (("seconds", seconds), ("memory", memory)):
        counted = costs[COUNTED[name]].astype(float)
        lines[name] = fit_line(counted[~hidden], shares[~hidden], measured[~hidden])
        scores[name] = score_of(lines[name].predict(counted[hidden], shares[hidden]), measured[hidden])
    return Device(
        machine=dict(clock.machine), host=host.outline.shape_hash, inputs=dict(host.outline.inputs),
        sites=grounds.sites,
        seconds=lines["seconds"], memory=lines["memory"], subnets=subnets, held_out=int(hidden.sum()), scores=scores,
    )  # fmt: skip


def stratified(grounds: Grounds, subnets: int, seed: int) -> tuple[list[Ranking], list[int]]:
    """Random subnets whose MACs are spread evenly from the least there is to the whole."""
    draws = np.random.default_rng(seed)
    rankings, lengths = [], []
    for place in range(subnets):
        # One number a site makes it wide or narrow as a whole, one a unit mixes the order within.
        scores = draws.normal(size=len(grounds.sites))[grounds.site_of] + draws.normal(size=len(grounds.site_of))
        ranking = Ranking.by_score(grounds, scores, grounds.every_answer)
        macs = ranking.costs["macs"]
        wanted = macs[0] + (macs[-1] - macs[0]) * (place + draws.random()) / subnets
        rankings.append(ranking)
        lengths.append(ranking.cut(macs <= wanted) or ranking.least)
    return rankings, lengths


@checked(config=ConfigDict(extra="forbid", strict=False), frozen=True)
class _File(Device):
    """A device as its file says it; whatever else the file says is refused."""

    intarsia: Literal["device/1"]


def save_device(device: Device, path: Path) -> None:
    """Write a device file.

    Raises:
        OutputExists: something stands at `path`.
    """
    plain = json.loads(json.dumps({"intarsia": FORMAT, **asdict(device)}))
    write_text(path, yaml.safe_dump(plain, sort_keys=False, width=100))


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
    return Device(**{name: getattr(read, name) for name in Device.__dataclass_fields__})
