"""The ways of showing references that are compared: modules, and what they stand beside."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from torch import Tensor

from intarsia.connect import Modality, Stack, TextCarrier, attached
from recipes.modules import rivals
from recipes.modules.rivals import Adapter, Way

from .trials import SENSES

Shown = Callable[[slice], AbstractContextManager[Any]]
OURS = "modules"
GROUPS = [names for count in (1, 2, 3) for names in combinations(SENSES, count)]


@dataclass(frozen=True)
class Arm:
    """One way, and what was trained for it by sense."""

    way: str
    parts: Mapping[str, Modality] | Mapping[str, Adapter]

    def shown(self, pipe: StableDiffusionPipeline, names: tuple[str, ...], features: Mapping[str, Tensor]) -> Shown:
        """For `drawing.draw`: the references of these senses, of the rows that are drawn."""
        if not names:
            return lambda _rows: nullcontext()
        parts: Any = {name: self.parts[name] for name in names}
        carrier = TextCarrier.of(pipe)

        @contextmanager
        def around(rows: slice) -> Iterator[None]:
            seen = {name: features[name][rows] for name in names}
            if self.way != OURS:
                with rivals.attached(pipe, parts, seen):
                    yield
                return
            with attached(pipe, Stack(carrier, parts.values())) as senses:
                senses.give(**seen)
                yield

        return around


def arms_of(pipe: StableDiffusionPipeline, modules: Path, runs: Path, *, quick: bool) -> list[Arm]:
    """The modules, and each rival that was trained for all three senses; in a quick run rivals may be missing."""
    carrier = TextCarrier.of(pipe)
    found = [Arm(OURS, {name: Modality.load(modules / f"{name}.safetensors", carrier) for name in SENSES})]
    for way in Way:
        there = all((runs / f"{way}-{name}" / "checkpoint").exists() for name in SENSES)
        if there or not quick:
            found.append(Arm(str(way), {name: rivals.trained(way, name, pipe.unet, runs) for name in SENSES}))
    return found
