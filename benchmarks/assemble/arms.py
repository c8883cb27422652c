"""What is trained for equal seconds, and how many steps that is for each."""

import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from intarsia import Plan, load_plan
from intarsia.shipped import plan_file
from intarsia.train import processes
from recipes.student.screening import settled
from recipes.student.ways import WAYS, Way, train

TRIALS = (15, 45)  # steps of two short trainings whose difference is timed; both have every stage of incubation
PLAIN, OURS, RIVAL = "ours, no experts", "ours", "bk-sdm"


@dataclass(frozen=True)
class Arm:
    """One student.

    Attributes:
        way: How it is trained, by its name in `recipes.student.ways`.
        plan: The short name of what is left out.
    """

    way: str
    plan: str
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.way}, {self.plan}, seed {self.seed}"


def arms_of(plan: str, seeds: int, also: str) -> list[Arm]:
    """Every way once; ours and the rival with more seeds, for what sets them apart is small; two in another shape."""
    again = [Arm(way, plan, seed) for seed in range(1, seeds) for way in (RIVAL, PLAIN, OURS)]
    return [*(Arm(way, plan) for way in WAYS), *again, Arm(RIVAL, also), Arm(OURS, also)]


def settled_ways(
    arms: Sequence[Arm], teacher: UNet2DConditionModel, base: Path, runs: Path, **sizes: Any
) -> dict[tuple[str, str], Way]:
    """For each way and plan, the way with the rate that suits it."""
    return {
        (way, plan): settled(WAYS[way], teacher, plan_of(plan), base, runs / "rates" / plan / way, **sizes)
        for way, plan in dict.fromkeys((arm.way, arm.plan) for arm in arms)
    }


def paces(
    ways: Mapping[tuple[str, str], Way], teacher: UNet2DConditionModel, base: Path, runs: Path, rounds: int
) -> dict[tuple[str, str], float]:
    """Seconds a step of each: the median of rounds in which all take turns, before anything is trained; kept."""
    found: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
    for number in range(rounds):
        for (way, plan), settled_way in ways.items():
            kept = runs / "paces" / plan / way / f"{number}.json"
            if not kept.exists():
                seconds = seconds_a_step(settled_way, teacher, plan_of(plan), base, runs / "trial")
                if processes().is_main_process:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(json.dumps(seconds))
                processes().wait_for_everyone()
            found[way, plan].append(json.loads(kept.read_text()))
    return {key: statistics.median(seconds) for key, seconds in found.items()}


def seconds_a_step(way: Way, teacher: UNet2DConditionModel, plan: Plan, base: Path, out: Path) -> float:
    """What one more step takes: what a training spends on its first steps does not count."""
    taken = []
    for steps in TRIALS:
        clear(out)
        taken.append(train(way, teacher, plan, base, out, steps=steps)[1].seconds)
    clear(out)
    if taken[0] >= taken[1]:
        raise SystemExit(f"{TRIALS[1]} steps took no longer than {TRIALS[0]}: the machine is too busy. Begin again.")
    return (taken[1] - taken[0]) / (TRIALS[1] - TRIALS[0])


def clear(folder: Path) -> None:
    """Remove a folder once nobody reads it any more: going on with a killed run would look fast."""
    state = processes()
    state.wait_for_everyone()
    if state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    state.wait_for_everyone()


def plan_of(name: str) -> Plan:
    """A plan that ships."""
    return load_plan(plan_file(name))
