"""`intarsia frontier`: how good a task's models are, from small to large: a table and a drawing."""

import csv
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import typer
from PIL import Image, ImageDraw, ImageFont

from ..plan.bill import count

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 720, 460, 80, 30, 50, 70  # of the drawing, in pixels
LINES = 5  # across, to read values by


class Against(StrEnum):
    macs = "macs"
    milliseconds = "milliseconds"


def frontier(
    kit: str = typer.Argument(..., help="A kit's folder, or the name of one that ships."),
    task: str = typer.Option(..., help="What to tell apart or find: 'shoe, bag, coat', 'all', 'red sword'."),
    pictures: Path = typer.Option(
        ...,
        help="A folder with a subfolder of pictures for each answer; of things, annotations (COCO) or the folder that "
        "they and the pictures are in.",
    ),
    against: Against = typer.Option(Against.macs, help="macs, or milliseconds measured on this machine."),
    points: int = typer.Option(8, min=2, help="Models, from the smallest that was trained for to the largest."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write; must not exist."),
) -> None:
    """Draw a task's accuracy against multiply-accumulates or milliseconds.

    The folder gets frontier.png and frontier.csv. Pictures should be such as the kit was not trained on.
    """
    from ..saving import new_folder, refuse_existing

    refuse_existing(out)

    from .. import factory
    from ..factory.frontier import frontier as made
    from ..factory.frontier import shares_between
    from ..factory.labelled import read_exam
    from ..shipped import kit_folder

    found = factory.load_kit(kit_folder(kit))
    asked = found.space.read(task)
    shown, marks = read_exam(pictures, found, asked).exam
    timed = against is Against.milliseconds
    clock = factory.WallClock() if timed else None
    seen = made(found, asked, shown, marks, shares_between(found, points), clock=clock)
    rows = [
        [f"{point.share:.4f}", str(point.macs), str(point.params), f"{point.accuracy:.4f}"]
        + ([] if point.seconds is None else [f"{point.seconds * 1000:.4f}"])
        for point in seen
    ]
    places = [float(point.macs) if point.seconds is None else point.seconds * 1000 for point in seen]
    title = f"{', '.join(found.space.spoken(asked))}: {len(shown)} pictures"
    with new_folder(out) as part:
        with (part / "frontier.csv").open("w", newline="") as lines:
            csv.writer(lines).writerows([["share", "macs", "params", "accuracy"] + ["milliseconds"] * timed, *rows])
        page = drawing(title, "milliseconds a picture" if timed else "MACs a picture", places,
                       [point.accuracy for point in seen])  # fmt: skip
        page.save(part / "frontier.png")
    measure = "average precision" if found.space.things else "right"
    for point in seen:
        took = "" if point.seconds is None else f", {point.seconds * 1000:.3g} ms"
        typer.echo(
            f"{point.accuracy:6.1%} {measure} at {point.share:.0%}: {count(point.macs)}MACs, "
            f"{count(point.params)}parameters{took}"
        )
    typer.echo(f"wrote {out}")


def drawing(title: str, across: str, costs: Sequence[float], accuracies: Sequence[float]) -> Image.Image:
    """Accuracy above cost, a dot for each model; the least accuracy shown is a little below the worst."""
    page = Image.new("RGB", (WIDE, HIGH), "white")
    pen = ImageDraw.Draw(page)
    head, small = ImageFont.load_default(17), ImageFont.load_default(14)
    most = max(costs) * 1.05
    least = max(0.0, min(accuracies) - 0.1 * (1.02 - min(accuracies)))

    def place(cost: float, accuracy: float) -> tuple[float, float]:
        return (
            LEFT + (WIDE - LEFT - RIGHT) * cost / most,
            HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * (accuracy - least) / (1 - least),
        )

    pen.text((LEFT, 14), title, "black", head)
    for line in range(LINES + 1):
        level = least + (1 - least) * line / LINES
        pen.line([place(0, level), place(most, level)], "gainsboro")
        pen.text((LEFT - 8, place(0, level)[1]), f"{level:.1%}", "dimgray", small, anchor="rm")
        cost = most * line / LINES
        pen.line([place(cost, least), place(cost, 1)], "gainsboro")
        pen.text((place(cost, least)[0], HIGH - BOTTOM + 8), count(cost).strip(), "dimgray", small, anchor="ma")
    pen.text((WIDE / 2, HIGH - 30), across, "black", small, anchor="ma")
    dots = [place(*pair) for pair in sorted(zip(costs, accuracies, strict=True))]
    pen.line(dots, "steelblue", 2)
    for x, y in dots:
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), "steelblue")
    return page
