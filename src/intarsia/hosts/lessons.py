"""What is taught with pictures: their latents and the words that go with them, made once and kept.

Words are whatever the pipeline itself tells its UNet about a prompt (token states; for XL also pooled states and
sizes), overheard in a call of one step, so that every kind of pipeline will do. Pictures are a person's own, or, if
there are none, drawn by the teacher: then nothing is needed but prompts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..pictures import on_white, opened
from ..rig.listening import overheard
from .pipelines import final_latents

BLANK = "blank."  # before the names of what the UNet is told where there are no words
WORDS = "words."


@dataclass(frozen=True)
class Lessons:
    """Pictures as latents, and what the UNet is told of each.

    Attributes:
        latents: (count, channels, height, width).
        words: By name, the names of nested ones joined by dots: (count, ...).
        blank: What it is told without words: (1, ...).
    """

    latents: Tensor
    words: Mapping[str, Tensor]
    blank: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, size: int, wordless: float = 0.1) -> tuple[Tensor, dict[str, Any]]:
        """Some lessons drawn with numpy's generator, a share of them without words."""
        return self.chosen(self.some(size), wordless)

    def some(self, size: int) -> Tensor:
        """The numbers of different lessons, as many as that if there are, drawn with numpy's generator."""
        return torch.from_numpy(np.random.choice(len(self), min(size, len(self)), replace=False))

    def chosen(self, rows: Tensor, wordless: float) -> tuple[Tensor, dict[str, Any]]:
        """The lessons of these numbers, a share of them without words."""
        silent = torch.from_numpy(np.random.random(len(rows)) < wordless)
        told = {}
        for name, values in self.words.items():
            chosen = values[rows].float()
            chosen[silent] = self.blank[name].float()
            told[name] = chosen
        return self.latents[rows].float(), nested(told)

    def save(self, path: Path) -> None:
        """As safetensors, in half precision."""
        named = {"latents": self.latents}
        named |= {WORDS + name: value for name, value in self.words.items()}
        named |= {BLANK + name: value for name, value in self.blank.items()}
        part = path.with_suffix(".part")
        save_file({name: value.half().contiguous() for name, value in named.items()}, part)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Lessons":
        """What `save` wrote."""
        named = load_file(path)
        parts = [
            {name.removeprefix(kind): value for name, value in named.items() if name.startswith(kind)}
            for kind in (WORDS, BLANK)
        ]
        return cls(named["latents"], *parts)


def nested(flat: Mapping[str, Tensor]) -> dict[str, Any]:
    """Names joined by dots become mappings within mappings."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = value
    return found


def flattened(told: Mapping[str, Any], before: str = "") -> dict[str, Tensor]:
    """The tensors in mappings within mappings, by names joined by dots."""
    found = {}
    for name, value in told.items():
        if isinstance(value, Tensor):
            found[before + name] = value
        elif isinstance(value, Mapping):
            found |= flattened(value, f"{before}{name}.")
    return found


@torch.no_grad()
def told_of(pipe: DiffusionPipeline, prompts: Sequence[str]) -> dict[str, Tensor]:
    """What a pipeline tells its UNet about prompts, one row each."""
    return heard(pipe, prompts, guidance=1.0, rows=len(prompts))


@torch.no_grad()
def told_of_nothing(pipe: DiffusionPipeline) -> dict[str, Tensor]:
    """What guidance leads away from: the first half of a batch whose second half has words."""
    return {name: value[:1] for name, value in heard(pipe, [""], guidance=2.0, rows=2).items()}


def heard(pipe: DiffusionPipeline, prompts: Sequence[str], *, guidance: float, rows: int) -> dict[str, Tensor]:
    """The tensors of `rows` rows in the first call of a run, sample and time step left aside."""
    with overheard(pipe.unet) as calls:
        pipe(list(prompts), num_inference_steps=1, guidance_scale=guidance, output_type="latent")
    _, kwargs = calls[0]
    told = {name: value for name, value in flattened(kwargs).items() if name not in ("sample", "timestep")}
    return {name: value for name, value in told.items() if len(value) == rows}


def lessons_of(
    pipe: DiffusionPipeline,
    prompts: Sequence[str],
    latents_of: Callable[[Sequence[int]], Tensor],
    *,
    batch: int = 16,
    tell: Callable[[int], None] = lambda _: None,
) -> Lessons:
    """Lessons about prompts, whose latents are made a few at a time.

    Args:
        latents_of: The latents of the prompts with these numbers, which follow one another.
        tell: Told how many more are done.
    """
    latents, words = [], []
    for start in range(0, len(prompts), batch):
        numbers = range(start, min(start + batch, len(prompts)))
        words.append(told_of(pipe, [prompts[number] for number in numbers]))
        latents.append(latents_of(numbers).cpu())
        tell(len(numbers))
    joined = {name: torch.cat([one[name].cpu() for one in words]) for name in words[0]}
    blank = {name: value.cpu() for name, value in told_of_nothing(pipe).items()}
    return Lessons(torch.cat(latents), joined, blank)


def drawn_by(
    pipe: DiffusionPipeline, prompts: Sequence[str], *, steps: int = 20, guidance: float = 3.0, seed: int = 0
) -> Callable[[Sequence[int]], Tensor]:
    """For `lessons_of`: latents that the teacher draws itself, a seed for each."""

    def latents_of(numbers: Sequence[int]) -> Tensor:
        named = [prompts[number] for number in numbers]
        return final_latents(pipe, named, steps=steps, guidance=guidance, seed=seed + numbers[0])

    return latents_of


def encoded_by(pipe: DiffusionPipeline, files: Sequence[Path]) -> Callable[[Sequence[int]], Tensor]:
    """For `lessons_of`: the latents of pictures on white, cropped to squares of the size that the model draws."""
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor

    @torch.no_grad()
    def latents_of(numbers: Sequence[int]) -> Tensor:
        shown = [ImageOps.fit(on_white(opened(files[number])), (side, side)) for number in numbers]
        pixels = pipe.image_processor.preprocess(shown).to(pipe.device, pipe.vae.dtype)
        latents = pipe.vae.encode(pixels).latent_dist.mean
        return (latents - (pipe.vae.config.get("shift_factor") or 0.0)) * pipe.vae.config.scaling_factor

    return latents_of
