"""`intarsia bake`: the smaller model that a one-row plan describes."""

from pathlib import Path

import typer


def bake(
    plan: str = typer.Argument(..., help="A plan file of one row that skips pairs or the mid block."),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline."),
    out: Path = typer.Option(..., "--out", "-o", help="The new pipeline's folder."),
) -> None:
    """Leave layers out of a model for good. The result is an ordinary pipeline; it wants training afterwards."""
    from ..plan import load_plan
    from ..plan.bill import count
    from ..saving import new_folder, refuse_existing
    from ..shipped import model_folder, plan_file

    refuse_existing(out)
    found, folder = load_plan(plan_file(plan)), model_folder(model)

    from .. import hosts, rig
    from ..hosts.pipelines import load_pipeline

    pipe = load_pipeline(folder, device="cpu")
    before = sum(value.numel() for value in pipe.unet.parameters())
    smaller, lineage = rig.bake(found, hosts.of(pipe.unet))
    pipe.unet = smaller
    with new_folder(out) as part:
        pipe.save_pretrained(part, safe_serialization=True)
    after = sum(value.numel() for value in smaller.parameters())
    typer.echo(f"{count(before)}parameters became {count(after)}; {len(lineage.renamed)} tensors have new names")
    typer.echo(f"wrote {out}")
