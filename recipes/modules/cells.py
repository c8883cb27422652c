"""The cells that modules learn from: those that the denoiser learnt from, no others; references are among them too."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from intarsia.hosts.pipelines import quiet
from recipes.base.captions import article, prompt_of, text_encoder, token_states
from recipes.base.concepts import taught

STYLED, THING = 0, 5  # wordings: 'a fox in noto style', 'a fox'
COLOUR = re.compile(r"\b(light )?(red|pink|orange|yellow|green|blue|purple|brown|black|gr[ea]y|white)\b ?")


@dataclass(frozen=True)
class Cells:
    """Taught cells of the part `train`, and what the base recipe keeps of them; the first axis is always theirs.

    Attributes:
        rows: Where they are among all cells.
        concepts, styles: A number for each.
        pictures: (cells, 64, 64, 3) in bytes.
        latents: (cells, 16, 8, 8).
        states: Token states of their captions, (cells, wordings, tokens, width).
        blank: Of no words, (tokens, width).
        labels: What each shows.
        style_words: In which style.
    """

    rows: np.ndarray
    concepts: np.ndarray
    styles: np.ndarray
    pictures: np.ndarray
    latents: np.ndarray
    states: np.ndarray
    blank: np.ndarray
    labels: list[str]
    style_words: list[str]

    @classmethod
    def read(cls, base: Path, every: int = 1) -> "Cells":
        """From the folder of the base recipe's runs.

        Args:
            every: Every so many cells only, for rehearsals.
        """
        listed = json.loads((base / "pictures/cells.json").read_text())
        known = [taught(concept) for concept in listed["concepts"]]
        wanted = [row for row, cell in enumerate(listed["cells"]) if cell["part"] == "train" and known[cell["concept"]]]
        rows = np.array(wanted[::every])
        cells = [listed["cells"][row] for row in rows]
        return cls(
            rows=rows,
            concepts=np.array([cell["concept"] for cell in cells]),
            styles=np.array([listed["styles"].index(cell["style"]) for cell in cells]),
            pictures=np.load(base / "pictures/pictures.npy", mmap_mode="r")[rows],
            latents=np.load(base / "latents/latents.npy", mmap_mode="r")[rows],
            states=np.load(base / "words/states.npy", mmap_mode="r")[rows],
            blank=np.load(base / "words/blank.npy"),
            labels=[listed["concepts"][cell["concept"]]["label"] for cell in cells],
            style_words=[cell["style"] for cell in cells],
        )

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, count: int) -> np.ndarray:
        """Different cells, drawn with numpy's generator."""
        return np.random.choice(len(self), min(count, len(self)), replace=False)

    def others_of_style(self, chosen: np.ndarray) -> np.ndarray:
        """For each cell, one of another thing in the same style; itself where there is none."""
        found = []
        for cell in chosen:
            same = self._of_style[self.styles[cell]]
            others = same[self.concepts[same] != self.concepts[cell]]
            found.append(np.random.choice(others) if len(others) else cell)
        return np.array(found)

    def said(self, chosen: np.ndarray, wordings: np.ndarray, *, colours: bool = True) -> Tensor:
        """Token states of captions, (batch, tokens, width).

        Args:
            wordings: One for each cell; -1 for no words.
            colours: Whether words for colours are said. Without them, wordings are `STYLED` or `THING`.
        """
        found = self.states[chosen, wordings].astype(np.float32)
        for place, (cell, wording) in enumerate(zip(chosen, wordings, strict=True)):
            if not colours and cell in self._colourless:
                found[place] = self._colourless[cell][int(wording == THING)]
        found[wordings < 0] = self.blank
        return torch.from_numpy(found)

    @cached_property
    def _of_style(self) -> dict[int, np.ndarray]:
        return {style: np.flatnonzero(self.styles == style) for style in np.unique(self.styles)}

    @cached_property
    def _colourless(self) -> dict[int, np.ndarray]:
        """For cells whose label has words for colours, states of `STYLED` and `THING` without them."""
        found = [cell for cell, label in enumerate(self.labels) if COLOUR.sub("", label).strip() not in ("", label)]
        texts = []
        for cell in found:
            label = COLOUR.sub("", self.labels[cell]).strip()
            texts += [prompt_of(label, self.style_words[cell]), article(label)]
        if not texts:
            return {}
        with quiet():
            states = token_states(*text_encoder(), texts).numpy().astype(np.float32)
        return dict(zip(found, states.reshape(len(found), 2, *states.shape[1:]), strict=True))
