"""A kit for choosing between clothes: a supernet and its assembler, trained on Fashion-MNIST. Every stage resumes.

python -m recipes.fashion.run      `recipes/fashion/pictures.py` says where the data are from
intarsia fulfil --task "shoe, bag, coat" --milliseconds 2 -o out/shoes
"""

from pathlib import Path

import torch
import typer
from torch import Tensor

from intarsia import factory
from intarsia.hosts import timm_supernet
from intarsia.shipped import KITS
from intarsia.train import seed_everything
from recipes.kits import begin, choices_split, command, leave, without

from .pictures import MEAN, NAMES, SIZE, STD, WORDS, read

# What has no units is the least that a model costs, so the stem is narrow and shortcuts are averaged before they widen.
ARCHITECTURE = {
    "num_classes": len(NAMES), "in_chans": 1, "channels": [32, 64, 96, 128], "stem_type": "deep", "stem_width": 4,
    "avg_down": True,
}  # fmt: skip
CARD = Path(__file__).with_name("CARD.md")
GRAIN = 2
LOWEST = 0.12  # of the MACs; the least that this supernet has is 5.0%
STEPS = 3_000, 6_000  # of the stages
BATCH = 96  # pictures
SPACE = factory.Space(NAMES, WORDS)
SHARES = (0.12, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)


def supernet() -> timm_supernet.TimmSupernet:
    """Fresh."""
    return timm_supernet.create("resnet18", (1, SIZE, SIZE), grain=GRAIN, **ARCHITECTURE)


def lessons(pictures: Tensor, answers: Tensor, batch: int = BATCH) -> factory.Lessons:
    """Choices between two to five kinds of clothes, none of them an unseen one."""
    return without(factory.choice_lessons(pictures, answers, batch=batch), choices_split(SPACE)["unseen"])


def main(
    data: Path = typer.Option(Path("runs/fashion/data"), help="Where the files of Fashion-MNIST are."),
    runs: Path = typer.Option(Path("runs/fashion"), help="Where trainings are kept."),
    out: Path = typer.Option(KITS / "fashion", help="The kit's folder; one that stands there is replaced."),
    concepts: int = typer.Option(STEPS[0], help="Steps of the first stage."),
    customising: int = typer.Option(STEPS[1], help="Steps of the second stage."),
    batch: int = typer.Option(BATCH, help="Pictures in a batch."),
    minutes: float | None = typer.Option(None, help="Stop each stage after so long; it resumes next time."),
    tested: int = typer.Option(2_000, help="Test pictures that the report looks at."),
    threads: int = typer.Option(1, help="Of the process."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    pictures, answers = read(data, "train")
    taught = lessons(pictures, answers, batch)
    begin(runs, taught, {"steps": [concepts, customising], "batch": batch, "lowest": LOWEST})
    seed_everything(0)
    kit = factory.learned(
        supernet(), SPACE, taught, runs, lowest=LOWEST, concepts=concepts,
        customising=customising, mean=(MEAN,), std=(STD,),
        card={"trained on": "Fashion-MNIST (MIT), 60,000 pictures"},
        stop_after=None if minutes is None else minutes * 60,
    )  # fmt: skip
    shown, known = (part[:tested] for part in read(data, "t10k"))
    leave(kit, runs, out, CARD, choices_split(SPACE), factory.choices(shown, known), SHARES)


if __name__ == "__main__":
    command(main)
