"""A kit for choosing between clothes: a supernet and its assembler, trained on Fashion-MNIST. Every stage resumes.

python -m recipes.fashion.run --data runs/fashion/data
intarsia fulfil runs/fashion/kit --task "shoe, bag, coat" --milliseconds 2 -o out/shoes
"""

from pathlib import Path

import torch
import typer

from intarsia import factory
from intarsia.hosts import timm_supernet
from recipes.kits import leave

from .pictures import MEAN, NAMES, SIZE, STD, WORDS, read

# What has no units is the least that a model costs, so the stem is narrow and shortcuts are averaged before they widen.
ARCHITECTURE = {
    "num_classes": len(NAMES), "in_chans": 1, "channels": [32, 64, 96, 128], "stem_type": "deep", "stem_width": 4,
    "avg_down": True,
}  # fmt: skip
GRAIN = 2
LOWEST = 0.12  # of the MACs; the least that this supernet has is 7.1%
SHARES = (0.12, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)


def supernet() -> timm_supernet.TimmSupernet:
    """Fresh."""
    return timm_supernet.create("resnet18", (1, SIZE, SIZE), grain=GRAIN, **ARCHITECTURE)


def main(
    data: Path = typer.Option(..., help="Where the files of Fashion-MNIST are."),
    runs: Path = typer.Option(Path("runs/fashion"), help="Where everything is kept."),
    concepts: int = typer.Option(3_000, help="Steps of the first stage."),
    customising: int = typer.Option(6_000, help="Steps of the second stage."),
    batch: int = typer.Option(96, help="Pictures in a batch."),
    minutes: float | None = typer.Option(None, help="Stop each stage after so long; it resumes next time."),
    tested: int = typer.Option(2_000, help="Test pictures that the report looks at."),
    threads: int = typer.Option(1, help="Of the process."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pictures, answers = read(data, "train")
    kit = factory.learned(
        supernet(), factory.Space(NAMES, WORDS), factory.choice_lessons(pictures, answers, batch=batch), runs,
        lowest=LOWEST, concepts=concepts, customising=customising, mean=(MEAN,), std=(STD,),
        card={"trained on": "Fashion-MNIST (MIT), 60,000 pictures"},
        stop_after=None if minutes is None else minutes * 60,
    )  # fmt: skip
    shown, known = (part[:tested] for part in read(data, "t10k"))
    tasks = [kit.space.task([NAMES[number], NAMES[(number + step) % 10]]) for step in (1, 3) for number in range(10)]
    leave(kit, runs, {"pairs": tasks}, factory.choices(shown, known), SHARES)


if __name__ == "__main__":
    typer.run(main)
