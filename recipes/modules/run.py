"""The senses of the emoji model, trained apart on the frozen model that ships; and what they are compared with.

    python -m recipes.modules.run style --steps 4000       trains one and writes it into the model's folder; resumes
    python -m recipes.modules.run style silhouette --runs runs/alike    both jointly: the bound of two trained apart
    python -m recipes.modules.run style --way decoupled --runs runs/alike    a rival; for benchmarks, it does not ship
    python -m recipes.modules.run style --start style.safetensors --runs runs/more    trains a finished one on
    python -m recipes.modules.run silhouette --blocks 4 --runs runs/modules-4 --out runs/modules-4/modules    a pilot

On two cores, a process on each, and with bfloat16 products:

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE ACCELERATE_USE_CPU=true ACCELERATE_MIXED_PRECISION=bf16
    torchrun --nproc-per-node 2 -m recipes.modules.run silhouette

What is to be compared has to be trained alike, by as many processes. The learning rate of a way is sought before its
first training, on one sense. Needs what `recipes.base.run` keeps in `runs/base`, and
`pip install -e '.[recipes,eval]'`. Modules know the words, not the UNet: those that are there stay when the base model
is written anew, and should be trained anew then.
"""

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from intarsia.connect import Connector, Learning, Modality, TextCarrier, measure_gap
from intarsia.connect.files import read
from intarsia.connect.modality import DOCUMENT
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder
from intarsia.tensors import fill
from intarsia.train import fit, processes, wear_average
from recipes.base.denoiser import NOISE, channel_weights

from .cells import Cells
from .folder import limited, write_module
from .rates import OPTIMIZER, STEPS, chosen_rate, schedule_of
from .senses import ENCODERS, Batch, batches
from .training import begin, ended, told_by
from .ways import Ground, Parts, Way, born, manners_of, objective_of, run_name

BLOCKS = 2  # what `connect.TextCarrier` has if it is not told otherwise, as whoever loads what ships does
INNER = {2: 160, 4: 104}  # by blocks, the width that parts work in: 3 MB a module
LOUDNESS_COST = {"palette": 0.05, "silhouette": 0.03, "style": 0.02}  # see `connect.Learning`
DISTURBANCE = {"palette": 0.0, "silhouette": 0.3, "style": 0.0}  # other modules are about as loud
LATE = 0.4  # what a reference says is settled where noise is high
FOLDER = model_folder("emoji") / "modules"
SOUGHT_ON = ["silhouette"]  # where a way's learning rate is sought: the sense that the most of a picture hangs on


class Sense(StrEnum):
    style = "style"
    silhouette = "silhouette"
    palette = "palette"


def main(
    senses: list[Sense] = typer.Argument(..., help="Which; several are trained jointly."),
    way: Way = typer.Option(Way.modules, help="Modules, or what they are compared with."),
    steps: int = typer.Option(4000, help="Training steps in all."),
    batch: int = typer.Option(32, help="Pictures a step and process."),
    rate: float | None = typer.Option(None, help="Learning rate; sought if not given."),
    search_steps: int = typer.Option(STEPS, help="Training steps of each learning rate in that search."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps what it made."),
    runs: Path = typer.Option(Path("runs/modules"), help="Where training is kept."),
    out: Path = typer.Option(FOLDER, help="Where a finished module goes."),
    hours: float | None = typer.Option(None, help="Stop after so long; it resumes next time."),
    save_every: int = typer.Option(500, help="Steps between checkpoints."),
    scale: float = typer.Option(1.0, help="Of the gates in the written file; see benchmarks.connect.loudness."),
    lowest: float = typer.Option(0.0, help="Time step below which the written module is silent."),
    start: Path | None = typer.Option(None, help="A module's file to begin with, and to train on."),
    blocks: int = typer.Option(BLOCKS, help="After which modules speak: 2, or 4 for pilots, narrower ones."),
    loudness_cost: float | None = typer.Option(
        None, help="What a module pays for how far it moves the tokens; its own, or the least of several, if not given."
    ),
    disturbance: float | None = typer.Option(
        None, help="The most noise that a module learns among, as loudness; its own, or the most of several."
    ),
    every: int = typer.Option(1, help="Learn from every so many cells only: for rehearsals."),
) -> None:
    """Train; when all steps of a module are done, write its file."""
    torch.set_num_threads(1)
    if blocks != BLOCKS and out == FOLDER:
        raise SystemExit(f"modules of {blocks} blocks do not go with the {BLOCKS} of those that ship; name an --out.")
    names = sorted(map(str, senses))
    cost = min(LOUDNESS_COST[name] for name in names) if loudness_cost is None else loudness_cost
    stray = max(DISTURBANCE[name] for name in names) if disturbance is None else disturbance
    state = processes()
    with state.main_process_first():
        cells = Cells.read(base, every)
        batch_at = batches(names, cells, base, runs, batch)
    pipe = load_pipeline(model_folder("emoji"), device="cpu")
    ground = ground_of(pipe, base, channel_weights(base / "latents"), blocks, cost, stray)
    ground.unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel
    called = run_name(way, names)
    if rate is None:
        with state.main_process_first():
            seeking = batches(SOUGHT_ON, cells, base, runs, batch)
        rate = chosen_rate(
            lambda: objective_of(ground, way, born(ground, way, SOUGHT_ON)), seeking, runs / "rates" / way,
            steps=search_steps, batch=batch,
        )  # fmt: skip
    parts = born(ground, way, names)
    before, spent = (0, 0.0) if start is None else begun_with(start, parts, ground.connector)
    begin(
        runs / called, way=str(way), steps=steps, batch=batch, rate=rate, optimizer=OPTIMIZER, blocks=blocks,
        before=before, **manners_of(way, ground),
    )  # fmt: skip
    learning = objective_of(ground, way, parts)
    stop_after = None if hours is None else hours * 3600
    done = fit(
        learning, batch_at, schedule_of(steps, rate), runs / called, save_every=save_every, stop_after=stop_after
    )
    (module, *others) = parts.values()
    ships = way == Way.modules and not others and state.is_main_process and done["step"] == steps
    if not (ships and isinstance(module, Modality) and isinstance(learning, Learning)):
        return
    wear_average(learning, runs / called)
    trained = asdict(ended(runs / called))
    write_module(limited(module, scale, lowest), out, {
        **found_of(learning, batch_at, module.name), **trained, "seconds": trained["seconds"] + spent,
    })  # fmt: skip


def begun_with(start: Path, parts: Parts, connector: Connector) -> tuple[int, float]:
    """Give the one part that will be trained the weights of a module's file; how long that was trained.

    Raises:
        SystemExit: there are several parts, or it is no module.
        CardError: the file is of another module.
    """
    (part, *others) = parts.values()
    if others or not isinstance(part, Modality):
        raise SystemExit("--start goes with a module of its own; train a rival, or several jointly, from nothing.")
    fill(part, Modality.load(start, connector).state_dict(), start)
    told = told_by(read(start, DOCUMENT)[1])
    return told.before + told.steps, told.seconds


def ground_of(
    pipe: StableDiffusionPipeline,
    base: Path,
    channels: Tensor | None = None,
    blocks: int = BLOCKS,
    loudness_cost: float = 0.0,
    disturbance: float = 0.0,
) -> Ground:
    """The emoji model, frozen, and what its senses look at.

    Args:
        channels: What each latent channel counts in training, as it did when the model itself was trained.
        blocks: After which modules speak.
        loudness_cost, disturbance: As `connect.Learning` has them.

    Raises:
        SystemExit: nobody chose a width for so many blocks.
    """
    if blocks not in INNER:
        raise SystemExit(f"--blocks {blocks}: name one of {', '.join(map(str, INNER))}.")
    pipe.unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    features = {name: encoder().features for name, encoder in ENCODERS.items()}
    blank = torch.from_numpy(np.load(base / "words/blank.npy").astype(np.float32))
    return Ground(
        pipe.unet, TextCarrier.of(pipe, blocks=blocks), DDIMScheduler(**NOISE), features, INNER[blocks], blank, LATE,
        channels, loudness_cost, disturbance,
    )  # fmt: skip


def found_of(learning: Learning, batch_at: Callable[[int], Batch], name: str) -> dict[str, float]:
    """Loss and gap at the end, over whole batches."""
    ended = measure_gap(learning, batch_at)
    return {"loss": round(ended["loss"], 4), "gap": round(ended[f"gap_{name}"], 4)}


if __name__ == "__main__":
    typer.run(main)
