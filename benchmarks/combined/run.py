"""All levers together, each alone, and fewer steps: the frontier of seconds and pictures.

    python -m benchmarks.combined.run             498 pictures an arm against DDIM 50; an hour or two
    python -m benchmarks.combined.run --quick     a rehearsal in under a minute; claims nothing

Arms: fewer steps of the whole model; inheritance; the student; the student with inheritance; both with the teacher
answering the last calls. Plans are searched for on prompts that are not reported.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, DiffusionPipeline

from benchmarks.base_model.exam import held_out
from benchmarks.drawing import draw
from benchmarks.inherit_quality.run import WATCHED
from benchmarks.keeping import drawn_by, kept_pictures
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import Plan, PlanError, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import branch_site
from intarsia.lighten.search import choose_keys, keys_within, plan_of, watch
from intarsia.lighten.switch import last, switch
from intarsia.plan.text import write_plan
from intarsia.shipped import model_folder

WHOLE_STEPS = 50
TIMED = 8  # pictures drawn at once while seconds are taken
SHARES = (0.5, 0.33, 0.25, 0.2)
FEWER = (25, 17, 12, 10, 8)
POINTS, DISTANCE, SPEED = 3.0, 1.1, 4.0


AFRESH = 50_000  # seeds of the pictures that are claimed


@dataclass(frozen=True)
class Arm:
    """One way of drawing.

    Attributes:
        family: Which levers.
        pipe: The pipeline whose UNet is planned for.
        steps: Of the sampler.
        plan: For its UNet.
        others: UNets that the plan uses.
    """

    family: str
    pipe: DiffusionPipeline
    steps: int
    plan: Plan
    others: dict[str, rig.Host]

    def worn(self, host: rig.Host) -> AbstractContextManager:
        return rig.applied(self.plan, host, others=self.others)


def planned(pipe: DiffusionPipeline, host: rig.Host, steps: int) -> Iterator[tuple[float, Plan]]:
    """Searched inheritance plans at several shares of the MACs."""
    rows, site = hosts.rows(pipe.scheduler, steps), branch_site(host.outline, 0)
    watched = watch(host, site, lambda: draw(pipe, WATCHED, steps=steps, latents=True, alone=True), rows)
    for share in SHARES:
        try:
            count = keys_within(host, site, rows, share)
        except PlanError:
            continue  # reusing this site cannot save so much
        yield share, plan_of(watched, choose_keys(watched, count), depth=3)


def arms_of(
    whole: DiffusionPipeline, light: DiffusionPipeline, hosts_of: dict[int, rig.Host], steps: int
) -> Iterator[Arm]:
    """Every arm; the whole model's own run comes first."""

    def plain(family: str, pipe: DiffusionPipeline, count: int) -> Arm:
        return Arm(family, pipe, count, Plan(hosts.rows(pipe.scheduler, count)), {})

    yield plain("whole", whole, steps)
    for count in FEWER:
        if count < steps:
            yield plain(f"fewer steps, {count}", whole, count)
            yield plain(f"student, {count} steps", light, count)
    yield plain("student", light, steps)
    for share, plan in planned(whole, hosts_of[id(whole)], steps):
        yield Arm(f"inherit {share:g}", whole, steps, plan, {})
    teacher = {"teacher": hosts_of[id(whole)]}
    for share, plan in planned(light, hosts_of[id(light)], steps):
        yield Arm(f"student, inherit {share:g}", light, steps, plan, {})
        ending = switch(plan.rows, {"teacher": last(plan.rows, 2)})
        yield Arm(f"student, inherit {share:g}, teacher last", light, steps, plan | ending, teacher)


def main(
    quick: bool = typer.Option(False, help="Few steps and pictures, no claims worth anything."),
    student: str = typer.Option("emoji-light", help="The smaller model."),
    repeats: int = typer.Option(2, help="Pictures of each held-out cell."),
    rounds: int = typer.Option(5, help="Interleaved rounds of timing."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    keep: Path = typer.Option(Path("runs/combined"), help="Where drawn pictures are kept: a killed run goes on."),
) -> None:
    """Search, draw, judge, time."""
    torch.set_grad_enabled(False)
    steps = 10 if quick else WHOLE_STEPS
    whole, light = load_pipeline(model_folder("emoji")), load_pipeline(model_folder(student))
    sizes = {"batch": 2, "tokens": whole.tokenizer.model_max_length}
    for pipe in (whole, light):
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    hosts_of = {id(pipe): hosts.of(pipe.unet, **sizes) for pipe in (whole, light)}

    exam = held_out(base, repeats=1 if quick else repeats, every=120 if quick else 1)

    full = hosts_of[id(whole)].outline.macs * hosts.rows(whole.scheduler, steps)
    weights = [drawn_by(pipe) for pipe in (whole, light)]

    def pictures(arm: Arm, seed: int) -> np.ndarray:
        def make() -> np.ndarray:
            with arm.worn(hosts_of[id(arm.pipe)]):
                return draw(arm.pipe, exam.prompts, steps=arm.steps, seed=seed)

        return kept_pictures(keep, [weights, arm.family, arm.steps, write_plan(arm.plan), seed, *exam.prompts], make)

    def judged(arm: Arm, seed: int = 0) -> dict:
        drawn = pictures(arm, seed)
        near = [psnr(one, two) for one, two in zip(drawn, pictures(arms[0], seed), strict=True)]
        return {"median PSNR": float(np.median(near)) if arm is not arms[0] else None, **exam.row(drawn)}

    arms = list(arms_of(whole, light, hosts_of, steps))
    rows: list[dict] = []
    for arm in arms:
        others = {name: host.outline for name, host in arm.others.items()}
        bill = price(resolve(arm.plan, hosts_of[id(arm.pipe)].outline, arm.others), others)
        rows.append({"arm": arm.family, "macs_ratio": bill.total / full, **judged(arm)})
        print(rows[-1])

    def raced(some: list[Arm]) -> rig.meter.Seconds:
        calls = {arm.family: timing_of(arm, hosts_of[id(arm.pipe)], exam.prompts[:TIMED]) for arm in some}
        return rig.measure_seconds(calls, rounds=1 if quick else rounds)

    seconds = raced(arms)
    for row in rows:
        row |= {"speedup": seconds.speedup(row["arm"]), "seconds ratio": seconds.ratio(row["arm"])}
    best = chosen(rows)
    # The best arm was chosen by these pictures and seconds, so both are taken once more, and only these are claimed.
    again = [arm for arm in arms if arm.family in (arms[0].family, best)]
    seconds = raced(again)
    afresh = [{"arm": arm.family, "speedup": seconds.speedup(arm.family), **judged(arm, AFRESH)} for arm in again]
    settings = {
        "quick": quick,
        "student": student,
        "pictures": len(exam.wanted),
        "steps": steps,
        "frechet of real training pictures": exam.floor,
    }
    rows += [{**row, "afresh": True, "rounds": seconds.rounds} for row in afresh]
    write_result("combined", rows, [] if quick else claims_of(*afresh), settings)


def timing_of(arm: Arm, host: rig.Host, prompts: list[str]) -> Callable[[], object]:
    """A few pictures under an arm."""

    def call() -> object:
        with arm.worn(host):
            return draw(arm.pipe, prompts, steps=arm.steps)

    return call


def lost(row: dict, whole: dict) -> float:
    """Points of concept accuracy."""
    return 100 * (whole["concept top-1"] - row["concept top-1"])


def farther(row: dict, whole: dict) -> float:
    """Fréchet distance to real pictures, of the whole model's."""
    return row["frechet to real"] / whole["frechet to real"] if whole["frechet to real"] else 1.0


def chosen(rows: list[dict]) -> str:
    """The fastest arm whose pictures are good enough, fewer steps alone left aside; if none is, the nearest."""
    whole, ours = rows[0], [row for row in rows[1:] if not row["arm"].startswith("fewer")]
    good = [row for row in ours if lost(row, whole) <= POINTS and farther(row, whole) <= DISTANCE]
    return max(good or ours, key=lambda row: row["speedup"] if good else -farther(row, whole))["arm"]


def claims_of(whole: dict, best: dict) -> list[Claim]:
    """Of the chosen arm."""
    return [
        at_least(f"times as fast as the whole model: '{best['arm']}'", best["speedup"], SPEED),
        at_most("points of concept accuracy that it loses", lost(best, whole), POINTS),
        at_most("its Fréchet distance, of the whole model's", farther(best, whole), DISTANCE),
    ]


if __name__ == "__main__":
    typer.run(main)
