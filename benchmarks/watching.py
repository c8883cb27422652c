"""What searches see of a site, kept: a killed run goes on without looking again."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

from benchmarks.drawing import WATCHED, draw, processes
from benchmarks.keeping import kept_row, place_of, sampled_by
from intarsia.lighten.search import Watched, watch
from intarsia.rig import Host
from intarsia.shipped import GUIDANCE


def kept_watch(
    host: Host, site: str, pipe: DiffusionPipeline, steps: int, calls: int, keep: Path, weights: str
) -> Watched:
    """What is seen of a site, now or in an earlier run; one process looks."""

    def run() -> torch.Tensor:
        return draw(pipe, WATCHED, steps=steps, latents=True, alone=True)

    def make() -> dict[str, object]:
        seen = watch(host, site, run, calls)
        return {"gram": seen.gram.tolist(), "weight": seen.weight.tolist()}

    told = ["watched", site, weights, sampled_by(pipe.scheduler), calls, GUIDANCE, *WATCHED]
    with processes().main_process_first():
        found = kept_row(place_of(keep, told, ".json"), make)
    return Watched(site, np.array(found["gram"]), np.array(found["weight"]))
