"""What recipes of kits share: choices by part, and what is left behind, a kit that ships and a report whether its gates
know their tasks."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import typer
from torch import Tensor

from intarsia import IntarsiaError, factory
from intarsia.factory import Task
from intarsia.keeping import keep_settings
from intarsia.train import seed_everything
from recipes.shipping import shipped_folder, write_card

LIMIT_MB = 40
HELD = 3  # every so manieth choice is never asked for in training
AMONG = (0, 1, 3), (0, 1, 3, 4, 7)  # turned through all answers, so that each is in as many choices of three and five


def command(main: Callable[..., None]) -> None:
    """A recipe from the shell: what is refused, or not finished yet, is said in a line."""
    try:
        typer.run(main)
    except IntarsiaError as refusal:
        sys.exit(str(refusal))


def choices_split(space: factory.Space) -> dict[str, list[Task]]:
    """Choices between two, three and five answers, by part: `seen`, and `unseen`, which training never asks for."""
    count = len(space.names)
    sizes = [[{one, other} for other in range(count) for one in range(other)]]
    sizes += [[{(turn + place) % count for place in places} for turn in range(count)] for places in AMONG]
    parts: dict[str, list[Task]] = {"seen": [], "unseen": []}
    for chosen in sizes:
        for place, answers in enumerate(chosen):
            parts["seen" if place % HELD else "unseen"].append(space.task_of(answers))
    return parts


def looks_of(pictures: Tensor) -> str:
    """What pictures look like from afar: enough to tell when they are drawn or read otherwise than before."""
    return f"{tuple(pictures.shape)}, {float(pictures.mean()):.3f} +- {float(pictures.std()):.3f}"


def begin(runs: Path, lessons: factory.Lessons, settings: Mapping[str, object]) -> None:
    """Take down what a training is begun with, its first pictures too.

    Raises:
        CardError: it goes on in `runs`, and was begun otherwise.
    """
    seed_everything(0)
    keep_settings(runs, {**settings, "first pictures": looks_of(lessons.concepts(0)[0])})


def without(lessons: factory.Lessons, held: Sequence[Task]) -> factory.Lessons:
    """Lessons of which no batch asks for any of these tasks."""

    def others(draw: int) -> tuple[Tensor, ...]:
        *seen, codes = lessons.tasks(draw)
        asked = (codes[:, None] == factory.codes_of(held, codes.shape[1])).all(2).any()
        return others(draw) if asked else (*seen, codes)

    return replace(lessons, tasks=others)


def leave(
    kit: factory.Kit, runs: Path, out: Path, card: Path, parts: Mapping[str, Sequence[Task]], exam: factory.Exam,
    shares: Sequence[float],
) -> None:  # fmt: skip
    """Let a kit take the place of the one that ships, then say how the tasks of each part do at shares of the MACs.

    Args:
        runs: Gets `audit.json`.
        out: The kit's folder, with a card for people, in which the audit comes last: it may take long.
        card: The card's template.
    """
    values = {
        "steps": " and ".join(f"{steps:,}" for steps in kit.card["steps"]),
        "macs": f"{kit.host.outline.macs / 1e6:.1f}", "parameters": f"{kit.host.outline.params / 1e6:.1f}",
        "lowest": f"{kit.lowest:.0%}", "highest": f"{kit.highest:.0%}",
    }  # fmt: skip
    with shipped_folder(out, limit_mb=LIMIT_MB) as folder:
        folder.rmdir()  # for saving makes it
        factory.save_kit(kit, folder)
        write_card(card, folder, values | {"audit": "not audited yet"})
    report, told = {}, []
    for part, tasks in parts.items():
        found = factory.audit(kit, tasks, exam, shares)
        report[part] = asdict(found)
        told.append(f"{part}, {len(tasks)} tasks\n{factory.table(found)}")
    print("\n\n".join(told))
    (runs / "audit.json").write_text(json.dumps(report, indent=1) + "\n")
    write_card(card, out, values | {"audit": "\n\n".join(told)})
