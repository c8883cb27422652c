"""`intarsia plan assemble` and `intarsia plan switch`: plans for smaller models and for several models at once."""

from enum import StrEnum
from pathlib import Path

import typer

from ..shipped import GUIDANCE
from .planning import WATCHED


class Order(StrEnum):
    first = "first"
    last = "last"
    spread = "spread"
    searched = "searched"


def add_to(app: typer.Typer) -> None:
    """List the commands of this file under a group."""
    app.command("assemble")(assemble)
    app.command("switch")(switch)
    app.command("join")(join)


def assemble(
    macs: float | None = typer.Option(
        None, min=0.0, max=1.0, help="The budget: a share of the MACs in the model's units, such as 0.7."
    ),
    seconds: float | None = typer.Option(None, min=0.0, max=1.0, help="The budget as a share of seconds instead."),
    height: int | None = typer.Option(
        None, min=1, help="Of the latents that MACs are counted at; the model's own size if not given."
    ),
    width: int | None = typer.Option(None, min=1, help="The same; as --height where that alone is given."),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline."),
    prompt: list[str] = typer.Option(list(WATCHED), help="What to draw while watching; say it again for more."),
    steps: int = typer.Option(10, min=1, help="Sampler steps of the runs whose calls are watched."),
    guidance: float = typer.Option(GUIDANCE, help="How strongly words lead."),
    seed: int = typer.Option(0, help="Of the pictures watched."),
    out: Path = typer.Option(..., "--out", "-o", help="Where to write the plan."),
) -> None:
    """Choose what to leave out of a model for good: what matters least for what it costs, measured site by site."""
    from ..errors import PlanError
    from ..saving import refuse_existing
    from ..shipped import model_folder

    if (macs is None) == (seconds is None):
        raise PlanError("say either --macs or --seconds, the share that may be left.")
    if seconds is not None and (height or width):
        raise PlanError("--height and --width are for --macs: seconds are taken at the model's own size.")
    refuse_existing(out)
    folder = model_folder(model)

    from rich.progress import Progress

    from .. import hosts
    from ..hosts.pipelines import final_latents, load_pipeline
    from ..lighten.assemble import assemble as choose
    from ..lighten.assemble import candidates, seconds_of
    from ..plan import save_plan
    from ..rig.listening import overheard

    pipe = load_pipeline(folder)
    sizes = {name: side for name, side in (("height", height), ("width", width)) if side is not None}
    host = hosts.of(pipe.unet, tokens=pipe.tokenizer.model_max_length, **sizes)
    with overheard(pipe.unet) as calls:
        final_latents(pipe, prompt, steps=steps, guidance=guidance, seed=seed)
    own = None if seconds is None else seconds_of(host, calls)
    with Progress(transient=True) as progress:
        task = progress.add_task("leave out", total=len(candidates(host.outline)))

        def tell(path: str) -> None:
            progress.update(task, advance=1, description=path)

        found = choose(host, calls, macs if macs is not None else seconds or 0.0, seconds=own, tell=tell)
    for path, harm in sorted(found.alone.items(), key=lambda item: item[1])[:10]:
        typer.echo(f"without {path} alone: {harm:.2%} off")
    typer.echo(str(found.plan))
    kind = "MACs" if own is None else "seconds"
    typer.echo(f"{found.share:.1%} of the {kind} left; its answers are {found.harm:.2%} off before any training")
    save_plan(found.plan, out)
    typer.echo(f"wrote {out}")


def switch(
    other: list[str] = typer.Option(..., help="A model that may answer, as NAME=MODEL; say it again for more."),
    order: Order = typer.Option(Order.searched, help="Which calls the others answer; searched tries all."),
    calls: int | None = typer.Option(None, min=0, help="How many calls the other answers, if not searched."),
    below: float | None = typer.Option(None, help="Instead of calls: the other answers until the time step is here."),
    snr: float | None = typer.Option(None, help="Instead of calls: until the signal-to-noise ratio is here."),
    macs: float | None = typer.Option(None, min=0.0, help="The budget of a search: a share of the model's MACs."),
    model: str = typer.Option("emoji", help="The model that answers the other calls."),
    prompt: list[str] = typer.Option(list(WATCHED), help="What to draw while searching; say it again for more."),
    steps: int = typer.Option(20, min=1, help="Sampler steps."),
    guidance: float = typer.Option(GUIDANCE, help="How strongly words lead."),
    seed: int = typer.Option(0, help="Of the pictures searched with."),
    out: Path = typer.Option(..., "--out", "-o", help="Where to write the plan."),
) -> None:
    """Let another UNet answer some calls: the first, the last, every so many, or those where it harms least."""
    from ..errors import PlanError
    from ..saving import refuse_existing
    from ..shipped import model_folder
    from .reading import read_sources

    boundaries = [calls, below, snr]
    if order is Order.searched and (macs is None or boundaries != [None] * 3):
        raise PlanError("a search needs --macs, the share that may be left, and finds the calls itself.")
    if order is not Order.searched and boundaries.count(None) != 2:
        raise PlanError(f"--order {order} needs one of --calls, --below and --snr.")
    if (below is not None or snr is not None) and order is not Order.first:
        raise PlanError("--below and --snr say until when the other answers: they go with --order first.")
    refuse_existing(out)
    folder, sources = model_folder(model), read_sources(other)
    if order is not Order.searched and len(sources) > 1:
        raise PlanError("one --other only, unless the order is searched.")

    from rich.progress import Progress
    from torch import Tensor

    from .. import hosts
    from ..hosts.pipelines import final_latents, lent_unet, load_pipeline
    from ..lighten import switch as switching
    from ..plan import draw, resolve, save_plan

    pipe = load_pipeline(folder)
    words, batch = {"tokens": pipe.tokenizer.model_max_length}, 2 if guidance > 1 else 1
    others = {name: hosts.of(lent_unet(path, pipe), batch=batch, **words) for name, path in sources.items()}
    host = hosts.of(pipe.unet, batch=batch, **words)
    rows, each = hosts.rows(pipe.scheduler, steps), pipe.scheduler.order
    if order is Order.searched:
        with Progress(transient=True) as progress:
            task = progress.add_task("draw", total=None)

            def run() -> Tensor:
                progress.advance(task)
                return final_latents(pipe, prompt, steps=steps, guidance=guidance, seed=seed)

            found = switching.search_switch(host, others, run, rows, macs or 0.0, order=each)
        for name, distance in sorted(found.tried.items(), key=lambda item: item[1]):
            typer.echo(f"{name}: mean squared distance of the latents {distance:.3g}")
        plan = found.plan
    else:
        if calls is None:
            calls = hosts.first_row_below(pipe.scheduler, steps, time=below, snr=snr)
        plan = switching.switch(rows, {name: switching.ORDERS[order.value](rows, calls or 0, each) for name in others})
    lent = {name: hosts.of(other.module, **words) for name, other in others.items()}
    typer.echo(draw(resolve(plan, hosts.of(pipe.unet, **words).outline, lent)))  # of one sample, as prices are
    save_plan(plan, out)
    typer.echo(f"wrote {out}")


def join(
    plans: list[str] = typer.Argument(..., help="Plan files or short names, for the same number of calls."),
    out: Path = typer.Option(..., "--out", "-o", help="Where to write the plan."),
) -> None:
    """Make one plan of several: where two speak of a cell, the later one wins."""
    from ..plan import save_plan
    from ..saving import refuse_existing
    from .reading import read_plans

    refuse_existing(out)
    joined = read_plans(plans)
    typer.echo(str(joined))
    save_plan(joined, out)
    typer.echo(f"wrote {out}")
