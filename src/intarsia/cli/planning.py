"""`intarsia plan`: run a planner and write a plan."""

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="Run a planner and write a plan file that a person can read.")


@app.command()
def inherit(
    every: int = typer.Option(..., help="Compute on every n-th call, reuse in between."),
    sites: str | None = typer.Option(
        None, help="Sites to reuse, such as 'mid_block | up_blocks.[01]'. See 'intarsia outline'."
    ),
    branch: int | None = typer.Option(None, help="DeepCache's branch number instead of sites: 0 computes the least."),
    rows: int | None = typer.Option(None, help="Calls of the model in one run."),
    steps: int | None = typer.Option(
        None, help="Sampler steps instead of rows: the model's scheduler is asked how many calls they are."
    ),
    model: str = typer.Option("emoji", help="The model whose scheduler and outline are meant."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Where to write the plan; drawn on the screen in any case."
    ),
) -> None:
    """Feature inheritance: compute some sites now and then, reuse their features in between."""
    from ..errors import PlanError
    from ..lighten import branch_site
    from ..lighten import inherit as make
    from ..plan import draw, resolve, save_plan
    from .reading import read_outline

    if (rows is None) == (steps is None):
        raise PlanError("say either --rows, the calls of the model, or --steps of its sampler.")
    if (sites is None) == (branch is None):
        raise PlanError("say either --sites or --branch.")
    outline = read_outline(model)
    if rows is None:
        from diffusers import DiffusionPipeline

        from ..hosts.pipelines import load_pipeline
        from ..hosts.sampling import rows as rows_of
        from ..shipped import model_folder

        pipe: DiffusionPipeline = load_pipeline(model_folder(model), device="cpu")
        rows = rows_of(pipe.scheduler, steps or 0)
    plan = make(rows, every=every, sites=sites if sites is not None else branch_site(outline, branch or 0))
    typer.echo(draw(resolve(plan, outline)))
    if out is not None:
        save_plan(plan, out)
        typer.echo(f"wrote {out}")
