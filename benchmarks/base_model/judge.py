"""The judge of every benchmark that draws: what a picture shows, in which style, and how it looks to a network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from benchmarks.base_model import probe, style_probe
from benchmarks.base_model.world import World
from benchmarks.drawing import processes
from intarsia.shipped import model_folder
from recipes.base.autoencoder import pixels_of

KEPT = Path(__file__).with_name("weights")  # how they were made: README.md there


@dataclass(frozen=True)
class Judge:
    """Two networks that saw real pictures only."""

    concept: probe.Probe
    style: style_probe.StyleProbe

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """Features, concept probabilities and style probabilities of pictures (count, 64, 64, 3) in bytes."""
        found: dict[str, list[np.ndarray]] = {"features": [], "concept": [], "style": []}
        for part in np.array_split(pictures, max(1, len(pictures) // 64)):
            shown = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255
            features = self.concept.features(shown)
            found["features"].append(features.numpy())
            found["concept"].append(self.concept.concept(features).softmax(1).numpy())
            found["style"].append(self.style.logits(shown).softmax(1).numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}


def trained(runs: Path, world: World, *, steps: int | None = None) -> Judge:
    """The judge that is kept beside this file; if there is none, one trained now and kept.

    It learns from all real pictures but the held-out cells.

    Args:
        steps: Training steps of the concept probe, of all processes together. None: refuse to train it.
    """
    styles = world.styles
    judge = Judge(probe.Probe(len(world.concepts), len(styles)), style_probe.StyleProbe(len(styles)))
    out, state = runs / "probe", processes()
    if probe.load(KEPT, judge.concept) and style_probe.load(judge.style, KEPT):
        return judge
    if steps is None:
        raise SystemExit("train the judge first: python -m benchmarks.base_model.run")
    if not probe.load(out, judge.concept):
        probe.train(world.pictures, world.cells, judge.concept, out, steps=steps // state.num_processes)
    if not style_probe.load(judge.style, out):
        style_probe.train(judge.style, *styled(world), probe.shaken, out)
    if state.is_main_process:
        keep(out, KEPT)
    state.wait_for_everyone()
    return trained(runs, world)


def keep(found: Path, kept: Path) -> None:
    """Put the weights of a folder in half precision into another, that of a repository, so that all have one judge."""
    kept.mkdir(parents=True, exist_ok=True)
    for path in sorted(found.glob("*.safetensors")):
        part = (kept / path.name).with_suffix(".part")
        weights = load_file(path).items()
        save_file({name: value.half() if value.is_floating_point() else value for name, value in weights}, part)
        part.replace(kept / path.name)


def styled(world: World) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """All real pictures but the held-out cells, as they are and as the model's autoencoder gives them back; styles."""
    rows = world.rows("train") + world.rows("concept")
    real = world.pictures[rows]
    back = returned(AutoencoderKL.from_pretrained(model_folder("emoji") / "vae"), real)
    return (real, back), np.array([world.styles.index(world.cells[row]["style"]) for row in rows])


@torch.no_grad()
def returned(autoencoder: AutoencoderKL, pictures: np.ndarray) -> np.ndarray:
    """Pictures in bytes, encoded and decoded: no picture of the model's can look better than these."""
    made = []
    for part in np.array_split(pictures, max(1, len(pictures) // 64)):
        latents = autoencoder.encode(pixels_of(part).to(autoencoder.dtype)).latent_dist.mean
        drawn = autoencoder.decode(latents).sample.float().clamp(-1, 1).add(1).mul(127.5).round().byte()
        made.append(drawn.permute(0, 2, 3, 1).numpy())
    return np.concatenate(made)
