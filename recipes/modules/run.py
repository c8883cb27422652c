"""The three senses of the emoji model, trained apart, on the frozen model that ships.

    python -m recipes.modules.run style --steps 4000       trains one and writes it into the model's folder; resumes
    torchrun --nproc-per-node 2 -m recipes.modules.run silhouette

Needs what `recipes.base.run` keeps in `runs/base`, and `pip install -e '.[recipes,eval]'`. Writing the base model's
folder anew removes the modules: train them afterwards.
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import torch
import typer
from accelerate import PartialState
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor

from intarsia import hosts
from intarsia.connect import Learning, Modality, Stack, TextCarrier, measure_gap
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder
from intarsia.train import Schedule, fit, wear_average
from recipes.base.denoiser import NOISE

from .cells import Cells
from .folder import write_module
from .senses import ENCODERS, Batch, batches

INNER = 160  # the width that blocks work in: 3 MB a module


class Sense(StrEnum):
    style = "style"
    silhouette = "silhouette"
    palette = "palette"


def main(
    sense: Sense = typer.Argument(..., help="Which of the three."),
    steps: int = typer.Option(4000, help="Training steps in all."),
    batch: int = typer.Option(32, help="Pictures a step and process."),
    rate: float = typer.Option(1e-3, help="Learning rate; gates learn ten times as fast."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps what it made."),
    runs: Path = typer.Option(Path("runs/modules"), help="Where training is kept."),
    out: Path = typer.Option(model_folder("emoji") / "modules", help="Where the finished module goes."),
    hours: float | None = typer.Option(None, help="Stop after so long; it resumes next time."),
    save_every: int = typer.Option(500, help="Steps between checkpoints."),
    every: int = typer.Option(1, help="Learn from every so many cells only: for rehearsals."),
) -> None:
    """Train one sense; when all steps are done, write its file."""
    torch.set_num_threads(1)
    name = str(sense)
    state = PartialState(cpu=not torch.cuda.is_available())
    with state.main_process_first():
        batch_at = batches(name, Cells.read(base, every), base, runs / f"{name}-data", batch)
    module, learning = learner(name)
    run = runs / name
    stop_after = None if hours is None else hours * 3600
    done = fit(learning, batch_at, schedule_of(steps, rate), run, save_every=save_every, stop_after=stop_after)
    if not state.is_main_process or done["step"] < steps:
        return
    wear_average(learning, run)
    write_module(module, out, {
        **found_of(learning, batch_at, name), "steps": steps, "batch": batch * state.num_processes,
        "hours": round(done["seconds"] / 3600, 2),
    })  # fmt: skip


def schedule_of(steps: int, rate: float) -> Schedule:
    """How modules and their rivals train."""
    return Schedule(steps, rate, warmup=min(100, steps // 10), cooldown=steps // 2)


def learner(name: str) -> tuple[Modality, Learning]:
    """A closed module in front of the frozen model that ships, and what it learns from."""
    pipe = load_pipeline(model_folder("emoji"), device="cpu")
    pipe.unet.eval().requires_grad_(False)
    pipe.unet.set_attn_processor(AttnProcessor())  # on a CPU, faster backwards than the fused kernel
    carrier = TextCarrier.of(pipe)
    torch.manual_seed(0)
    module = Modality(name, carrier, ENCODERS[name]().features, inner=INNER)
    return module, Learning(Stack(carrier, [module]), hosts.of(pipe.unet), DDIMScheduler(**NOISE))


def found_of(learning: Learning, batch_at: Callable[[int], Batch], name: str) -> dict[str, float]:
    """Loss and gap at the end, over whole batches."""
    ended = measure_gap(learning, batch_at)
    return {"loss": round(ended["loss"], 4), "gap": round(ended[f"gap_{name}"], 4)}


if __name__ == "__main__":
    typer.run(main)
