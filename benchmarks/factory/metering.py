"""Three ways to tell what was measured in rounds, and two to predict from it, on the same measurements.

    python -m benchmarks.factory.metering            a quarter of an hour of a quiet machine
    python -m benchmarks.factory.metering --quick    a tiny detector; its figures mean nothing

A kit's subnets are measured as `intarsia meter` does it, several times over: the sprites' detector, whose weights do
not fit the caches of most machines, and a ResNet-18. Of every run's raw measurements each way tells the seconds of each
subnet: the fastest of its measurements, their median, or the median over the pace of the moment (`factory.drift`),
which is how devices are measured. How much the same subnet's seconds differ from one run to the next, what all have in
common left out, is that way's spread. From the last one's seconds others are predicted: by MACs and by the bytes of
weights, which is how devices are fitted, or by MACs alone.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import typer

from benchmarks.factory.devices import CLASSIFIER, fresh_kit
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import factory
from intarsia.factory import Grounds, WallClock
from intarsia.factory.device import COUNTED
from intarsia.factory.drift import steadied
from intarsia.factory.fitting import Array, Score, fit_line, score_of
from intarsia.factory.metering import Subnets, held_out, measured_in_rounds
from intarsia.hosts import timm_supernet
from intarsia.hosts.timm_supernet import TimmSupernet
from intarsia.shipped import kit_folder
from intarsia.train import seed_everything

SUBNETS, QUICK = 64, 24
REPEATS = 5  # runs of the same subnets
WITHIN = 0.95  # share of them that is predicted within 10 %

Raw = list[tuple[int, float]]


def of_each(raw: Raw, tell: Callable[[list[float]], float]) -> Array:
    """What is told of each subnet's measurements, by its number."""
    found: dict[int, list[float]] = {}
    for subnet, seconds in raw:
        found.setdefault(subnet, []).append(seconds)
    return np.array([tell(found[subnet]) for subnet in sorted(found)])


WAYS: Mapping[str, Callable[[Raw], Array]] = {
    "fastest": lambda raw: of_each(raw, min),
    "median": lambda raw: of_each(raw, statistics.median),
    "steadied": steadied,
}
FITS = {"MACs": ("macs",), "MACs and bytes": COUNTED["seconds"]}


def spread_of(runs: Sequence[Array]) -> float:
    """By how much a subnet's seconds differ between runs: the relative deviation, of one run from all others."""
    logs = np.log(np.stack(runs))
    logs -= np.median(logs, axis=1, keepdims=True)  # machines of another hour are slower or faster as a whole
    return float(np.sqrt(logs.var(axis=0, ddof=1).mean()))


def predicted(host: TimmSupernet, counts: np.ndarray, seconds: Array, counted: Sequence[str]) -> Score:
    """How well subnets that a fit has not seen are predicted: the held-out ones are those of devices."""
    grounds = Grounds.of(host.outline, host.answers)
    costs = grounds.costs(counts, len(grounds.every_answer))
    told = np.stack([costs[name] for name in counted], 1).astype(float)
    shares, hidden = counts / grounds.units, held_out(costs["macs"])
    line = fit_line(told[~hidden], shares[~hidden], seconds[~hidden])
    return score_of(line.predict(told[hidden], shares[hidden]), seconds[hidden])


def row_of(name: str, host: TimmSupernet, subnets: int, repeats: int) -> dict[str, object]:
    """One supernet: raw runs, what each way makes of them, and how well each fit predicts."""
    drawn, clock, raw, took = Subnets.stratified(host, subnets), WallClock(threads=1), [], []
    for number in range(repeats):
        found = measured_in_rounds(drawn, clock, seed=number)  # in another order each time
        raw.append(found.seconds)
        took.append(found.took)
    told = {way: [tell(run) for run in raw] for way, tell in WAYS.items()}
    scores = {
        fit: [predicted(host, drawn.counts, seconds, counted) for seconds in told["steadied"]]
        for fit, counted in FITS.items()
    }
    return {
        "supernet": name, "macs": host.outline.macs, "subnets": subnets, "seconds of measuring": took,
        "measurements of a subnet": [len(run) / subnets for run in raw],
        "spread": {way: spread_of(runs) for way, runs in told.items()},
        "error_95": {fit: [score.error_95 for score in each] for fit, each in scores.items()},
        "within_10": {fit: [score.within_10 for score in each] for fit, each in scores.items()},
        "spearman": {fit: [score.spearman for score in each] for fit, each in scores.items()},
    }  # fmt: skip


def claims_of(rows: Sequence[dict]) -> list[Claim]:
    """What is held against targets: of every supernet, and of all together."""
    claims = []
    for row in rows:
        spread, error = row["spread"], {fit: statistics.mean(each) for fit, each in row["error_95"].items()}
        claims += [
            at_most(f"{row['supernet']}: spread of what is steadied over that of the {way}",
                    spread["steadied"] / spread[way], 1.0)
            for way in WAYS if way != "steadied"
        ]  # fmt: skip
        claims += [
            at_most(f"{row['supernet']}: error of predictions from MACs and bytes over those from MACs alone",
                    error["MACs and bytes"] / error["MACs"], 1.0),
            at_least(f"{row['supernet']}: share of held-out models predicted within 10 %, mean",
                     statistics.mean(row["within_10"]["MACs and bytes"]), WITHIN),
        ]  # fmt: skip
    return claims


def main(quick: bool = typer.Option(False, help="A rehearsal.")) -> None:
    """Measure, tell, predict and claim."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    seed_everything(0)
    if quick:
        hosts = {"tiny": fresh_kit().host}
    else:
        architecture, size = CLASSIFIER
        hosts = {
            "sprites": factory.load_kit(kit_folder("sprites")).host,
            architecture: timm_supernet.folded(timm_supernet.create(architecture, size, num_classes=10)),
        }
    subnets, repeats = (QUICK, 2) if quick else (SUBNETS, REPEATS)
    rows = []
    for name, host in hosts.items():
        rows.append(row_of(name, host, subnets, repeats))
        print(rows[-1])
    write_result("factory_metering", rows, claims_of(rows), {"quick": quick, "repeats": repeats})


if __name__ == "__main__":
    typer.run(main)
