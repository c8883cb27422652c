"""How parts were trained: taken down when they begin, told once they have ended, so that like is set beside like."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from intarsia import CardError
from intarsia.keeping import keep_settings
from intarsia.train import processes

MANNERS = ("loudness_cost", "disturbance")  # of modules; rivals have none


@dataclass(frozen=True)
class Training:
    """A training that came to its end.

    Attributes:
        batch: Pictures a step, of all processes together.
        precision: Of products, as accelerate was told.
        blocks: Of the connector, after each of which modules speak.
        seconds: Over all sessions.
        before: Steps of the module that it began with; 0 for a fresh one.
        optimizer: See `intarsia.train.Method`.
        loudness_cost: What modules paid for how far they move the tokens; rivals have nothing to pay for.
        disturbance: The noise among which they learnt.
    """

    way: str
    steps: int
    batch: int
    processes: int
    precision: str
    rate: float
    blocks: int
    seconds: float
    before: int = 0
    optimizer: str = "adamw"
    loudness_cost: float = 0.0
    disturbance: float = 0.0


def begin(run: Path, **settings: Any) -> None:
    """Take down how a run is trained. Every process calls this.

    Args:
        settings: `way`, `steps`, `rate`, `optimizer`, `blocks`, `before`, `loudness_cost`, `disturbance`, and
            `batch`, the pictures a step and process.

    Raises:
        SystemExit: it was begun with other settings, by another number of processes, or at another precision.
    """
    state = processes()
    shared = {
        "batch": settings["batch"] * state.num_processes, "processes": state.num_processes,
        "precision": os.environ.get("ACCELERATE_MIXED_PRECISION", "no"),
    }  # fmt: skip
    with state.main_process_first():
        keep_or_refuse(run, **(settings | shared))


def keep_or_refuse(run: Path, **settings: Any) -> None:
    """Keep what a run is begun with beside it.

    Raises:
        SystemExit: it was begun with other settings.
    """
    try:
        keep_settings(run, settings)
    except CardError as error:
        raise SystemExit(str(error)) from error


def ended(run: Path) -> Training:
    """What a finished training of parts was.

    Raises:
        SystemExit: there is none, or it was stopped on the way.
    """
    settings, progress = run / "settings.json", run / "checkpoint/progress.json"
    if not settings.exists() or not progress.exists():
        raise SystemExit(f"{run}: there is no such training; train it first.")
    told, done = json.loads(settings.read_text()), json.loads(progress.read_text())
    if done["step"] < told["steps"]:
        raise SystemExit(f"{run}: stopped at step {done['step']:,} of {told['steps']:,}; repeat its command to go on.")
    return Training(**told, seconds=done["seconds"])


def told_by(card: Mapping[str, Any]) -> Training:
    """The same of a module's file, from its card.

    Raises:
        SystemExit: the card does not say.
    """
    named = [field.name for field in fields(Training) if field.default is MISSING or field.name in card["training"]]
    lacking = [name for name in named if name not in card["training"]]
    if lacking:
        raise SystemExit(f"the file of {card['name']!r} does not say its {', '.join(lacking)}; train it anew.")
    return Training(**{name: card["training"][name] for name in named})


def refuse_unequal_senses(trainings: Mapping[tuple[str, str], Training], own: Iterable[str]) -> None:
    """Each sense must have been trained alike in all ways; all senses too, but for what is a sense's own.

    Args:
        trainings: By what it is called, and by its sense.
        own: Fields of `Training`.

    Raises:
        SystemExit: they were not.
    """
    for sense in {sense for _, sense in trainings}:
        refuse_unequal({called: one for (called, of), one in trainings.items() if of == sense})
    blank = dict.fromkeys(own, 0)
    refuse_unequal({called: replace(one, **blank) for (called, _), one in trainings.items()})


def refuse_unequal(trainings: Mapping[str, Training]) -> None:
    """What is compared must have been trained alike: as long, on as many pictures, at one rate and with the
    same manners within a way.

    Raises:
        SystemExit: it was not.
    """
    equal = {
        (one.steps, one.before, one.batch, one.processes, one.precision, one.optimizer) for one in trainings.values()
    }
    own = {(one.way, one.rate, one.loudness_cost, one.disturbance) for one in trainings.values()}
    if len(equal) <= 1 and len(own) == len({way for way, *_ in own}):
        return
    raise SystemExit(
        "these were not trained alike, so that comparing them would mean nothing; train anew those that differ:\n"
        + "\n".join(
            f"  {name}: {one.steps:,} steps of {one.batch} by {one.processes} processes at {one.rate:g}, "
            f"{one.optimizer}, precision {one.precision}, loudness at {one.loudness_cost:g}, noise {one.disturbance:g}"
            for name, one in trainings.items()
        )
    )
