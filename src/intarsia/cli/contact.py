"""A contact sheet: rows are prompts, columns are the whole model, without and with references, and the plans."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from ..eval.side_by_side import SideBySide

CELL, GAP, LABELS, HEAD = 160, 10, 250, 64


def contact_sheet(prompts: Sequence[str], result: SideBySide) -> Image.Image:
    """All pictures on one page, each column headed by its share of MACs and seconds."""
    said = {
        name: f"{bill.macs_ratio:.0%} MACs, {result.seconds.ratio(name)[0]:.0%} time"
        for name, bill in result.bills.items()
    }
    return page_of(prompts, result.pictures, said)


def page_of(
    rows: Sequence[str], columns: Mapping[str, Sequence[Image.Image]], said: Mapping[str, str] | None = None
) -> Image.Image:
    """Pictures on one page, a row for each name and a column for each of its pictures.

    Args:
        columns: By heading, a picture for each row.
        said: By heading, what stands below it.
    """
    page = Image.new(
        "RGB", (LABELS + len(columns) * (CELL + GAP) + GAP, HEAD + len(rows) * (CELL + GAP) + GAP), "white"
    )
    pen = ImageDraw.Draw(page)
    head, small = ImageFont.load_default(17), ImageFont.load_default(14)
    for place, name in enumerate(columns):
        left = LABELS + GAP + place * (CELL + GAP)
        pen.text((left, 10), name, "black", head)
        pen.text((left, 34), (said or {}).get(name, ""), "dimgray", small)
    for row, label in enumerate(rows):
        top = HEAD + row * (CELL + GAP)
        pen.multiline_text((GAP, top + CELL // 3), wrapped(label, small), "black", small, spacing=4)
        for place, pictures in enumerate(columns.values()):
            picture = pictures[row].resize((CELL, CELL), Image.Resampling.LANCZOS)
            page.paste(picture, (LABELS + GAP + place * (CELL + GAP), top))
    return page


def wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """A prompt on as many lines as it needs beside its row."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) < LABELS - 2 * GAP else [*lines, word]
    return "\n".join(lines)
