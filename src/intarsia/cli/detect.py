"""`intarsia detect`: a shipped detector finds things in a picture."""

from pathlib import Path

import typer

SHORT, LONG = 480, 1920  # pixels: smaller pictures are drawn larger, up to these, so that scores can be read


def detect(
    model: Path = typer.Argument(
        ..., help="The folder of a detector that 'intarsia fulfil --detect' wrote; or a pack, with --scenario."
    ),
    picture: Path = typer.Argument(..., help="A picture of any size."),
    scenario: str | None = typer.Option(None, help="Of a pack: which of its models."),
    least: float = typer.Option(0.3, min=0, max=1, help="The score below which nothing is said."),
    out: Path = typer.Option(..., "--out", "-o", help="The picture to write, with boxes drawn; must not exist."),
) -> None:
    """Find things in a picture: says what was found where, and draws it."""
    from ..saving import new_file, refuse_existing

    refuse_existing(out)
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"{out}: boxes are drawn into a PNG; name one, such as {out.with_suffix('.png')}.")

    from ..errors import FitError
    from ..factory import load_pack, rebuild
    from ..factory.detecting import detect as found
    from ..factory.detecting import drawn
    from ..pictures import on_white, opened

    if scenario is None and model.is_file():
        known = ", ".join(load_pack(model).scenarios)
        raise FitError(f"{model} is a pack of several models: say --scenario and one of: {known}.")
    built = rebuild(model) if scenario is None else load_pack(model).cut(scenario)
    shown = on_white(opened(picture))
    seen = found(built, shown, least=least)
    with new_file(out) as part:
        drawn(shown, seen, max(1, min(SHORT // min(shown.size), LONG // max(shown.size)))).save(part, format="PNG")
    what = ", ".join(built.answers)
    for box, score in zip(seen.boxes.round().int().tolist(), seen.scores.tolist(), strict=True):
        typer.echo(f"{what}: {score:.2f} at {box[0]}, {box[1]} to {box[2]}, {box[3]}")
    typer.echo(f"found {len(seen.boxes)}; wrote {out}")
