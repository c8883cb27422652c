"""`intarsia outline`: read a model's sites and costs."""

from pathlib import Path

import typer


def outline(
    model: str = typer.Argument("emoji", help="A short name, or the folder of a diffusers pipeline."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Where to write the outline, as JSON."),
    height: int | None = typer.Option(
        None, help="Of the latents, 8 times smaller than Stable Diffusion's pictures; the model's own if not given."
    ),
    width: int | None = typer.Option(None, help="The same; as --height where that alone is given."),
    tokens: int | None = typer.Option(None, help="Of the prompt; the tokenizer's length if not given."),
) -> None:
    """List a model's sites with their multiply-accumulates and parameters."""
    from rich.console import Console
    from rich.table import Table

    from ..plan import save_outline
    from ..plan.bill import count
    from ..saving import refuse_existing
    from ..shipped import model_folder

    if out is not None:
        refuse_existing(out)
    folder = model_folder(model)

    from .. import hosts
    from ..hosts.pipelines import load_pipeline
    from ..rig import outline_of

    pipe = load_pipeline(folder, device="cpu")
    length = tokens or pipe.tokenizer.model_max_length
    sizes = {"height": height, "width": width, "tokens": length}
    found = outline_of(hosts.of(pipe.unet), **sizes)
    table = Table("site", "level", "MACs", "share", "parameters", "may be skipped")
    for site in found.of_level("block", "layer", "unit"):
        indent = {"block": "", "layer": "  ", "unit": "    "}[site.level]
        table.add_row(
            indent + site.path, site.level, count(site.macs), f"{site.macs / found.macs:.1%}", count(site.params),
            {"never": "", "cut": "by baking"}.get(site.skip, "yes"),
        )  # fmt: skip
    Console().print(table)
    typer.echo(
        f"{count(found.macs)}MACs a call at {found.inputs}, {count(found.params)}parameters, hash {found.shape_hash}"
    )
    if out is not None:
        save_outline(found, out)
        typer.echo(f"wrote {out}")
