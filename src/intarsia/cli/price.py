"""`intarsia price`: what a plan costs."""

import json
from dataclasses import replace

import typer

from .reading import read_outline, read_outlines, read_plans, resolve_named


def price(
    plans: list[str] = typer.Argument(..., help="Plan files or short names; several are joined."),
    outline: str = typer.Option("emoji", help="A model's short name or folder, or an outline file."),
    other: list[str] = typer.Option([], help="A model that the plan uses for some calls, as NAME=MODEL."),
    beside: str | None = typer.Option(None, help="The model to say shares of, such as a small one's teacher."),
    as_json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Say what a plan costs, beside the whole model. MACs are counted, not estimated; they are not seconds.

    They are of one sample, and so are bytes. Guidance makes two samples of a picture; shares are the same.
    """
    from ..plan import price as price_of

    others = read_outlines(other)
    bill = price_of(resolve_named(read_plans(plans), read_outline(outline), plans, others), others)
    if beside is not None:
        bill = replace(bill, whole=read_outline(beside).macs)
    if as_json:
        typer.echo(json.dumps({
            "macs": bill.macs, "whole": bill.whole, "macs_ratio": bill.macs_ratio, "peak_bytes": bill.peak_bytes,
        }))  # fmt: skip
    else:
        typer.echo(str(bill))
