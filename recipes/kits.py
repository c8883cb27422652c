"""What a recipe leaves behind: a kit, and a report of whether its gates know their tasks."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from intarsia import IntarsiaError, factory
from intarsia.factory import Task


def command(main: Callable[..., None]) -> None:
    """A recipe from the shell: what is refused, or not finished yet, is said in a line."""
    try:
        typer.run(main)
    except IntarsiaError as refusal:
        sys.exit(str(refusal))


def leave(
    kit: factory.Kit, runs: Path, parts: Mapping[str, Sequence[Task]], exam: factory.Exam, shares: Sequence[float]
) -> None:
    """Write `kit/`, over an older one, and `audit.json`; say how the tasks of each part do at shares of the MACs."""
    shutil.rmtree(runs / "kit", ignore_errors=True)
    factory.save_kit(kit, runs / "kit")
    report = {}
    for part, tasks in parts.items():
        found = factory.audit(kit, tasks, exam, shares)
        report[part] = asdict(found)
        print(f"{part}, {len(tasks)} tasks\n{factory.table(found)}")
    (runs / "audit.json").write_text(json.dumps(report, indent=1) + "\n")
