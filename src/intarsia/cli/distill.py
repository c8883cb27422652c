"""`intarsia distill`: a small model learns from the large one that it was cut out of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..shipped import GUIDANCE

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from ..hosts.lessons import Lessons

LESSONS = "lessons.safetensors"


def distill(
    student: str = typer.Argument(..., help="The pipeline's folder that 'intarsia assemble' wrote."),
    teacher: str | None = typer.Option(None, help="The model it was cut out of; as it remembers, if not given."),
    out: Path = typer.Option(..., "--out", "-o", help="The trained pipeline's folder. Training is kept beside it."),
    pictures: Path | None = typer.Option(
        None, help="A folder of pictures with a metadata.jsonl of 'file_name' and 'text'."
    ),
    prompts: Path | None = typer.Option(
        None, help="Without pictures: a file with a prompt a line, which the teacher draws; else its own prompts.txt."
    ),
    drawings: int = typer.Option(256, min=1, help="Without pictures: how many the teacher draws."),
    guidance: float = typer.Option(
        GUIDANCE, help="How strongly words lead what the teacher draws; Stable Diffusion mostly has 7.5."
    ),
    steps: int = typer.Option(1000, min=1, help="Training steps."),
    batch: int = typer.Option(16, min=1, help="Pictures a step and process."),
    rate: float = typer.Option(3e-4, help="Learning rate."),
    task: float = typer.Option(
        1.0, min=0, help="Weight of predicting the noise that was added; 0 suits a student near its teacher."
    ),
    output: float = typer.Option(1.0, min=0, help="Weight of answering as the teacher does."),
    feature: float = typer.Option(1.0, min=0, help="Weight of having the teacher's features at the end of each block."),
    normalised: bool = typer.Option(
        True, help="Divide features by their teacher's scale, so that none drowns the rest."
    ),
    incubate: float = typer.Option(
        0.0, min=0, max=0.9, help="Share of the steps in which resolutions train one by one inside the frozen teacher."
    ),
    checkpointing: bool = typer.Option(False, help="Spare memory, at the price of time."),
    seed: int = typer.Option(0, help="Same seed, same student."),
) -> None:
    """Train a smaller model on what its teacher answers. A killed run goes on where it stood: repeat the command.

    On CUDA where there is one. In several processes: torchrun --nproc-per-node 2 -m intarsia distill ...
    """
    from ..errors import CardError
    from ..lighten.record import read_record
    from ..saving import new_folder, refuse_existing
    from ..shipped import model_folder

    refuse_existing(out)
    if pictures is not None and prompts is not None:
        raise CardError("say either --pictures or --prompts: a picture of your own has its caption with it.")
    small = model_folder(student)
    record = read_record(small)
    if teacher is None:
        if record is None:
            raise CardError(f"{small} does not remember what it was cut out of. Name the --teacher.")
        teacher = record.sources[""]
    large = model_folder(teacher)

    from diffusers import DDIMScheduler

    from ..hosts.assembled_unet import AssembledUNet
    from ..hosts.pipelines import load_pipeline, quiet
    from ..keeping import keep_settings
    from ..lighten.distill import Weights, block_pairs
    from ..lighten.incubation import levels_that_differ
    from ..lighten.teach import teach
    from ..train import Schedule, processes

    # One process draws the lessons while the others wait.
    state = processes()
    run = out.with_name(f"{out.name}.training")
    settings = {
        "student": str(small), "teacher": str(large), "pictures": str(pictures), "prompts": str(prompts),
        "drawings": drawings, "guidance": guidance, "steps": steps, "batch": batch, "rate": rate, "task": task,
        "output": output, "feature": feature, "normalised": normalised, "incubate": incubate, "seed": seed,
        "checkpointing": checkpointing, "processes": state.num_processes,
    }  # fmt: skip
    pipe, learner = (load_pipeline(folder, device=str(state.device)) for folder in (large, small))
    if incubate > 0:
        levels_that_differ(learner.unet, pipe.unet)  # refuses what cannot be incubated before anything is kept
    with state.main_process_first():
        keep_settings(run, settings)
    with state.main_process_first():
        lessons = lessons_for(pipe, large, run, pictures, prompts, drawings, guidance, seed)
    pairs = record.blocks if record is not None else block_pairs(learner.unet, pipe.unet)
    if checkpointing:
        learner.unet.enable_gradient_checkpointing()
    done = teach(
        learner.unet, pipe.unet, DDIMScheduler.from_config(pipe.scheduler.config),
        lambda _draw: lessons.batch(batch), pairs,
        Schedule(steps, rate, warmup=min(100, steps // 10), cooldown=steps // 2), run,
        weights=Weights(task, output, feature, normalised), incubate=incubate, seed=seed,
    )  # fmt: skip
    if not state.is_main_process:
        return
    if isinstance(learner.unet, AssembledUNet):
        learner.unet = learner.unet.fold()
    with new_folder(out) as part, quiet():
        learner.save_pretrained(part, safe_serialization=True)
        if record is not None:
            record.with_experts_of(learner.unet).save(part)
        ended = {**settings, **done.last, "seconds": done.seconds}
        (part / "distilled.json").write_text(json.dumps(ended, indent=2) + "\n")
    told = ", ".join(f"{name} {done.last[name]:.3g}" for name in ("task", "output", "feature") if name in done.last)
    typer.echo(f"{len(lessons)} lessons, {done.seconds:.0f} s of training; losses at the end: {told}")
    typer.echo(f"wrote {out}; {run} holds the training and can be removed")


def lessons_for(
    pipe: DiffusionPipeline,
    folder: Path,
    run: Path,
    pictures: Path | None,
    prompts: Path | None,
    drawings: int,
    guidance: float,
    seed: int,
) -> Lessons:
    """What the student is taught with, made once and kept in the run's folder.

    Raises:
        CardError: there are neither pictures nor prompts.
    """
    import numpy as np
    from rich.progress import Progress

    from ..errors import CardError
    from ..hosts import lessons as school
    from ..train.rows import read_rows

    kept = run / LESSONS
    if kept.exists():
        return school.Lessons.load(kept)
    if pictures is not None:
        rows = read_rows(pictures, "file_name", "text")
        texts = [row["text"] for row in rows]
        latents_of = school.encoded_by(pipe, [Path(row["file_name"]) for row in rows])
    else:
        listed = prompts if prompts is not None else folder / "prompts.txt"
        if not listed.is_file():
            raise CardError(f"{listed}: no such file. Name --pictures, or --prompts, a file with a prompt a line.")
        known = [line.strip() for line in listed.read_text().splitlines() if line.strip()]
        if not known:
            raise CardError(f"{listed}: no prompt in it. Write one a line.")
        order = np.random.default_rng(seed).permutation(len(known))
        texts = [known[order[number % len(known)]] for number in range(drawings)]
        latents_of = school.drawn_by(pipe, texts, guidance=guidance, seed=seed)
    with Progress(transient=True) as progress:
        task = progress.add_task("lessons", total=len(texts))
        made = school.lessons_of(pipe, texts, latents_of, tell=lambda count: progress.advance(task, count))
    made.save(kept)
    return school.Lessons.load(kept)
