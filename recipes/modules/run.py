"""The senses of the emoji model, trained apart on the frozen model that ships; and what they are compared with.

    python -m recipes.modules.run style --steps 4000       trains one and writes it into the model's folder; resumes
    torchrun --nproc-per-node 2 -m recipes.modules.run silhouette
    python -m recipes.modules.run style silhouette         both jointly: the upper bound of two that were trained apart
    python -m recipes.modules.run style --way decoupled    a rival; for benchmarks, so it is not shipped

The learning rate is sought before each, in the same way for all. Needs what `recipes.base.run` keeps in `runs/base`,
and `pip install -e '.[recipes,eval]'`. Modules know the words, not the UNet: those that are there stay when the base
model is written anew, and should be trained anew then.
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import torch
import typer
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor

from intarsia.connect import Learning, Modality, TextCarrier, measure_gap
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder
from intarsia.train import fit, processes, wear_average
from recipes.base.denoiser import NOISE

from .cells import Cells
from .folder import write_module
from .rates import STEPS, chosen_rate, schedule_of
from .senses import ENCODERS, Batch, batches
from .ways import Ground, Way, born, objective_of, run_name

INNER = 160  # the width that parts work in: 3 MB a module


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
    out: Path = typer.Option(model_folder("emoji") / "modules", help="Where a finished module goes."),
    hours: float | None = typer.Option(None, help="Stop after so long; it resumes next time."),
    save_every: int = typer.Option(500, help="Steps between checkpoints."),
    every: int = typer.Option(1, help="Learn from every so many cells only: for rehearsals."),
) -> None:
    """Train; when all steps of a module are done, write its file."""
    torch.set_num_threads(1)
    names = sorted(map(str, senses))
    state = processes()
    with state.main_process_first():
        batch_at = batches(names, Cells.read(base, every), base, runs, batch)
    ground = ground_of(load_pipeline(model_folder("emoji"), device="cpu"))
    ground.unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel
    called = run_name(way, names)
    if rate is None:
        rate = chosen_rate(
            lambda: objective_of(ground, born(ground, way, names)), batch_at, runs / "rates" / called,
            steps=search_steps,
        )  # fmt: skip
    parts = born(ground, way, names)
    learning = objective_of(ground, parts)
    stop_after = None if hours is None else hours * 3600
    done = fit(
        learning, batch_at, schedule_of(steps, rate), runs / called, save_every=save_every, stop_after=stop_after
    )
    (module, *others) = parts.values()
    ships = way == Way.modules and not others and state.is_main_process and done["step"] == steps
    if not (ships and isinstance(module, Modality) and isinstance(learning, Learning)):
        return
    wear_average(learning, runs / called)
    write_module(module, out, {
        **found_of(learning, batch_at, module.name), "steps": steps, "batch": batch * state.num_processes,
        "rate": rate, "hours": round(done["seconds"] / 3600, 2),
    })  # fmt: skip


def ground_of(pipe: StableDiffusionPipeline) -> Ground:
    """The emoji model, frozen, and what its senses look at."""
    pipe.unet.eval().requires_grad_(False)
    features = {name: encoder().features for name, encoder in ENCODERS.items()}
    return Ground(pipe.unet, TextCarrier.of(pipe), DDIMScheduler(**NOISE), features, INNER)


def found_of(learning: Learning, batch_at: Callable[[int], Batch], name: str) -> dict[str, float]:
    """Loss and gap at the end, over whole batches."""
    ended = measure_gap(learning, batch_at)
    return {"loss": round(ended["loss"], 4), "gap": round(ended[f"gap_{name}"], 4)}


if __name__ == "__main__":
    typer.run(main)
