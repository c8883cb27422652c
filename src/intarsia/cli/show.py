"""`intarsia show`: draw a plan."""

import typer

from .reading import read_outline, read_outlines, read_plans, resolve_named


def show(
    plans: list[str] = typer.Argument(..., help="Plan files or short names; several are joined."),
    outline: str | None = typer.Option(
        None, help="A model's short name or folder, or an outline file: then every block is drawn."
    ),
    other: list[str] = typer.Option([], help="A model that the plan uses for some calls, as NAME=MODEL."),
    units: bool = typer.Option(False, help="One line a unit instead of one line a block."),
) -> None:
    """Draw a plan: sites down, calls across."""
    from ..plan import draw

    plan = read_plans(plans)
    if outline is None:
        typer.echo(str(plan))
    else:
        others = read_outlines(other)
        table = resolve_named(plan, read_outline(outline), plans, others)
        typer.echo(draw(table, level="unit" if units else "block", others=others))
