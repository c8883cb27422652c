"""Who judges: two networks that tell styles and one that tells things, none of which turned hues mislead.

    python -m benchmarks.connect.judges    trains those that are not kept beside this file; resumes

References of colours have their hues turned, and so have the pictures that follow them: colours that someone asked for
should not count as another style. The style judge of `benchmarks.base_model` tells three quarters of held-out pictures
right, and a third of them recoloured. Taught with turned hues, it still goes by natural ones where it finds them; so
judges of styles are taught, and asked, about pictures of settled hues.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import typer

from benchmarks.base_model import judge, probe, style_probe
from benchmarks.base_model.style_probe import StyleProbe
from benchmarks.base_model.world import World, taught_world
from benchmarks.connect import hues
from benchmarks.connect.strokes import Strokes
from benchmarks.drawing import processes

KEPT = Path(__file__).with_name("weights")  # how they were made: README.md there
STEPS = {"strokes": 6000, "texture": 1200, "things": 1200}  # of all processes together


@dataclass(frozen=True)
class Judges:
    """Two of styles, and one of things."""

    strokes: Strokes
    texture: StyleProbe
    things: probe.Probe

    @classmethod
    def untrained(cls, world: World) -> "Judges":
        styles = len(world.styles)
        return cls(Strokes(styles).eval(), StyleProbe(styles), probe.Probe(len(world.concepts), styles).eval())

    @classmethod
    def kept(cls, world: World, kept: Path = KEPT) -> "Judges":
        """Those that are kept beside this file.

        Raises:
            SystemExit: one is not.
        """
        found = cls.untrained(world)
        known = {
            "strokes": style_probe.load(found.strokes, kept / "strokes"),
            "texture": style_probe.load(found.texture, kept / "texture"),
            "things": probe.load(kept / "things", found.things),
        }
        lacking = [name for name, here in known.items() if not here]
        if lacking:
            raise SystemExit(f"{kept}: no judge {', '.join(lacking)}; train it: python -m benchmarks.connect.judges")
        return found


def train(world: World, out: Path, kept: Path = KEPT, steps: Mapping[str, int] = STEPS) -> None:
    """Train, on all real pictures but the held-out cells, the judges that are not kept yet, and keep them; resumes."""
    judges = Judges.untrained(world)

    @cache
    def lessons() -> tuple[Sequence[np.ndarray], np.ndarray]:
        copies, styles = judge.styled(world)
        return [hues.settled(one) for one in copies], styles

    def learn(name: str) -> None:
        each = max(1, steps[name] // processes().num_processes)
        if name == "things":
            hues.train(world, judges.things, out / name, steps=each)
        elif name == "strokes":
            style_probe.train(judges.strokes, *lessons(), probe.shaken, out / name, steps=each)
        elif style_probe.load(judges.texture, judge.KEPT):
            style_probe.train(judges.texture, *lessons(), probe.shaken, out / name, steps=each)
        else:
            raise SystemExit("train the judge first: python -m benchmarks.base_model.run")

    for name in [name for name in steps if not any((kept / name).glob("*.safetensors"))]:
        learn(name)
        if processes().is_main_process:
            judge.keep(out / name, kept / name)
        processes().wait_for_everyone()


@torch.no_grad()
def styles_of(network: Strokes | StyleProbe, pictures: np.ndarray) -> np.ndarray:
    """The number of the style of each picture (count, 64, 64, 3) in bytes."""
    parts = np.array_split(hues.settled(pictures), max(1, len(pictures) // 64))
    shown = [torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255 for part in parts]
    return np.concatenate([network.logits(part).argmax(1).numpy() for part in shown])


def main(
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    out: Path = typer.Option(Path("runs/connect"), help="Where training is kept."),
) -> None:
    """Train what is not kept."""
    train(taught_world(base), out)


if __name__ == "__main__":
    typer.run(main)
