"""What is said of a scene: seven words or fewer, as the states of a frozen text encoder would carry them.

A state is a fixed random vector for the word plus one for its place in the sentence, so that "red" of the large thing
and of the small one are told apart. A word that is left out leaves its place behind.
"""

import numpy as np
import torch
from torch import Tensor

from .scenes import HUES, NAMED, PATTERNS, SHAPES, SIDES, Scenes, bin_of

WIDTH = 48
PLACES = ("pattern", "hue", "shape", "side", "ground", "small_hue", "small_shape")
VOCABULARY = ("", *PATTERNS, *HUES, *SHAPES[:NAMED], *SIDES)


def frozen_states() -> tuple[Tensor, Tensor]:
    """Vectors of the words, and of the places in a sentence."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(len(VOCABULARY), WIDTH, generator=generator)
    words[0] = 0
    return words, torch.randn(len(PLACES), WIDTH, generator=generator)


WORDS, MARKS = frozen_states()  # the marks by themselves are what is said of nothing


def numbers_of(scenes: Scenes) -> np.ndarray:
    """The word at each place, (scenes, places), by its number in the vocabulary; 0 where there is none."""
    names = [
        [PATTERNS[one] for one in scenes.pattern],
        [HUES[one] for one in bin_of(scenes.hue)],
        [SHAPES[one] for one in scenes.shape],
        [SIDES[one] for one in scenes.side],
        [HUES[one] for one in bin_of(scenes.ground)],
        [HUES[one] for one in bin_of(scenes.small_hue)],
        [SHAPES[one] for one in scenes.small_shape],
    ]
    return np.array([[VOCABULARY.index(name) for name in place] for place in names]).T


def said(scenes: Scenes, spoken: np.ndarray) -> Tensor:
    """Token states (scenes, places, width).

    Args:
        spoken: Which words are said, (scenes, places) of true and false.
    """
    return WORDS[torch.from_numpy(np.where(spoken, numbers_of(scenes), 0))] + MARKS


def only(*places: str) -> np.ndarray:
    """Which words are said if it is those at these places alone: (places)."""
    return np.isin(PLACES, places)
