"""Who judges: two networks that tell styles and one that tells things, none of which turned hues mislead.

References of colours have their hues turned, and so have the pictures that follow them: colours that someone asked for
should not count as another style. The style judge of `benchmarks.base_model` tells three quarters of held-out pictures
right, and a third of them recoloured. Taught with turned hues, it still goes by natural ones where it finds them; so
judges of styles are taught, and asked, about pictures of settled hues.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.base_model import judge, style_probe
from benchmarks.base_model.probe import Probe, shaken
from benchmarks.base_model.style_probe import StyleProbe
from benchmarks.base_model.world import World
from benchmarks.connect import hues
from benchmarks.connect.strokes import Strokes
from benchmarks.drawing import processes

Lessons = Callable[[], tuple[Sequence[np.ndarray], np.ndarray]]  # copies of pictures, and their styles


@dataclass(frozen=True)
class Steps:
    """How long each judge learns: those of styles in steps of each process, that of things in steps of all together."""

    strokes: int = 1600
    texture: int = 1200
    things: int = 400


@dataclass(frozen=True)
class Judges:
    """Two of styles, and one of things."""

    strokes: Strokes
    texture: StyleProbe
    things: Probe

    @classmethod
    def trained(cls, world: World, out: Path, steps: Steps = Steps()) -> "Judges":
        """Trained now, on all real pictures but the held-out cells, if they are not yet; resumes."""
        strokes, texture = Strokes(len(world.styles)), StyleProbe(len(world.styles))
        if not style_probe.load(texture, judge.KEPT):
            raise SystemExit("train the judge first: python -m benchmarks.base_model.run")

        @cache
        def lessons() -> tuple[Sequence[np.ndarray], np.ndarray]:
            copies, styles = judge.styled(world)
            return [hues.settled(one) for one in copies], styles

        learn_styles(strokes, lessons, out / "strokes", steps.strokes)
        learn_styles(texture, lessons, out / "texture", steps.texture)
        return cls(strokes.eval(), texture.eval(), hues.trained(world, out / "things", steps=steps.things))


def learn_styles(network: Strokes | StyleProbe, lessons: Lessons, out: Path, steps: int) -> None:
    """Train a network that tells styles, or read it if it is trained."""
    if not style_probe.load(network, out):
        style_probe.train(network, *lessons(), shaken, out, steps=steps)
        processes().wait_for_everyone()
        style_probe.load(network, out)


@torch.no_grad()
def styles_of(network: Strokes | StyleProbe, pictures: np.ndarray) -> np.ndarray:
    """The number of the style of each picture (count, 64, 64, 3) in bytes."""
    parts = np.array_split(hues.settled(pictures), max(1, len(pictures) // 64))
    shown = [torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255 for part in parts]
    return np.concatenate([network.logits(part).argmax(1).numpy() for part in shown])
