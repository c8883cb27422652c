"""The three senses that ship, and what each learns from: a batch of latents, words and references.

A caption leaves out what the reference is to say, but for a share of them: who hears the words as well learns that
words lead.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from intarsia.connect.encoders import Encoder, Palette, Silhouette, Texture

from . import changed
from .cells import STYLED, THING, Cells

Batch = tuple[Tensor, Tensor, dict[str, Tensor]]
ENCODERS: dict[str, Callable[[], Encoder]] = {"style": Texture, "silhouette": Silhouette, "palette": Palette}
# Shares of captions with thing and style, with the thing alone, and without words.
WORDS = {"style": (0.1, 0.8, 0.1), "silhouette": (0.5, 0.25, 0.25), "palette": (0.5, 0.35, 0.15)}
CHANGED = 0.7  # share of pictures that were moved or recoloured
CHANGES = {"silhouette": changed.moved, "palette": changed.recoloured}


def batches(name: str, cells: Cells, base: Path, out: Path, batch: int, variants: int = 3) -> Callable[[int], Batch]:
    """For `train.fit`: batches of one sense. What takes long is worked out here and kept in `out`."""
    encoder = ENCODERS[name]()
    if name == "style":
        return style_batches(cells, keep_features(cells, encoder, out / "features.npy"), batch)
    kept = changed.keep_changed(cells, CHANGES[name], base / "latents/autoencoder", out, variants)
    return changed_batches(name, cells, *kept, encoder, batch)


def wordings_of(name: str, count: int) -> np.ndarray:
    """A wording for each sample, -1 for none."""
    return np.random.choice([STYLED, THING, -1], count, p=WORDS[name])


def style_batches(cells: Cells, features: np.ndarray, batch: int) -> Callable[[int], Batch]:
    """The reference is a picture of another thing in the same style."""

    def batch_at(_draw: int) -> Batch:
        chosen = cells.some(batch)
        seen = torch.from_numpy(features[cells.others_of_style(chosen)]).float()
        said = cells.said(chosen, wordings_of("style", len(chosen)))
        return torch.from_numpy(cells.latents[chosen]), said, {"style": seen}

    return batch_at


def changed_batches(
    name: str, cells: Cells, pictures: np.ndarray, latents: np.ndarray, encoder: Encoder, batch: int
) -> Callable[[int], Batch]:
    """The reference is the picture itself, of which the encoder sees the outline or the colours only."""

    def batch_at(_draw: int) -> Batch:
        chosen = cells.some(batch)
        variant, other = np.random.randint(len(pictures), size=len(chosen)), np.random.random(len(chosen)) < CHANGED
        other_way = other[:, None, None, None]
        shown = np.where(other_way, pictures[variant, chosen], cells.pictures[chosen])
        target = np.where(other_way, latents[variant, chosen], cells.latents[chosen]).astype(np.float32)
        shown = changed.nudged(shown) if name == "silhouette" else shown
        references = [Image.fromarray(one) for one in shown]
        if name == "palette":
            references = [middle(one) if np.random.random() < 0.5 else one for one in references]
        said = cells.said(chosen, wordings_of(name, len(chosen)), colours=name != "palette")
        return torch.from_numpy(target), said, {name: encoder(references)}

    return batch_at


def middle(picture: Image.Image) -> Image.Image:
    """The inner quarter: colours of the thing without the white around it, as people's photos have none."""
    width, height = picture.size
    return picture.crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4))


def keep_features(cells: Cells, encoder: Encoder, path: Path, batch: int = 64) -> np.ndarray:
    """What an encoder sees in every cell, (cells, tokens, width) in half precision, worked out if not kept."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = np.array_split(cells.pictures, max(1, len(cells) // batch))
        found = [
            encoder([Image.fromarray(one) for one in part]).half().numpy()
            for part in track(parts, description="look at references")
        ]
        part = path.with_suffix(".part.npy")
        np.save(part, np.concatenate(found))
        part.replace(path)
    kept = np.load(path)
    if len(kept) != len(cells):
        raise SystemExit(f"{path} was made of other cells; remove it, or name other runs.")
    return kept
