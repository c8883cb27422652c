"""The three senses that ship, and what each learns from: a batch of latents, words and references.

Most captions leave out what the reference is to say, and where colours are shown none is said. No reference is the
target itself: a style is another thing's; an outline and colours are of the target moved a little, or of its middle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
WORDS = {"style": (0.1, 0.8, 0.1), "silhouette": (0.3, 0.6, 0.1), "palette": (0.3, 0.6, 0.1)}
# Shares of pictures that are bent or recoloured. Bent ones tell the most, but too many make things hard to recognise.
CHANGED = {"silhouette": 0.3, "palette": 0.7}
CHANGES = {"silhouette": changed.bent, "palette": changed.recoloured}


def batches(
    names: Sequence[str], cells: Cells, base: Path, runs: Path, batch: int, variants: int = 6
) -> Callable[[int], Batch]:
    """For `train.fit`: batches with references of one sense, or of style and another.

    What takes long is worked out here and kept in `runs`.

    Raises:
        SystemExit: outline and colours were asked for together; no picture is both bent and recoloured.
    """
    changing = [name for name in names if name in CHANGES]
    if len(changing) > 1:
        raise SystemExit(f"{' and '.join(changing)} cannot be trained jointly; train style with one of them.")
    features = None
    if "style" in names:
        features = keep_features(cells, ENCODERS["style"](), runs / "style-data/features.npy")
    changes = None
    if changing:
        (changed_one,) = changing
        kept = changed.keep_changed(
            cells,
            CHANGES[changed_one],
            base / "latents/autoencoder",
            runs / f"{changed_one}-{CHANGES[changed_one].__name__}",
            variants,
        )
        changes = Changes(changed_one, *kept, ENCODERS[changed_one]())
    # Who is shown a style needs the fewest words.
    leading = "style" if "style" in names else names[0]

    def batch_at(_draw: int) -> Batch:
        chosen = cells.some(batch)
        references = {}
        if changes is None:
            target = cells.latents[chosen]
        else:
            target, references[changes.name] = changes.batch(cells, chosen)
        if features is not None:
            references["style"] = torch.from_numpy(features[cells.others_of_style(chosen)]).float()
        wordings = np.random.choice([STYLED, THING, -1], len(chosen), p=WORDS[leading])
        said = cells.said(chosen, wordings, colours="palette" not in names)
        latents = torch.from_numpy(target.astype(np.float32)).contiguous(memory_format=torch.channels_last)
        return latents, said, references

    return batch_at


@dataclass(frozen=True)
class Changes:
    """Bent or recoloured pictures (variants, cells, 64, 64, 3), their latents, and who sees only the change."""

    name: str
    pictures: np.ndarray
    latents: np.ndarray
    encoder: Encoder

    def batch(self, cells: Cells, chosen: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Latents of some cells, most of them changed, and what the encoder sees of each picture, moved a little."""
        variant, other = np.random.randint(len(self.pictures), size=len(chosen)), np.random.random(len(chosen))
        changed_way = (other < CHANGED[self.name])[:, None, None, None]
        shown = np.where(changed_way, self.pictures[variant, chosen], cells.pictures[chosen])
        target = np.where(changed_way, self.latents[variant, chosen], cells.latents[chosen])
        references = [Image.fromarray(one) for one in changed.nudged(shown)]
        if self.name == "palette":
            references = [middle(one) if np.random.random() < 0.5 else one for one in references]
        return target, self.encoder(references)


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
