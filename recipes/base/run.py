"""From nothing to the shipped text-to-image model, one stage at a time. Every stage resumes after a kill.

    python -m recipes.base.run                       all stages that are not done
    python -m recipes.base.run denoiser --hours 2    one stage, for at most so long
    torchrun --nproc-per-node 2 -m recipes.base.run denoiser    a process on each of two cores; see README.md

Needs Node's `npm` for the pictures, and `pip install -e '.[recipes]'`.
"""

from enum import StrEnum
from pathlib import Path

import torch
import typer

from . import autoencoder, captions, decoder, denoiser, folder, latents, packages, pictures

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "src/intarsia/models/emoji"


class Stage(StrEnum):
    pictures = "pictures"
    autoencoder = "autoencoder"
    captions = "captions"
    latents = "latents"
    decoder = "decoder"
    denoiser = "denoiser"
    folder = "folder"


def main(
    stages: list[Stage] = typer.Argument(None, help="Which stages, in order; all if none is named."),
    runs: Path = typer.Option(Path("runs/base"), help="Where everything in between is kept."),
    hours: float | None = typer.Option(None, help="Stop each training stage after so long; it resumes next time."),
    threads: int = typer.Option(1, help="Threads of each process. Two processes of one thread beat one of two."),
    decoder_steps: int = typer.Option(2_400, help="Optimizer steps of the decoder's second training."),
    denoiser_steps: int = typer.Option(60_000, help="Optimizer steps of the denoiser in all."),
    batch: int = typer.Option(64, help="Pictures of a step of the denoiser, in each process."),
    weights: Path | None = typer.Option(None, help="Weights (safetensors) that a fresh denoiser begins with."),
    cooldown: int = typer.Option(6_000, help="Last steps of the denoiser, over which the learning rate falls."),
) -> None:
    """Run the recipe."""
    torch.set_num_threads(threads)
    stop_after = None if hours is None else hours * 3600
    drawn, words, known = runs / "pictures", runs / "words", runs / "latents"
    for stage in stages or list(Stage):
        print(f"stage {stage}")
        match stage:
            case Stage.pictures:
                packages.bring(runs / "packages")
                pictures.render(runs / "packages", drawn, HERE / "split.json")
            case Stage.autoencoder:
                autoencoder.train(drawn, runs / "autoencoder", steps=3000, stop_after=stop_after)
            case Stage.captions:
                captions.read_captions(drawn, words)
            case Stage.latents:
                latents.encode(drawn, runs / "autoencoder", known)
                latents.encode_variants(drawn, known)
            case Stage.decoder:
                decoder.train(drawn, known, runs / "decoder", steps=decoder_steps, stop_after=stop_after)
            case Stage.denoiser:
                denoiser.train(
                    drawn, words, known, runs / "denoiser",
                    steps=denoiser_steps, cooldown=cooldown, batch=batch, start=weights, stop_after=stop_after,
                )  # fmt: skip
            case Stage.folder:
                folder.write_folder(runs, SHIPPED)


if __name__ == "__main__":
    typer.run(main)
