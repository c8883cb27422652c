"""A contact sheet: rows are prompts, columns are the whole model, without and with references, and the plans."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ..eval.side_by_side import SideBySide

CELL, GAP, LABELS, HEAD = 160, 10, 250, 64


def contact_sheet(prompts: Sequence[str], result: SideBySide) -> Image.Image:
    """All pictures on one page, each column headed by its share of MACs and seconds."""
    columns = list(result.pictures)
    page = Image.new(
        "RGB", (LABELS + len(columns) * (CELL + GAP) + GAP, HEAD + len(prompts) * (CELL + GAP) + GAP), "white"
    )
    pen = ImageDraw.Draw(page)
    head, small = ImageFont.load_default(17), ImageFont.load_default(14)
    for place, name in enumerate(columns):
        left = LABELS + GAP + place * (CELL + GAP)
        pen.text((left, 10), name, "black", head)
        if name in result.bills:
            ratio, _, _ = result.seconds.ratio(name)
            said = f"{result.bills[name].macs_ratio:.0%} MACs, {ratio:.0%} time"
            pen.text((left, 34), said, "dimgray", small)
    for row, prompt in enumerate(prompts):
        top = HEAD + row * (CELL + GAP)
        pen.multiline_text((GAP, top + CELL // 3), wrapped(prompt, small), "black", small, spacing=4)
        for place, name in enumerate(columns):
            picture = result.pictures[name][row].resize((CELL, CELL), Image.Resampling.LANCZOS)
            page.paste(picture, (LABELS + GAP + place * (CELL + GAP), top))
    return page


def wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """A prompt on as many lines as it needs beside its row."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) < LABELS - 2 * GAP else [*lines, word]
    return "\n".join(lines)
