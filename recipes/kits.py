"""What a recipe leaves behind: a kit that ships, and a report of whether its gates know their tasks."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import typer
from torch import Tensor

from intarsia import IntarsiaError, factory
from intarsia.factory import Task
from recipes.shipping import shipped_folder, write_card

LIMIT_MB = 40


def command(main: Callable[..., None]) -> None:
    """A recipe from the shell: what is refused, or not finished yet, is said in a line."""
    try:
        typer.run(main)
    except IntarsiaError as refusal:
        sys.exit(str(refusal))


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
    """Say how the tasks of each part do at shares of the MACs, then let the kit take the place of the one that ships.

    Args:
        runs: Gets `audit.json`.
        out: The kit's folder, with a card for people.
        card: The card's template.
    """
    report, told = {}, []
    for part, tasks in parts.items():
        found = factory.audit(kit, tasks, exam, shares)
        report[part] = asdict(found)
        told.append(f"{part}, {len(tasks)} tasks\n{factory.table(found)}")
    print("\n\n".join(told))
    (runs / "audit.json").write_text(json.dumps(report, indent=1) + "\n")
    with shipped_folder(out, limit_mb=LIMIT_MB) as folder:
        folder.rmdir()  # for saving makes it
        factory.save_kit(kit, folder)
        write_card(card, folder, {
            "steps": " and ".join(f"{steps:,}" for steps in kit.card["steps"]), "audit": "\n\n".join(told),
            "macs": f"{kit.host.outline.macs / 1e6:.1f}", "parameters": f"{kit.host.outline.params / 1e6:.1f}",
            "lowest": f"{kit.lowest:.0%}", "highest": f"{kit.highest:.0%}",
        })  # fmt: skip
