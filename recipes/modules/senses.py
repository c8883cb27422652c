"""The three senses that ship, and what each learns from: a batch of latents, words and references.

Most captions leave out what the reference is to say, and where colours are shown none is said. No reference is the
target itself: a style is another thing's; an outline and colours are of the target moved a little, or of its middle.
Hues are turned in lessons of every sense: one that only saw natural colours would speak against a palette.
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
CHANGES = {"style": changed.recoloured, "silhouette": changed.bent_and_recoloured, "palette": changed.recoloured}
# Shares of changed pictures. Bent ones tell the most, but too many make things hard to recognise.
CHANGED = {"style": 0.25, "silhouette": 0.5, "palette": 0.7}
VARIANTS = {changed.recoloured: 6, changed.bent_and_recoloured: 16}  # of each picture


def batches(names: Sequence[str], cells: Cells, base: Path, runs: Path, batch: int) -> Callable[[int], Batch]:
    """For `train.fit`: batches with references of one sense, or of style and another.

    What takes long is worked out here and kept in `runs`.

    Raises:
        SystemExit: outline and colours were asked for together, whose pictures are changed in different ways.
    """
    own = [name for name in names if name != "style"] or ["style"]
    if len(own) > 1:
        raise SystemExit(f"{' and '.join(own)} cannot be trained jointly; train style with one of them.")
    (changing,) = own
    features = keep_features(cells, Texture(), runs / "style-features.npy") if "style" in names else None
    change = CHANGES[changing]
    autoencoder, variants = base / "latents/autoencoder", VARIANTS[change]
    changes = Changes(
        CHANGED[changing], *changed.keep_changed(cells, change, autoencoder, runs / change.__name__, variants)
    )
    encoder = ENCODERS[changing]()
    # Who is shown a style needs the fewest words.
    leading = "style" if "style" in names else changing

    def batch_at(_draw: int) -> Batch:
        chosen = cells.some(batch)
        target, pictures = changes.of(cells, chosen)
        references = {}
        if changing != "style":
            references[changing] = encoder(shown_of(changing, pictures))
        if features is not None:
            references["style"] = torch.from_numpy(features[cells.others_of_style(chosen)]).float()
        wordings = np.random.choice([STYLED, THING, -1], len(chosen), p=WORDS[leading])
        said = cells.said(chosen, wordings, colours="palette" not in names)
        latents = torch.from_numpy(target.astype(np.float32)).contiguous(memory_format=torch.channels_last)
        return latents, said, references

    return batch_at


@dataclass(frozen=True)
class Changes:
    """Changed pictures (variants, cells, 64, 64, 3), their latents (variants, cells, 16, 8, 8), how many are shown."""

    share: float
    pictures: np.ndarray
    latents: np.ndarray

    def of(self, cells: Cells, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latents and pictures of some cells, a share of them changed."""
        variant, other = np.random.randint(len(self.pictures), size=len(chosen)), np.random.random(len(chosen))
        changed_way = (other < self.share)[:, None, None, None]
        return (
            np.where(changed_way, self.latents[variant, chosen], cells.latents[chosen]),
            np.where(changed_way, self.pictures[variant, chosen], cells.pictures[chosen]),
        )


def shown_of(name: str, pictures: np.ndarray) -> list[Image.Image]:
    """References of outline or colours for targets (count, 64, 64, 3): moved a little, some colours of the middle."""
    references = [Image.fromarray(one) for one in changed.nudged(pictures)]
    if name == "palette":
        return [middle(one) if np.random.random() < 0.5 else one for one in references]
    return references


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
