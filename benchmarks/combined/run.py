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
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import Plan, PlanError, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import branch_site
from intarsia.lighten.search import choose_keys, keys_within, plan_of, watch
from intarsia.lighten.switch import last, switch
from intarsia.shipped import model_folder

WHOLE_STEPS = 50
TIMED = 8  # pictures drawn at once while seconds are taken
SHARES = (0.5, 0.33, 0.25, 0.2)
FEWER = (25, 17, 12, 10, 8)
POINTS, DISTANCE, SPEED = 3.0, 1.1, 4.0


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

    rows: list[dict] = []
    raced: dict[str, Callable[[], object]] = {}
    reference: np.ndarray | None = None
    full = hosts_of[id(whole)].outline.macs * hosts.rows(whole.scheduler, steps)
    for arm in arms_of(whole, light, hosts_of, steps):
        host = hosts_of[id(arm.pipe)]
        with arm.worn(host):
            drawn = draw(arm.pipe, exam.prompts, steps=arm.steps)
        reference = drawn if reference is None else reference
        bill = price(resolve(arm.plan, host.outline, arm.others), {n: one.outline for n, one in arm.others.items()})
        rows.append({
            "arm": arm.family,
            "macs_ratio": bill.total / full,
            "median PSNR": float(np.median([psnr(one, two) for one, two in zip(drawn, reference, strict=True)]))
            if drawn is not reference else None,
            **exam.row(drawn),
        })  # fmt: skip
        raced[arm.family] = timing_of(arm, host, exam.prompts[:TIMED])
        print(rows[-1])
    seconds = rig.measure_seconds(raced, rounds=1 if quick else rounds)
    for row in rows:
        row |= {"speedup": seconds.speedup(row["arm"]), "seconds ratio": seconds.ratio(row["arm"])}
    settings = {
        "quick": quick,
        "student": student,
        "pictures": len(exam.wanted),
        "steps": steps,
        "frechet of real training pictures": exam.floor(),
    }
    write_result("combined", rows, [] if quick else claims_of(rows), settings)


def timing_of(arm: Arm, host: rig.Host, prompts: list[str]) -> Callable[[], object]:
    """A few pictures under an arm."""

    def call() -> object:
        with arm.worn(host):
            return draw(arm.pipe, prompts, steps=arm.steps)

    return call


def claims_of(rows: list[dict]) -> list[Claim]:
    """The fastest arm whose pictures are good enough, fewer steps alone left aside."""
    whole = rows[0]

    def lost(row: dict) -> float:
        return 100 * (whole["concept top-1"] - row["concept top-1"])

    def farther(row: dict) -> float:
        return row["frechet to real"] / whole["frechet to real"]

    ours = [row for row in rows[1:] if not row["arm"].startswith("fewer")]
    good = [row for row in ours if lost(row) <= POINTS and farther(row) <= DISTANCE]
    best = max(good or ours, key=lambda row: row["speedup"] if good else -farther(row))
    return [
        at_least(f"times as fast as the whole model: '{best['arm']}'", best["speedup"], SPEED),
        at_most("points of concept accuracy that it loses", lost(best), POINTS),
        at_most("its Fréchet distance, of the whole model's", farther(best), DISTANCE),
    ]


if __name__ == "__main__":
    typer.run(main)
