"""Mosaics as a person would have them: a folder for each answer to a question, of digits that were not learned from.

python -m recipes.mosaics.folder "only two, odd" -o exam
intarsia frontier mosaics --task "only two, odd" --pictures exam -o out/frontier
"""

from pathlib import Path

import torch
import typer
from PIL import Image

from intarsia import factory
from intarsia.saving import new_folder, refuse_existing
from recipes.kits import command

from .digits import MEAN, STD, Digits, read
from .questions import SPACE, drawn, laid


def pictures(task: factory.Task, count: int, digits: Digits) -> dict[str, list[Image.Image]]:
    """Mosaics by the answer to a question, as many of each as were drawn."""
    chosen, answers = drawn(task, count)
    pixels = ((laid(digits, chosen)[:, 0] * STD + MEAN).clamp(0, 1) * 255).round().byte().numpy()
    return {
        name: [Image.fromarray(one) for one in pixels[(answers == number).numpy()]]
        for number, name in enumerate(SPACE.shared)
    }


def main(
    question: str = typer.Argument(..., help="Such as 'only two, odd'."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write; must not exist."),
    count: int = typer.Option(200, min=2, help="How many mosaics in all."),
    seed: int = typer.Option(0, help="Of the mosaics."),
    data: Path = typer.Option(Path("runs/mosaics/data"), help="Where digits are, or are brought to."),
) -> None:
    """Draw mosaics into a folder."""
    refuse_existing(out)
    torch.manual_seed(seed)
    made = pictures(SPACE.read(question), count, read(data)[1])
    with new_folder(out) as part:
        for answer, some in made.items():
            (part / answer).mkdir()
            for number, picture in enumerate(some):
                picture.save(part / answer / f"{number:03d}.png")
    print(f"wrote {out}: {', '.join(f'{len(some)} {answer}' for answer, some in made.items())}")


if __name__ == "__main__":
    command(main)
