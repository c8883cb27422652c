"""`intarsia plan`: run a planner and write a plan."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import typer

from ..shipped import GUIDANCE

WATCHED = (
    "a fox in noto style",
    "a red apple in 3d style",
    "a guitar in high contrast style",
    "a sad face in flat style",
)

app = typer.Typer(no_args_is_help=True, help="Run a planner and write a plan file that a person can read.")


class Carry(StrEnum):
    output = "output"
    residual = "residual"


@app.command()
def inherit(
    sites: str | None = typer.Option(
        None, help="Sites to reuse, such as 'mid_block | up_blocks.[01]'. See 'intarsia outline'."
    ),
    branch: int | None = typer.Option(
        None,
        help="Instead of sites: compute the last N + 1 layers on the way up, reuse the rest: DeepCache's branch N.",
    ),
    every: int | None = typer.Option(None, help="Compute on every n-th call, reuse in between."),
    mode: str | None = typer.Option(
        None,
        help="Where the calls that compute are dense: 'front:count=8' (even, middle and back likewise), "
        "'power:count=8,centre=4', 'uniform:every=3,offset=1', 'ends:first=3,last=2,every=4', "
        "'bins:compute=6/1,reuse=2/3' (compute 6, reuse 2, compute 1, reuse 3, compute what is left).",
    ),
    keys: str | None = typer.Option(None, help="Exactly the calls that compute: '0:4, 8, 14'."),
    carry: Carry = typer.Option(Carry.output, help="What is inherited: the output, or what was added to the input."),
    order: int = typer.Option(0, min=0, max=2, help="0 holds the last answer; 1 continues the line, 2 the parabola."),
    damping: float = typer.Option(1.0, min=0.0, max=2.0, help="How much of the forecast step is taken."),
    rows: int | None = typer.Option(None, help="Calls of the model in one run."),
    steps: int | None = typer.Option(None, help="Sampler steps instead of rows: the model's scheduler is asked."),
    model: str = typer.Option("emoji", help="The model whose scheduler and outline are meant."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Where to write the plan; it is drawn in any case."),
) -> None:
    """Feature inheritance: compute some sites now and then, answer from memory in between."""
    from ..errors import PlanError
    from ..lighten import branch_site, modes
    from ..lighten import inherit as make
    from ..plan import Extrapolate, Hold, draw, resolve, save_plan
    from ..plan.pattern import rows_of
    from .reading import read_outline

    if (rows is None) == (steps is None):
        raise PlanError("say either --rows, the calls of the model, or --steps of its sampler.")
    if (sites is None) == (branch is None):
        raise PlanError("say either --sites or --branch.")
    if [every, mode, keys].count(None) != 2:
        raise PlanError("say which calls compute: --every, --mode or --keys.")
    if damping != 1 and not order:
        raise PlanError("--damping needs --order 1 or 2: holding takes no step to damp.")
    outline = read_outline(model)
    total = rows if rows is not None else rows_of_scheduler(model, steps or 0)
    named = None
    if mode is not None:
        named = modes.read(mode, total)
    elif keys is not None:
        named = modes.explicit(total, sorted(rows_of(keys, total)))
    plan = make(
        total,
        sites=sites if sites is not None else branch_site(outline, branch or 0),
        every=every,
        keys=named,
        carry="residual" if carry is Carry.residual else "output",
        forecast=Extrapolate(order, damping) if order else Hold(),
    )
    typer.echo(draw(resolve(plan, outline)))
    if out is not None:
        save_plan(plan, out)
        typer.echo(f"wrote {out}")


@app.command()
def search(
    macs: float | None = typer.Option(
        None, min=0.0, max=1.0, help="The budget: a share of the whole model's MACs, such as 0.5."
    ),
    speed: str | None = typer.Option(None, help="The budget in seconds instead: '2x' as fast on this machine."),
    sites: list[str] = typer.Option(
        [], help="What may be inherited: 'host' for whole calls, or a site. Say it again to choose among several."
    ),
    branch: list[int] = typer.Option(
        [], help="The same by branch, as in 'plan inherit'. Without either, whole calls or branch 0."
    ),
    steps: int = typer.Option(20, min=2, help="Sampler steps."),
    guidance: float = typer.Option(GUIDANCE, help="How strongly words lead."),
    prompt: list[str] = typer.Option(list(WATCHED), help="What to draw while watching; say it again for more."),
    seed: int = typer.Option(1000, help="Same seed, same plan."),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline."),
    out: Path = typer.Option(..., "--out", "-o", help="Where to write the plan."),
) -> None:
    """Watch the model draw a few pictures, then choose when to compute and how to tell the rest, within a budget."""
    from ..errors import PlanError
    from ..saving import refuse_existing
    from ..shipped import model_folder
    from .run import pace_of, read_factor

    if (macs is None) == (speed is None):
        raise PlanError("say the budget either as --macs or as --speed.")
    factor = None if speed is None else read_factor(speed)
    refuse_existing(out)
    folder = model_folder(model)

    import torch
    from rich.progress import Progress

    from .. import hosts
    from ..hosts.pipelines import final_latents, load_pipeline
    from ..lighten import branch_site
    from ..lighten.search import RUNS, search_among
    from ..plan import draw, resolve, save_plan
    from ..plan.outline import HOST

    pipe = load_pipeline(folder)
    rows = hosts.rows(pipe.scheduler, steps)
    calls = 2 if guidance > 1 else 1
    host = hosts.of(pipe.unet, batch=calls * len(prompt), tokens=pipe.tokenizer.model_max_length)

    def say(text: str) -> None:
        typer.echo(text, err=True)

    if factor is not None:
        macs = pace_of(pipe, host, list(prompt), steps, guidance, say).macs_ratio(factor)
    with Progress(transient=True) as progress:
        asked = [*sites, *(branch_site(host.outline, one) for one in branch)]
        asked = asked or [HOST, branch_site(host.outline, 0)]
        task = progress.add_task("watch", total=len(asked) * (rows + RUNS))

        def run() -> torch.Tensor:
            drawn = final_latents(pipe, prompt, steps=steps, guidance=guidance, seed=seed)
            progress.advance(task)
            return drawn

        found = search_among(host, asked, run, rows, macs or 0.0)
    for name, distance in sorted(found.tried.items(), key=lambda item: item[1]):
        typer.echo(f"{name}: mean squared distance of the latents {distance:.3g}")
    watched: dict[str, str | int | float | bool] = {
        "model": model, "pictures": len(prompt), "guidance": guidance, "seed": seed, "macs": round(macs or 0.0, 4),
    }  # fmt: skip
    plan = replace(found.plan, made_by={**found.plan.made_by, **watched})
    alone = hosts.of(pipe.unet, tokens=pipe.tokenizer.model_max_length)  # one sample, as prices are of
    typer.echo(draw(resolve(plan, alone.outline)))
    save_plan(plan, out)
    typer.echo(f"wrote {out}")


def rows_of_scheduler(model: str, steps: int) -> int:
    """Calls that the model's own scheduler makes in so many steps."""
    from ..hosts.pipelines import load_pipeline
    from ..hosts.sampling import rows
    from ..shipped import model_folder

    return rows(load_pipeline(model_folder(model), device="cpu").scheduler, steps)
