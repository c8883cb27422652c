"""`intarsia export`: a plan's rows as static graphs, for runtimes without PyTorch."""

from pathlib import Path

import typer


def export(
    plan: str = typer.Argument(..., help="A plan file or a short name."),
    to: str = typer.Option("onnx", help="onnx or openvino."),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write; must not exist."),
    batch: int = typer.Option(2, min=1, help="Samples in one call; guidance makes two of each picture."),
    height: int | None = typer.Option(None, min=1, help="Of the latents; what the model was made for, if not given."),
    width: int | None = typer.Option(None, min=1, help="Of the latents; as the height, if not given."),
) -> None:
    """Write one graph for each kind of row, inherited features as inputs and outputs, and a list of the rows.

    A plan that reuses in some rows and not in others has two kinds. rows.json says for each row which graph
    answers, what each told value is summed from, and what to remember.
    """
    from ..plan import load_plan
    from ..saving import refuse_existing
    from ..shipped import model_folder, plan_file

    refuse_existing(out)
    found, folder = load_plan(plan_file(plan)), model_folder(model)

    from .. import hosts
    from ..graphs import write_graphs
    from ..hosts.pipelines import load_pipeline

    pipe = load_pipeline(folder, device="cpu")
    sizes = {"batch": batch, "tokens": pipe.tokenizer.model_max_length, "height": height, "width": width}
    given = {name: size for name, size in sizes.items() if size is not None}
    written = write_graphs(found, hosts.of(pipe.unet), to, out, say=lambda text: typer.echo(text, err=True), **given)
    for path in [*written, out / "rows.json"]:
        typer.echo(f"wrote {path}")
