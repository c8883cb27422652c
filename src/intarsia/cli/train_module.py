"""`intarsia train-module`: a sense of one's own, from pictures, references and captions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from ..connect.encoders import Encoder
    from ..connect.examples import Examples


def train_module(
    name: str = typer.Argument(..., help="What the new sense is called: letters, digits and underscores."),
    rows: Path = typer.Option(
        ..., help="A folder of pictures with a metadata.jsonl of 'file_name', 'reference' and 'text'."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The module's file. Training is kept beside it."),
    model: str = typer.Option("emoji", help="A short name, or the folder of a diffusers pipeline. It is not changed."),
    encoder: str = typer.Option(
        "efficientnet",
        help="What sees references: palette, silhouette; efficientnet, texture (pip install 'intarsia[eval]'); or the "
        "folder of a CLIP or DINO.",
    ),
    steps: int = typer.Option(1000, min=1, help="Training steps."),
    batch: int = typer.Option(16, min=2, help="Rows a step and process."),
    rate: float = typer.Option(
        2e-3, min=0, help="Peak learning rate of its matrices, by the optimiser Muon; all else learns at a part of it."
    ),
    wordless: float = typer.Option(
        0.1, min=0, max=1, help="Share of captions left out, so that references have more to say."
    ),
    loudness_cost: float = typer.Option(
        0.01, min=0, help="What it pays for how far it moves words: more makes room for other senses, 0 for none."
    ),
    disturbance: float = typer.Option(
        0.0,
        min=0,
        help="The most noise in the words that it learns among: some senses are then disturbed less by others.",
    ),
    inner: int | None = typer.Option(
        None, min=1, help="The width that the module works in; less makes a smaller file."
    ),
    seed: int = typer.Option(0, help="Same seed, same module."),
    save_every: int = typer.Option(100, min=1, help="Steps between checkpoints, from which a killed run goes on."),
) -> None:
    """Train a module on a frozen model. A killed run goes on where it stood: repeat the command.

    A reference should not be the picture of its own row, or the module learns to copy; and captions should leave out
    what references are to say.

    On CUDA where there is one. In several processes: torchrun --nproc-per-node 2 -m intarsia train-module ...
    """
    from ..saving import refuse_existing
    from ..shipped import model_folder
    from ..train.rows import LISTED, PICTURES, read_rows

    refuse_existing(out)
    folder = model_folder(model)
    listed = read_rows(rows, "file_name", "reference", "text")
    files = [rows / LISTED, *sorted({Path(row[column]) for row in listed for column in PICTURES})]
    read = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:12]

    import torch
    from diffusers import DDIMScheduler

    from .. import hosts
    from ..connect import Learning, Modality, Stack, TextCarrier, measure_gap
    from ..connect.naming import encoder_named
    from ..hosts.pipelines import load_pipeline
    from ..keeping import keep_settings
    from ..train import Schedule, fit, processes, wear_average

    sight = encoder_named(encoder)
    # One process encodes the rows while the others wait.
    state = processes()
    pipe = load_pipeline(folder, device=str(state.device))
    torch.manual_seed(seed)
    carrier = TextCarrier.of(pipe)
    module = Modality(name, carrier, sight.features, inner=inner)
    run = out.with_name(f"{out.stem}.training")
    settings = {
        "name": name, "rows": str(rows), "metadata": read, "model": str(folder), "encoder": sight.features.encoder,
        "steps": steps, "batch": batch, "rate": rate, "optimizer": "muon", "wordless": wordless,
        "loudness_cost": loudness_cost, "disturbance": disturbance, "inner": inner, "seed": seed,
    }  # fmt: skip
    with state.main_process_first():
        keep_settings(run, settings)
        examples = examples_for(pipe, run, listed, sight)
    pipe.unet.eval().requires_grad_(False)
    noise = DDIMScheduler.from_config(pipe.scheduler.config)
    learning = Learning(
        Stack(carrier, [module]), hosts.of(pipe.unet), noise, loudness_cost=loudness_cost, disturbance=disturbance
    )
    size = min(batch, len(examples))
    schedule = Schedule(steps, rate, warmup=min(100, steps // 10), cooldown=steps // 2, optimizer="muon")
    done = fit(learning, lambda _draw: examples.batch(size, name, wordless), schedule, run, seed=seed,
               save_every=save_every)  # fmt: skip
    if not state.is_main_process:
        return
    wear_average(learning, run)
    ended = measure_gap(learning, lambda _draw: examples.batch(size, name, wordless))
    summary = {**settings, **ended, "examples": len(examples), "seconds": round(done["seconds"])}
    module.save(out, summary, half=True)
    loss, gap = ended["loss"], ended[f"gap_{name}"]
    several = len(examples.features) > 1
    nothing = "so the module says nothing of use yet" if several else "for there is only one reference"
    typer.echo(f"{len(examples)} rows, {len(examples.features)} references, {done['seconds']:.0f} s of training")
    typer.echo(
        f"loss with the right references {loss:.4f}, with shuffled ones {loss + gap:.4f}: "
        + (f"{gap / loss:.1%} worse" if gap > 0.001 * loss else f"no worse, {nothing}")
    )
    typer.echo(f"wrote {out}; {run} holds the training and can be removed")


def examples_for(pipe: DiffusionPipeline, run: Path, rows: Sequence[Mapping[str, str]], encoder: Encoder) -> Examples:
    """Latents, words and references, encoded once and kept in the run's folder."""
    from rich.progress import Progress

    from ..connect.examples import Examples, examples_of

    kept = Examples.load(run)
    if kept is not None:
        return kept
    with Progress(transient=True) as progress:
        task = progress.add_task("encoding", total=len(rows) + len({row["reference"] for row in rows}))
        made = examples_of(pipe, rows, encoder, tell=lambda count: progress.advance(task, count))
    made.save(run)
    return Examples.load(run) or made
