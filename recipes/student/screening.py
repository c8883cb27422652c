"""What each way is trained with, sought alike for all: short trainings; that which ends nearest to the teacher."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DConditionModel

from intarsia import Plan
from intarsia.train import processes

from .ways import BATCH, Way, examined, train

RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
STEPS = 200
DRAWS = 8  # batches that a student is examined on


def settled(
    way: Way,
    teacher: UNet2DConditionModel,
    plan: Plan,
    base: Path,
    out: Path,
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    draws: int = DRAWS,
    rates: Sequence[float] = RATES,
) -> Way:
    """The way with its best learning rate, and at that rate incubation only if it helps; kept in `out`; resumes.

    All are judged by one measure, how far answers are from the teacher's: a way's own loss would tell its rates
    apart, but not whether to incubate, nor one way's pains from another's.

    Args:
        rates: Rising; the search begins in their middle and moves to a neighbour for as long as that is nearer.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = processes()

    def off(tried: Way) -> float:
        """How far from the teacher a short training ends; read if it was kept."""
        name = f"{tried.rate:g}, incubated {tried.incubate:g}"
        kept, run = out / f"{name}.json", out / name
        if not kept.exists():
            student, done = train(tried, teacher, plan, base, run, steps=steps, batch=batch)
            found = {**done.last, "steps": steps, "off the teacher": examined(student, teacher, base, batch, draws)}
            state.wait_for_everyone()
            if state.is_main_process:
                part = kept.with_suffix(".part")
                part.write_text(json.dumps(found, indent=1) + "\n")
                part.replace(kept)
                shutil.rmtree(run)
            state.wait_for_everyone()
        return json.loads(kept.read_text())["off the teacher"]

    place, best = -1, len(rates) // 2
    while place != best:
        place = best
        near = [other for other in (place, place - 1, place + 1) if 0 <= other < len(rates)]
        best = min(near, key=lambda other: off(replace(way, rate=rates[other])))
    found = replace(way, rate=rates[best])
    return min((found, replace(found, incubate=0.0)), key=off)
