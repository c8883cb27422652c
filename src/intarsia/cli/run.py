"""`intarsia run`: pictures from words, by the whole model and under faster plans, side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..shipped import GUIDANCE

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import nn

    from ..lighten.speed import Pace
    from ..plan import Plan
    from ..rig import Host
    from .senses import Senses


def run(
    prompts: list[str] = typer.Argument(..., help="What to draw, one picture each: 'a fox in noto style'."),
    plan: list[str] = typer.Option(
        [], "--plan", "-p", help="A plan file or short name; say it again to draw with several, side by side."
    ),
    style: Path | None = typer.Option(None, help="A picture whose style to draw in; of the emoji model."),
    silhouette: Path | None = typer.Option(None, help="A picture whose outline to draw along; likewise."),
    palette: Path | None = typer.Option(None, help="A picture whose colours to use; likewise."),
    reference: list[str] = typer.Option([], help="A picture for any module, as NAME=PICTURE."),
    weight: list[str] = typer.Option(
        [],
        "--weight",
        "-w",
        help="What a module counts for, as NAME=0.8; else 1. NAME=0.8@0:5 in the first five calls.",
    ),
    module: list[Path] = typer.Option(
        [], help="A module of your own, from 'intarsia train-module'; its picture is given as --reference NAME=PICTURE."
    ),
    encoder: list[str] = typer.Option([], help="The vision model that a module looks through, as NAME=FOLDER."),
    other: list[str] = typer.Option([], help="A model that plans may use for some calls, as NAME=MODEL."),
    beside: str | None = typer.Option(
        None,
        help="Another model whose whole run all is compared with, such as a small one's teacher.",
    ),
    speed: str | None = typer.Option(None, help="How much faster, as '2x', in seconds measured on this machine."),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline."),
    out: Path = typer.Option(Path("out/run"), "--out", "-o", help="The folder to write; must not exist."),
    steps: int | None = typer.Option(
        None, min=1, help="Sampler steps; what the plan was made for, or 20, if not given."
    ),
    guidance: float = typer.Option(GUIDANCE, help="How strongly words lead; Stable Diffusion mostly has 7.5."),
    seed: int = typer.Option(0, help="Same seed, same pictures."),
    rounds: int = typer.Option(
        3, min=1, help="How often all is drawn once more to be timed; the median ratio is told."
    ),
    backend: str | None = typer.Option(
        None, help="Run as static graphs: onnx or openvino, converted once and kept, or compile, made anew each time."
    ),
    device: str | None = typer.Option(None, help="cpu or cuda; cuda where there is one, if not given."),
) -> None:
    """Draw pictures; with plans or references also a contact sheet.

    With plans there is a report too: MACs, seconds, and how far pictures are from the whole model's.
    """
    from ..errors import PlanError
    from ..plan import Plan, load_plan
    from ..saving import new_folder, refuse_existing
    from ..shipped import model_folder, plan_file
    from .reading import read_sources
    from .senses import TEXT_ONLY, WITH_REFERENCES, read_senses

    refuse_existing(out)
    folder = model_folder(model)
    own = [] if beside is None else [folder.name]  # a column of its own, whole
    names = ["whole", *own, *(Path(name).stem for name in plan), *([] if speed is None else [speed])]
    if len(set(names)) < len(names):
        raise PlanError(f"columns are named after their plans: {', '.join(names)} are not all different. Rename one.")
    plans = {Path(name).stem: load_plan(plan_file(name)) for name in plan}
    sources = read_sources(other)
    senses = read_senses(
        {"style": style, "silhouette": silhouette, "palette": palette}, reference, weight, module, encoder
    )
    factor = None if speed is None else read_factor(speed)
    if factor is not None and backend is not None:
        raise PlanError("--speed is measured in PyTorch. Choose a plan first, then run it with --plan and --backend.")
    if factor is not None and beside is not None:
        raise PlanError("--speed is of the model itself, so nothing goes beside it. Run what it chose with --plan.")

    from .. import heap, hosts
    from ..eval.side_by_side import WHOLE, compare, steps_for
    from ..hosts.pipelines import lent_unet, load_pipeline
    from .contact import contact_sheet
    from .report import write_report

    def say(text: str) -> None:
        typer.echo(text, err=True)

    pipe = load_pipeline(folder, device=device)
    if steps is None:
        steps = steps_for(pipe.scheduler, next(iter(plans.values())).rows) if plans else 20
    others = {name: lent_unet(path, pipe, device=device) for name, path in sources.items()}
    teacher = None if beside is None else lent_unet(model_folder(beside), pipe, device=device)
    plans = {name: Plan(hosts.rows(pipe.scheduler, steps)) for name in own} | plans
    drawing = functools.partial(
        compare, pipe, prompts, steps=steps, guidance=guidance, seed=seed, beside=teacher, say=say
    )
    with heap.kept(), looking(pipe, senses, steps, [] if teacher is None else [teacher]):
        if factor is not None:
            plans[speed or ""] = plan_asked_for(pipe, prompts, factor, steps, guidance, say)
        result = drawing(plans, rounds=rounds if plans or backend else 1, backend=backend, others=others)
    if senses is not None:
        say("once more without references")
        whole, *planned = result.pictures.items()
        columns = {TEXT_ONLY: drawing({}, rounds=1).pictures[WHOLE], WITH_REFERENCES: whole[1], **dict(planned)}
        result = replace(result, pictures=columns)
    with new_folder(out) as part:
        for name, pictures in result.pictures.items():
            for number, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
                picture.save(part / f"{number:02d}-{slug(prompt)[:40]}-{slug(name)}.png")
        if len(result.pictures) > 1:
            contact_sheet(prompts, result).save(part / "contact-sheet.png")
        if plans or backend:
            (part / "plans.txt").write_text(
                "\n\n".join(f"{name}\n{text}" for name, text in result.drawings.items()) + "\n"
            )
            write_report(part / "report.md", prompts, result)
    if factor is not None:
        measured = result.seconds.speedup(speed or "")
        say(f"asked for {factor:g}x, measured {measured:.2f}x ({measured / factor - 1:+.0%})")
    for path in sorted(out.iterdir(), key=lambda path: (path.suffix == ".png", path.name)):
        typer.echo(f"wrote {path}")


def slug(text: str) -> str:
    """A text as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_.+" else "-" for letter in text)


def looking(
    pipe: DiffusionPipeline, senses: Senses | None, steps: int, also: Sequence[nn.Module]
) -> AbstractContextManager[object]:
    """The pipeline sees the references of a run, if there are any, and so do these UNets."""
    if senses is None:
        return nullcontext()
    from ..connect import shown

    weights = senses.weights_of(pipe.scheduler, steps)
    return shown(pipe, senses.references, files=senses.files, weights=weights, encoders=senses.encoders, also=also)


def read_factor(text: str) -> float:
    """'2x' or '2' as a number above 1.

    Raises:
        PlanError: it is neither.
    """
    from ..errors import PlanError

    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not factor > 1:
        raise PlanError(f"--speed {text!r}: write how many times faster, such as '2x' or '1.5x'.")
    return factor


def plan_asked_for(
    pipe: DiffusionPipeline, prompts: list[str], factor: float, steps: int, guidance: float, say: Callable[[str], None]
) -> Plan:
    """The plan that makes this pipeline so much faster here, from a measurement that is kept."""
    from .. import hosts
    from ..lighten import speed as pacing

    batch = len(prompts) * (2 if guidance > 1 else 1)
    host = hosts.of(pipe.unet, batch=batch, tokens=pipe.tokenizer.model_max_length)
    rows = hosts.rows(pipe.scheduler, steps)

    def whole() -> object:
        return pipe(prompts, num_inference_steps=steps, guidance_scale=guidance)

    def timed(plan: Plan) -> float:
        from .. import rig

        def planned() -> object:
            with rig.applied(plan, host):
                return whole()

        return rig.measure_seconds({"whole": whole, "planned": planned}, rounds=3).speedup("planned")

    pace = pace_of(pipe, host, prompts, steps, guidance, say)
    plan, measured = pacing.plan_at_speed(host.outline, rows, pace, factor, timed, say=say)
    say(f"chose a plan that computes {plan.made_by['computed']} of {rows} calls whole: {measured:.2f}x measured")
    return plan


def pace_of(
    pipe: DiffusionPipeline, host: Host, prompts: list[str], steps: int, guidance: float, say: Callable[[str], None]
) -> Pace:
    """How seconds follow MACs for this pipeline here, measured once and remembered."""
    from .. import hosts
    from ..lighten import speed as pacing

    rows = hosts.rows(pipe.scheduler, steps)

    def measure() -> Pace:
        say("measuring this machine's pace, once for this model, size and number of steps")
        return pacing.measure_pace(
            host, rows, lambda: pipe(prompts, num_inference_steps=steps, guidance_scale=guidance)
        )

    about = f"{pipe.unet.dtype} {type(pipe.scheduler).__name__} {len(prompts)} pictures"
    return pacing.remembered_pace(host.outline, rows, str(pipe.device), about, measure)
