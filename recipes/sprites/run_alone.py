"""Kits for pictures of one sprite each: choosing between classes, or questions about class and colour with one head.

python -m recipes.sprites.run_alone classes
python -m recipes.sprites.run_alone questions      `recipes/sprites/tiles.py` says where the data are from
intarsia fulfil runs/sprites/questions/kit --task "red, sword" --macs 1.5M -o out/red-sword

Every stage resumes. At the end: whether the gates of each task do better than those of other tasks.
"""

from enum import StrEnum
from pathlib import Path

import torch
import typer
from torch import nn

from intarsia import factory
from intarsia.hosts import timm_supernet
from intarsia.train import seed_everything
from recipes.kits import begin, choices_split, command, leave, without

from .alone import (
    CHOICES,
    PAIRS,
    QUESTIONS,
    SIDE,
    Shown,
    question_exam,
    question_lessons,
    question_split,
    shown,
)
from .backbone import MEAN, STD
from .sprites import read

ARCHITECTURE = {
    "in_chans": 3, "channels": [32, 64, 128, 128], "stem_type": "deep", "stem_width": 4, "avg_down": True,
    "zero_init_last": False,
}  # fmt: skip
CARD = Path(__file__).with_name("CARD.alone.md")
CONCEPT_LAYER = "layer4"
GRAIN = 2
# Of the MACs; the highest of questions, which share one head: `recipes.mosaics.run` says why it is no more.
LOWEST, HIGHEST, BEGINS = 0.13, 0.5, 0.3
STEPS = 3_000, 8_000  # of the stages
PICTURES = 30_000  # to learn from
BATCH, TASKS = 192, 24  # pictures in a batch, and questions


class Kind(StrEnum):
    classes = "classes"
    questions = "questions"


def supernet(kind: Kind) -> timm_supernet.TimmSupernet:
    """Fresh."""
    outputs = len((CHOICES if kind is Kind.classes else QUESTIONS).outputs)
    return timm_supernet.create("resnet18", (3, SIDE, SIDE), grain=GRAIN, num_classes=outputs, **ARCHITECTURE)


def probe(net: nn.Module) -> factory.Probe:
    """Which sprite of which colour it is."""
    return factory.Probe(net, (3, SIDE, SIDE), CONCEPT_LAYER, len(PAIRS), 1)


def class_lessons(known: Shown, batch: int = BATCH) -> factory.Lessons:
    """Choices between two to five classes, none of them an unseen one."""
    every = factory.choice_lessons(known.pictures, known.classes, batch=batch)
    return without(every, choices_split(CHOICES)["unseen"])


def main(
    kind: Kind = typer.Argument(..., help="classes or questions."),
    data: Path = typer.Option(Path("runs/sprites/data"), help="Where the source of the game, version 0.28.0, is."),
    runs: Path | None = typer.Option(None, help="Where trainings are kept; runs/sprites/KIND if not given."),
    out: Path | None = typer.Option(None, help="The kit's folder; one that stands there is replaced."),
    pictures: int = typer.Option(PICTURES, help="To learn from."),
    concepts: int = typer.Option(STEPS[0], help="Steps of the first stage."),
    customising: int = typer.Option(STEPS[1], help="Steps of the second stage."),
    batch: int = typer.Option(BATCH, help="Pictures in a batch."),
    minutes: float | None = typer.Option(None, help="Stop each stage after so long; it resumes next time."),
    tested: int = typer.Option(200, help="Pictures for each question in the report; of classes, ten times as many."),
    threads: int = typer.Option(1, help="Of the process."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    runs = runs or Path("runs/sprites") / kind
    sprites = read(data)
    learned, kept = shown(sprites, pictures), shown(sprites, 10 * tested, tested=True)
    taught = class_lessons(learned, batch) if kind is Kind.classes else question_lessons(learned, batch, TASKS)
    begin(runs, taught, {"steps": [concepts, customising], "batch": batch, "pictures": pictures})
    seed_everything(0)
    host = supernet(kind)
    said = {
        "concepts": concepts, "customising": customising, "mean": (MEAN,) * 3, "std": (STD,) * 3,
        "card": {"trained on": "tiles of Dungeon Crawl Stone Soup 0.28.0 (CC0)"},
        "stop_after": None if minutes is None else minutes * 60,
    }  # fmt: skip
    if kind is Kind.classes:
        kit = factory.learned(host, CHOICES, taught, runs, lowest=LOWEST, begins=BEGINS, **said)
        parts, exam, shares = (
            choices_split(CHOICES),
            factory.choices(kept.pictures, kept.classes),
            (0.15, 0.3, 0.5, 1.0),
        )
    else:
        kit = factory.learned(
            host, QUESTIONS, taught, runs, lowest=LOWEST, highest=HIGHEST, begins=BEGINS, probe=probe(host.module),
            **said,
        )  # fmt: skip
        parts, exam, shares = question_split(kept), question_exam(kept, tested), (0.15, 0.2, 0.3, 0.5)
    leave(kit, runs, out or runs / "kit", CARD, parts, exam, shares)


if __name__ == "__main__":
    command(main)
