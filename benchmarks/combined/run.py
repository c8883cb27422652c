"""All levers together, each alone, and fewer steps: the frontier of seconds and pictures.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.combined.run    498 pictures an arm, DDIM 50; an hour
    python -m benchmarks.combined.run --quick     a rehearsal in under a minute; claims nothing

Arms: fewer steps of the whole model; whole calls told, at all steps and at half of them; the student; student and
teacher in turn; the student with calls told, and the teacher answering the last. Plans are searched for on prompts that
are not reported. The best arm of several levers is claimed; it, and the best run of fewer steps beside it, are drawn
and timed once more: 1,245 pictures each. Pictures are drawn, and calls watched, in bfloat16; seconds
are taken in single precision, by one process, on one thread.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, DiffusionPipeline

from benchmarks.base_model.exam import Exam, held_out
from benchmarks.combined.arms import COMBINED, STUDENT, TEACHER, Arm, arms_of
from benchmarks.drawing import draw, processes, raced
from benchmarks.keeping import drawn_by, judged, kept_pictures
from benchmarks.results import Claim, at_least, at_most, write_result
from benchmarks.watching import kept_watch
from intarsia import hosts
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten.search import Watched
from intarsia.plan.outline import HOST
from intarsia.plan.text import write_plan
from intarsia.rig import Host
from intarsia.shipped import model_folder

WHOLE_STEPS = 50
TIMED = 8  # pictures drawn at once while seconds are taken
POINTS, DISTANCE, SPEED = 3.0, 1.1, 4.0
SURE = 4.2  # times as fast that an arm should be to be x4 again when it is timed once more
AFRESH = 50_000  # seeds of the pictures that are claimed


@dataclass(frozen=True)
class Models:
    """Pipelines in one precision, and their UNets, by name."""

    pipes: dict[str, DiffusionPipeline]
    unets: dict[str, Host]

    @classmethod
    def of(cls, folders: Mapping[str, Path], dtype: torch.dtype) -> "Models":
        pipes = {name: load_pipeline(folder, dtype=dtype) for name, folder in folders.items()}
        for pipe in pipes.values():
            pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        tokens = pipes[TEACHER].tokenizer.model_max_length
        return cls(pipes, {name: hosts.of(pipe.unet, batch=2, tokens=tokens) for name, pipe in pipes.items()})

    def rows(self, steps: int) -> int:
        """How often a UNet is called in so many steps."""
        return hosts.rows(self.pipes[TEACHER].scheduler, steps)

    def draw(self, arm: Arm, prompts: Sequence[str], **how: Any) -> np.ndarray:
        with arm.worn(self.unets):
            return draw(self.pipes[arm.model], prompts, steps=arm.steps, **how)


def main(
    quick: bool = typer.Option(False, help="Few steps and pictures, no claims worth anything."),
    student: str = typer.Option("emoji-light", help="The smaller model."),
    repeats: int = typer.Option(2, help="Pictures of each held-out cell."),
    afresh: int = typer.Option(5, help="Pictures of each held-out cell, of the arms that are told at the end."),
    rounds: int = typer.Option(5, help="Interleaved rounds of timing."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    keep: Path = typer.Option(Path("runs/combined"), help="Where drawn pictures are kept: a killed run goes on."),
) -> None:
    """Search, draw, judge, time."""
    torch.set_grad_enabled(False)
    steps, every = (10, 120) if quick else (WHOLE_STEPS, 1)
    folders = {TEACHER: model_folder("emoji"), STUDENT: model_folder(student)}
    timed, drawing = Models.of(folders, torch.float32), Models.of(folders, torch.bfloat16)
    weights = {name: drawn_by(pipe) for name, pipe in drawing.pipes.items()}
    exam = held_out(base, repeats=1 if quick else repeats, every=every, near="train")

    @functools.cache
    def look(model: str, count: int) -> Watched:
        pipe, unet = drawing.pipes[model], drawing.unets[model]
        return kept_watch(unet, HOST, pipe, count, drawing.rows(count), keep, weights[model])

    def pictures(arm: Arm, exam: Exam, seed: int) -> np.ndarray:
        told = [*weights.values(), arm.family, arm.steps, write_plan(arm.plan), seed, *exam.prompts]
        return kept_pictures(keep, told, lambda: drawing.draw(arm, exam.prompts, seed=seed))

    def row_of(arm: Arm, exam: Exam, seed: int = 0) -> dict:
        drawn, of_whole = pictures(arm, exam, seed), pictures(arms[0], exam, seed)
        near = [psnr(one, two) for one, two in zip(drawn, of_whole, strict=True)]
        return {
            "arm": arm.family,
            "macs_ratio": arm.bill(timed.unets).total / arms[0].bill(timed.unets).total,
            "plan": write_plan(arm.plan) if arm.plan.rules else None,
            "median PSNR": float(np.median(near)) if arm is not arms[0] else None,
            **judged(exam, drawn, of_whole, keep),
        }

    def told(some: list[Arm], exam: Exam, seed: int = 0) -> list[dict]:
        rows = []
        for arm in some:
            rows.append(row_of(arm, exam, seed))
            rows[-1]["frechet above the floor, of the whole model's"] = exam.above_floor(rows[-1], rows[0])
            print({name: value for name, value in rows[-1].items() if name != "plan"})
        calls = {arm.family: functools.partial(timed.draw, arm, exam.prompts[:TIMED], alone=True) for arm in some}
        seconds = raced(calls, rounds=1 if quick else rounds)
        for place, row in enumerate(rows):
            row |= {
                "speedup": seconds.speedup(row["arm"]), "seconds ratio": seconds.ratio(row["arm"]),
                "seconds": [times[place] for times in seconds.rounds],
            }  # fmt: skip
        return rows

    refused: list[str] = []
    arms = list(arms_of(timed.unets, timed.rows, steps, look, refused))
    print("\n".join(refused))
    rows = told(arms, exam)
    # The best arm was chosen by these pictures and seconds, so both are taken once more, and only these are claimed.
    names = (arms[0].family, chosen(rows), *beside(rows))
    fresh = held_out(base, repeats=1 if quick else afresh, every=every, near="train")
    found = told([next(arm for arm in arms if arm.family == name) for name in names], fresh, AFRESH)
    if not processes().is_main_process:
        return
    settings = {
        "quick": quick,
        "student": student,
        "pictures": len(exam.wanted),
        "pictures afresh": len(fresh.wanted),
        "steps": steps,
        "frechet of real training pictures": [exam.floor, fresh.floor],
        "refused": refused,
    }
    rows += [{**row, "afresh": True} for row in found]
    write_result("combined", rows, [] if quick else claims_of(*found[:2]), settings)


def lost(row: dict, whole: dict) -> float:
    """Points of concept accuracy."""
    return 100 * (whole["concept top-1"] - row["concept top-1"])


def farther(row: dict, whole: dict) -> float:
    """Fréchet distance to real pictures, of the whole model's."""
    return row["frechet to real"] / whole["frechet to real"] if whole["frechet to real"] else 1.0


def good_enough(row: dict, whole: dict) -> bool:
    return lost(row, whole) <= POINTS and farther(row, whole) <= DISTANCE


def chosen(rows: list[dict]) -> str:
    """Of the arms of several levers that are good enough and sure to be fast, the one with the most to spare.

    The fastest of those that just pass would owe it to chance. If none is so fast, the fastest good one; if none is
    good, the nearest.
    """
    whole, ours = rows[0], [row for row in rows[1:] if row["arm"].startswith(COMBINED)]
    good = [row for row in ours if good_enough(row, whole)]
    sure = [row for row in good if row["speedup"] >= SURE]
    if sure:
        return min(sure, key=lambda row: used_up(row, whole))["arm"]
    return max(good or ours, key=lambda row: row["speedup"] if good else -farther(row, whole))["arm"]


def used_up(row: dict, whole: dict) -> float:
    """How much of what may be lost an arm has lost: 1 if it just passes."""
    return max(lost(row, whole) / POINTS, (farther(row, whole) - 1) / (DISTANCE - 1))


def beside(rows: list[dict]) -> list[str]:
    """The fastest run of fewer steps that is good enough, if there is one: told afresh too, claimed nothing of."""
    fewer = [row for row in rows if row["arm"].startswith("fewer") and good_enough(row, rows[0])]
    return [row["arm"] for row in sorted(fewer, key=lambda row: row["speedup"])[-1:]]


def claims_of(whole: dict, best: dict) -> list[Claim]:
    """Of the chosen arm."""
    return [
        at_least(f"times as fast as the whole model: '{best['arm']}'", best["speedup"], SPEED),
        at_most("points of concept accuracy that it loses", lost(best, whole), POINTS),
        at_most("its Fréchet distance, of the whole model's", farther(best, whole), DISTANCE),
    ]


if __name__ == "__main__":
    typer.run(main)
