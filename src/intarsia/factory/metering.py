"""How a device is measured: a few dozen subnets, spread over total MACs, and fits that a third of them judge.

Source: NN-Factory (Xu et al. 2023) profiles thousands of subnets for each device; see `fitting` for what differs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import FitError
from ..hosts.timm_supernet import TimmSupernet
from ..rig import bake, peak_bytes
from .clocks import Clock, Machine, RuntimeClock, Stopwatch, WallClock, hurried, keeping
from .device import Device, counted_of
from .drift import steadied
from .fitting import Array, fit_line, score_of
from .ranking import Grounds, Ranking

LEAST, MOST = 24, 512  # subnets that a fit can be made from, and that anyone would wait for
ROUNDS = 8  # of measurements: machines are a tenth slower now and then, for some ten seconds at a time
ENOUGH = 2  # rounds, where models are slow: more are made if they end within three quarters of the patience
SHARE = 0.25  # of a clock's calls, that are made in each round
KEPT = 10**9  # bytes that models may take between rounds; where they would take more, they are made again
PATIENCE = 100.0  # seconds: with all that comes before and after, PyTorch is measured within two minutes


def refuse_number(subnets: int) -> None:
    """Raise `FitError` for too few subnets for a fit, or more than anyone would wait for."""
    if not LEAST <= subnets <= MOST:
        raise FitError(f"{subnets} subnets: a device is measured from {LEAST} to {MOST}.")


@dataclass(frozen=True)
class Subnets:
    """Random subnets of a supernet whose MACs are spread evenly from the least there is to the whole.

    Attributes:
        rankings, lengths: Each is a beginning of a ranking.
    """

    host: TimmSupernet
    rankings: tuple[Ranking, ...]
    lengths: tuple[int, ...]

    @classmethod
    def stratified(cls, host: TimmSupernet, count: int, seed: int = 0) -> "Subnets":
        """Draw them; the same seed, the same subnets.

        Raises:
            FitError: too few for a fit, or more than anyone would wait for.
        """
        refuse_number(count)
        grounds, draws = Grounds.of(host.outline, host.answers), np.random.default_rng(seed)
        rankings, lengths = [], []
        for place in range(count):
            # One number a site makes it wide or narrow as a whole, one a unit mixes the order within.
            scores = draws.normal(size=len(grounds.sites))[grounds.site_of] + draws.normal(size=len(grounds.site_of))
            ranking = Ranking.by_score(grounds, scores, grounds.every_answer)
            macs = ranking.costs["macs"]
            wanted = macs[0] + (macs[-1] - macs[0]) * (place + draws.random()) / count
            rankings.append(ranking)
            lengths.append(ranking.cut(macs <= wanted) or ranking.least)
        return cls(host, tuple(rankings), tuple(lengths))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(subnets, sites): units of each site that each keeps."""
        pairs = zip(self.rankings, self.lengths, strict=True)
        return np.stack([ranking.counts[length - ranking.least] for ranking, length in pairs])

    def made(self, number: int) -> nn.Module:
        """One of them as a model, in evaluation mode."""
        return bake(self.rankings[number].plan(self.lengths[number]), self.host)[0].eval()


def picture_for(host: TimmSupernet, seed: int = 0) -> Tensor:
    """What subnets are measured on: noise, (1, channels, height, width).

    Raises:
        FitError: the supernet is not on the CPU, which is what devices are of.
    """
    if (place := next(host.module.parameters()).device).type != "cpu":
        raise FitError(f"the supernet is on {place}, and models are measured on the CPU: host.module.to('cpu') first.")
    return torch.randn(1, *host.size, generator=torch.Generator().manual_seed(seed))


def meter_device(
    host: TimmSupernet,
    *,
    subnets: int = 64,
    clock: Clock | None = None,
    seed: int = 0,
    patience: float = PATIENCE,
    tell: Callable[[int], None] = lambda _: None,
) -> Device:
    """Measure subnets of a supernet on this machine, and fit what all others will cost.

    Subnets are spread evenly over total MACs, with shapes drawn at random; a third of them, spread likewise, is held
    out.

    Args:
        subnets: 50 to 64 are enough.
        clock: Of the wall and PyTorch, if not given; a `RuntimeClock` for another runtime.
        patience: Seconds that it may take; conversions for other runtimes come on top. The slower models are, the fewer
            rounds there are, two at least; then fewer calls of each are timed, the second round is cut short, and at
            last only every other subnet is measured.
        tell: Told how many measurements have been made, of `ROUNDS` times the subnets.

    Raises:
        FitError: too few subnets for a fit, or more than anyone would wait for; the supernet is not on the CPU.
        RigError: the clock's runtime is not installed.
    """
    drawn = Subnets.stratified(host, subnets, seed)
    found = measured_in_rounds(drawn, clock or WallClock(), seed=seed, patience=patience, tell=tell)
    seen = sorted({subnet for subnet, _ in found.seconds})
    return device_from(
        host, drawn.counts[seen], steadied(found.seconds), found.memory[seen], found.machine, took=found.took
    )


@dataclass(frozen=True)
class Measured:
    """What was measured of subnets.

    Attributes:
        seconds: The number of a subnet and seconds of a call, in the order of time; of each several times.
        memory: (subnets), of a call in bytes; 0 of those that were not measured.
        took: Seconds, conversions included.
    """

    seconds: list[tuple[int, float]]
    memory: Array
    machine: Machine
    took: float


def measured_in_rounds(
    drawn: Subnets,
    clock: Clock,
    *,
    seed: int = 0,
    patience: float = PATIENCE,
    tell: Callable[[int], None] = lambda _: None,
) -> Measured:
    """Measure subnets in shuffled rounds, so that what the machine was slower or faster by for a while can be told.

    In the first round every other one comes first, so that these are spread evenly too, should time be too short for
    all.

    Raises:
        FitError: the supernet is not on the CPU.
        RigError: the clock's runtime is not installed.
    """
    subnets, inputs = len(drawn.lengths), picture_for(drawn.host, seed)
    weights = sum(parameter.nbytes for parameter in drawn.host.module.parameters())
    made = cache(drawn.made) if weights * subnets / 2 < KEPT else drawn.made
    memory = np.zeros(subnets)
    measured: list[tuple[int, float]] = []
    first, draws = [*range(0, subnets, 2), *range(1, subnets, 2)], np.random.default_rng(seed)
    watch, turned = Stopwatch(), 0.0
    with keeping(clock) as kept:
        for number in range(ROUNDS):
            before, turned = turned, watch.seconds
            if number >= ENOUGH and turned + turned - before > 0.75 * patience:
                break
            for place, subnet in enumerate(draws.permutation(subnets).tolist() if number else first):
                left = max(0.0, patience - watch.seconds)
                if not left and number * subnets + place >= max(LEAST, subnets / 2):
                    break
                model = made(subnet)
                if isinstance(kept, RuntimeClock):
                    with watch.stopped():
                        kept.converted(model, inputs)
                if not memory[subnet]:
                    memory[subnet] = peak_bytes(model, inputs)  # first, for first calls take longer
                quick = hurried(kept, left / (max(ENOUGH - number, 1) * subnets - place), SHARE)
                measured.append((subnet, quick.seconds(model, inputs)))
                tell(number * subnets + place + 1)
        return Measured(measured, memory, kept.machine, round(watch.seconds + watch.aside, 1))


def held_out(macs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A third of so many subnets, spread over their MACs: those that judge what is fitted to the others."""
    hidden = np.zeros(len(macs), bool)
    hidden[np.argsort(macs)[1::3]] = True
    return hidden


def device_from(
    host: TimmSupernet,
    counts: NDArray[np.int64],
    seconds: Array,
    memory: Array,
    machine: Machine,
    *,
    remote: bool = False,
    took: float | None = None,
) -> Device:
    """A device from subnets that have been measured; a third of them, spread over total MACs, judges the fits.

    Args:
        counts: (subnets, sites): units of each site that each keeps; of answers, all.
        seconds, memory: (subnets).
        took: Seconds that measuring took, if that is known.

    Raises:
        FitError: too few subnets for a fit, or more than anyone would wait for.
    """
    refuse_number(len(counts))
    grounds = Grounds.of(host.outline, host.answers)
    costs = grounds.costs(counts, len(grounds.every_answer))
    shares = counts / grounds.units
    hidden = held_out(costs["macs"])
    lines, scores = {}, {}
    for name, measured in (("seconds", seconds), ("memory", memory)):
        counted = counted_of(costs, name)
        lines[name] = fit_line(counted[~hidden], shares[~hidden], measured[~hidden])
        scores[name] = score_of(lines[name].predict(counted[hidden], shares[hidden]), measured[hidden])
    return Device(
        machine=dict(machine), host=host.outline.shape_hash, inputs=dict(host.outline.inputs), sites=grounds.sites,
        seconds=lines["seconds"], memory=lines["memory"], subnets=len(counts), held_out=int(hidden.sum()),
        scores=scores, remote=remote, took=took,
    )  # fmt: skip
