"""What all worlds stand on: the eye that senses look through, the judge, and the host; trained once, and kept.

The weights lie beside this file in half precision, so that senses of all seeds, on all machines, learn on one host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import DDIMScheduler
from torch import nn

from intarsia.connect import Features
from intarsia.connect.files import read, write
from intarsia.tensors import fill
from intarsia.train import processes
from recipes.modules.training import keep_or_refuse
from recipes.modules.ways import Ground

from .host import INNER, LATE, NOISE, Hosting, train_host
from .senses import SENSES
from .sight import EYE, JUDGE, Sight, train_sight
from .words import MARKS

KEPT = Path(__file__).with_name("weights")
DOCUMENT = "drawn-world/1"
Kind = TypeVar("Kind", bound=nn.Module)


@dataclass(frozen=True)
class Stage:
    """Eye, judge and host, made or read when they are first asked for.

    Attributes:
        runs: Where training is kept.
        kept: Where finished weights are.
        sight, host: Training steps of eye and judge, and of the host.
    """

    runs: Path
    kept: Path = KEPT
    sight: int = 2000
    host: int = 9000

    @cached_property
    def eye(self) -> Sight:
        return self.finished("eye", lambda: Sight(EYE), train_sight, self.sight, seed=0)

    @cached_property
    def judge(self) -> Sight:
        return self.finished("judge", lambda: Sight(JUDGE), train_sight, self.sight, seed=1)

    @cached_property
    def ground(self) -> Ground:
        """The host, and what senses look at."""
        host = self.finished("host", Hosting, train_host, self.host, seed=0)
        seen = dict.fromkeys(SENSES, Features(self.eye.width, "eye"))
        return Ground(host.unet, host.connector, DDIMScheduler(**NOISE), seen, INNER, MARKS, LATE)

    def prepare(self) -> None:
        """Train all that is not kept yet."""
        for one in (self.eye, self.judge, self.ground):
            del one

    def finished(
        self,
        name: str,
        born: Callable[[], Kind],
        train: Callable[[Kind, Path, int, int], None],
        steps: int,
        seed: int,
    ) -> Kind:
        """A module as its kept weights have it, frozen; trained now if there are none.

        Raises:
            SystemExit: what is kept was trained for another number of steps.
        """
        path = self.kept / f"{name}.safetensors"
        torch.manual_seed(seed)
        module = born()
        if not path.exists():
            keep_or_refuse(self.runs / name, steps=steps)
            train(module, self.runs / name, steps, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            halves = {name: value.half() for name, value in module.state_dict().items()}
            if processes().is_main_process:
                write(path, halves, {"intarsia": DOCUMENT, "steps": steps})
            processes().wait_for_everyone()
        tensors, card = read(path, DOCUMENT)
        if card["steps"] != steps:
            raise SystemExit(f"{path} was trained for {card['steps']} steps, not {steps}; remove it to train it anew.")
        module.requires_grad_(False)
        fill(module, tensors, path)
        return module.eval()
