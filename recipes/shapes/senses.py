"""Three senses of the drawn world: what a reference shares with the picture, and what a training batch is.

The reference is always another scene. Words for what it shows are mostly left out, so that it has something to say. All
else is said, or a sense would learn to say what leans with its own; so only identity learns from shapes without a word.
Where own words are said, some references are contrary: then the picture is mostly what the words say, so that who hears
both learns that words lead. Some pictures yield to the reference, or a module would learn to ignore it there, and no
weight could turn it up.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .host import WORDLESS, folded
from .scenes import NAMED, SHAPES, drawn, some
from .sight import Sight
from .words import PLACES, only, said

SHARED: dict[str, tuple[str, ...]] = {"identity": ("shape",), "palette": ("ground",), "style": ("hue", "pattern")}
SENSES = tuple(SHARED)
# Share of pictures whose own words are said: least where a reference has most to say.
OWN_WORDS = {"identity": 0.2, "palette": 0.2, "style": 0.4}
CONTRARY = 0.5  # of those, share whose reference says something else
YIELDING = 0.25  # of those, share whose picture is what the reference says
LEANING = 0.6  # of the scenes that senses learn from; see `scenes`
# Of a loss of 0.05. A ground is large, and has much of that to spend; shapes without a word have least.
LOUDNESS_COST = {"identity": 1e-4, "palette": 3e-3, "style": 5e-3}
# Identity and style speak of the same thing, where palette leaves them alone.
DISTURBANCE = {"identity": 1.5, "palette": 0.0, "style": 1.0}
STEPS = {"identity": 4000, "palette": 2000, "style": 2000}  # of training: most for shapes, which are learnt last
UNNAMED = 0.75  # share of scenes that identity learns from whose shape has no word: there it has most to say


def shapes(count: int, unnamed: float) -> np.ndarray:
    """Shapes by lot, of which such a share has no word."""
    without = np.random.random(count) < unnamed
    return np.where(without, np.random.randint(NAMED, len(SHAPES), count), np.random.randint(NAMED, size=count))


def batches(names: Sequence[str], eye: Sight, batch: int) -> Callable[[int], tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """For `train.fit`: pictures as latents, words, and a reference for each of these senses."""

    def batch_at(_draw: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        scenes = target = some(batch, LEANING, shape=shapes(batch, UNNAMED if "identity" in names else 0.0))
        wordless = np.random.random(batch) < WORDLESS
        spoken = np.repeat(~wordless[:, None], len(PLACES), 1)
        references = {}
        for name in names:
            told = ~wordless & (np.random.random(batch) < OWN_WORDS[name])
            contrary = told & (np.random.random(batch) < CONTRARY)
            if "shape" in SHARED[name]:
                contrary &= scenes.shape < NAMED  # the others have no word that could lead
            spoken[:, only(*SHARED[name])] = told[:, None]
            shown = scenes.kept(SHARED[name], LEANING).where(contrary, some(batch, LEANING))
            target = target.where(contrary & (np.random.random(batch) < YIELDING), shown, SHARED[name])
            references[name] = eye.tokens(drawn(shown))
        latents = folded(drawn(target)).contiguous(memory_format=torch.channels_last)
        return latents, said(scenes, spoken), references

    return batch_at
