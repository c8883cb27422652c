"""The learning rate of each way, sought alike for all: short trainings, and the one with the least loss.

A way's rate is sought on one sense and used for all: a search for each sense would cost a fifth of all steps.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from intarsia.connect.learning import mean_losses
from intarsia.train import Method, Schedule, fit, processes, wear_average

from .training import begin

RATES = (7e-4, 2e-3, 6e-3)
OPTIMIZER: Method = "muon"  # AdamW takes several times as many steps to the same loss
STEPS = 300
DRAWS = 16  # batches that losses are compared on


def schedule_of(steps: int, rate: float) -> Schedule:
    """How parts of all ways train."""
    return Schedule(steps, rate, warmup=min(100, steps // 10), cooldown=steps // 2, optimizer=OPTIMIZER)


def chosen_rate(
    born: Callable[[], nn.Module],
    batch_at: Callable[[int], Any],
    out: Path,
    *,
    batch: int,
    steps: int = STEPS,
    rates: Sequence[float] = RATES,
) -> float:
    """The rate whose training of `steps` steps ends with the least loss on batches of its own; kept in `out`; resumes.

    Args:
        born: Makes the objective anew.
        batch: Pictures a step and process.

    Raises:
        SystemExit: `out` holds a search of other steps, pictures or rates, a rehearsal's say.
    """
    begin(out, steps=steps, batch=batch, rates=list(rates), optimizer=OPTIMIZER)
    kept = out / "rates.json"
    if not kept.exists():
        losses = {}
        for rate in rates:
            objective, run = born(), out / f"{rate:g}"
            fit(objective, batch_at, schedule_of(steps, rate), run, save_every=steps)
            wear_average(objective, run)
            losses[f"{rate:g}"] = mean_losses(objective.eval(), batch_at, draws=min(DRAWS, steps))["loss"]
        processes().wait_for_everyone()
        if processes().is_main_process:
            part = kept.with_suffix(".part")
            part.write_text(json.dumps({"steps": steps, "losses": losses}, indent=1) + "\n")
            part.replace(kept)
        processes().wait_for_everyone()
    found: dict[str, float] = json.loads(kept.read_text())["losses"]
    return float(min(found, key=lambda rate: found[rate]))
