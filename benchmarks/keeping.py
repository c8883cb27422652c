"""What a benchmark keeps while it runs, so that a killed run goes on where it was."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DiffusionPipeline

from benchmarks.base_model.exam import Exam
from benchmarks.drawing import processes
from intarsia.graphs.exporting import digest_of


def kept_row(path: Path, make: Callable[[], dict[str, object]]) -> dict[str, object]:
    """A row of an earlier run, or one made now; remove the file to see it anew."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(make(), indent=1) + "\n")
        part.replace(path)
    return json.loads(path.read_text())


def kept_pictures(folder: Path, told: object, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Pictures of an earlier run that was told the same, or drawn now. Under `torchrun` every process must call this.

    Args:
        told: All that the pictures depend on, with a `repr` that says so.
    """
    path = place_of(folder, told, ".npy")
    if not path.exists():
        drawn = make()
        if processes().is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part.npy")
            np.save(part, drawn)
            part.replace(path)
    processes().wait_for_everyone()
    return np.load(path)


def judged(exam: Exam, drawn: np.ndarray, whole: np.ndarray, keep: Path) -> dict[str, object]:
    """What the judge says of pictures, now or in an earlier run; one process asks it."""
    told = ["judged", exam.near, *(digest_of(one) for one in (exam.judge.concept, exam.judge.style))]
    told += [hashlib.sha256(one.tobytes()).hexdigest() for one in (drawn, whole)]
    with processes().main_process_first():
        return kept_row(place_of(keep, told, ".json"), lambda: dict(exam.row(drawn, whole)))


def place_of(folder: Path, told: object, suffix: str) -> Path:
    """Where something is kept that depends on what it was told, and on nothing else."""
    return folder / f"{hashlib.sha256(repr(told).encode()).hexdigest()[:20]}{suffix}"


def sampled_by(scheduler: Any) -> dict[str, object]:
    """What a scheduler's steps depend on, in one order in every process: names of defaults are kept in a set."""
    return {name: value for name, value in scheduler.config.items() if name != "_use_default_values"}


def drawn_by(pipe: DiffusionPipeline) -> str:
    """A fingerprint of a pipeline's weights and its library. That a plan means the same as before is for the tests."""
    return " ".join([version("diffusers"), *(digest_of(model) for model in (pipe.unet, pipe.vae, pipe.text_encoder))])
