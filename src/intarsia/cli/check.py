"""`intarsia check`: every problem of a plan at once."""

import typer

from .reading import read_outline, read_outlines, read_plans, resolve_named


def check(
    plans: list[str] = typer.Argument(..., help="Plan files or short names; several are joined."),
    outline: str | None = typer.Option(
        None, help="A model's short name or folder, or an outline file, to check the sites too."
    ),
    other: list[str] = typer.Option([], help="A model that the plan uses for some calls, as NAME=MODEL."),
) -> None:
    """Say everything that is wrong with a plan: of its file by line, and with --outline of its sites by rule.

    Exit code 1 if there is anything.
    """
    plan = read_plans(plans)
    if outline is not None:
        resolve_named(plan, read_outline(outline), plans, read_outlines(other))
    unchecked = "" if outline else "; its sites were not checked: name an --outline"
    typer.echo(f"{', '.join(plans)}: {plan.rows} rows, {len(plan.rules)} rules, no problems{unchecked}")
