"""All levers together, each alone, and fewer steps: the frontier of seconds and pictures.

    python -m benchmarks.combined.run             498 pictures an arm against DDIM 50; an hour or two
    python -m benchmarks.combined.run --quick     a rehearsal in under a minute; claims nothing

Arms: fewer steps of the whole model; inheritance at all steps and at half of them; the student; the student with
inheritance; both with the teacher answering the last calls. Plans are searched for on prompts that are not reported.
The arm that is claimed, and the best run of fewer steps beside it, are drawn and timed once more: 2,241 pictures each.
"""

import functools
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, DiffusionPipeline

from benchmarks.base_model.exam import Exam, held_out
from benchmarks.drawing import WATCHED, draw
from benchmarks.keeping import drawn_by, kept_pictures
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import Plan, PlanError, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import branch_site
from intarsia.lighten.search import Watched, choose_keys, plan_of, watch
from intarsia.lighten.switch import last, switch
from intarsia.plan.text import write_plan
from intarsia.shipped import model_folder

WHOLE_STEPS = 50
TIMED = 8  # pictures drawn at once while seconds are taken
FACTORS = (3.0, 4.3, 5.0, 6.0)  # fewer MACs than the whole run's; seconds fall less
FEWER = (25, 17, 12, 10, 8)
POINTS, DISTANCE, SPEED = 3.0, 1.1, 4.0
SURE = 4.2  # times as fast that an arm should be to be x4 again when it is timed once more
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


def within(watched: Watched, cost: Callable[[Plan], int], budget: float, ending: Plan) -> Plan | None:
    """The searched inheritance plan that computes the most calls within so many MACs; None if nothing would be saved.

    Raises:
        PlanError: inheriting as much as can be is not cheap enough.
    """

    def computing(count: int) -> Plan:
        return plan_of(watched, choose_keys(watched, count), depth=3) | ending

    most = bisect_right(range(1, watched.rows), budget, key=lambda count: cost(computing(count)))
    if most == 0:
        raise PlanError(f"the least is {cost(computing(1)) / budget:.2f} of the budget.")
    return computing(most) if most < watched.rows - 1 else None


def arms_of(
    whole: DiffusionPipeline, light: DiffusionPipeline, hosts_of: dict[int, rig.Host], steps: int, refused: list[str]
) -> Iterator[Arm]:
    """Every arm; the whole model's own run comes first. What cannot be so cheap is told in `refused`."""

    def plain(family: str, pipe: DiffusionPipeline, count: int) -> Arm:
        return Arm(family, pipe, count, Plan(hosts.rows(pipe.scheduler, count)), {})

    yield plain("whole", whole, steps)
    for count in FEWER:
        if count < steps:
            yield plain(f"fewer steps, {count}", whole, count)
            yield plain(f"student, {count} steps", light, count)
    yield plain("student", light, steps)
    full = hosts_of[id(whole)].outline.macs * hosts.rows(whole.scheduler, steps)
    teacher = {"teacher": hosts_of[id(whole)]}
    for count in (steps, steps // 2):
        for name, pipe, ends in (("inherit", whole, 0), ("student, inherit", light, 0), ("student, inherit", light, 2)):
            host, rows = hosts_of[id(pipe)], hosts.rows(pipe.scheduler, count)
            watched = watched_of(pipe, host, count)
            ending = switch(rows, {"teacher": last(rows, ends)}) if ends else Plan(rows)
            others = teacher if ends else {}

            def cost(plan: Plan, host: rig.Host = host, others: dict[str, rig.Host] = others) -> int:
                return price(resolve(plan, host.outline, others), {one: it.outline for one, it in others.items()}).total

            for factor in FACTORS:
                family = f"{name} x{factor:g}, {count} steps" + ", teacher last" * bool(ends)
                try:
                    plan = within(watched, cost, full / factor, ending)
                except PlanError as error:
                    refused.append(f"{family}: {error}")
                    continue
                if plan is not None:
                    yield Arm(family, pipe, count, plan, others)


@functools.cache
def watched_of(pipe: DiffusionPipeline, host: rig.Host, steps: int) -> Watched:
    """What a search sees of the branch that computes the least, in one number of steps."""
    rows, site = hosts.rows(pipe.scheduler, steps), branch_site(host.outline, 0)
    return watch(host, site, lambda: draw(pipe, WATCHED, steps=steps, latents=True, alone=True), rows)


def main(
    quick: bool = typer.Option(False, help="Few steps and pictures, no claims worth anything."),
    student: str = typer.Option("emoji-light", help="The smaller model."),
    repeats: int = typer.Option(2, help="Pictures of each held-out cell."),
    afresh: int = typer.Option(9, help="Pictures of each held-out cell, of the arms that are told at the end."),
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

    every = 120 if quick else 1
    exam = held_out(base, repeats=1 if quick else repeats, every=every, near="train")

    full = hosts_of[id(whole)].outline.macs * hosts.rows(whole.scheduler, steps)
    weights = [drawn_by(pipe) for pipe in (whole, light)]

    def pictures(arm: Arm, exam: Exam, seed: int) -> np.ndarray:
        def make() -> np.ndarray:
            with arm.worn(hosts_of[id(arm.pipe)]):
                return draw(arm.pipe, exam.prompts, steps=arm.steps, seed=seed)

        return kept_pictures(keep, [weights, arm.family, arm.steps, write_plan(arm.plan), seed, *exam.prompts], make)

    def judged(arm: Arm, exam: Exam, seed: int = 0) -> dict:
        drawn = pictures(arm, exam, seed)
        near = [psnr(one, two) for one, two in zip(drawn, pictures(arms[0], exam, seed), strict=True)]
        return {"median PSNR": float(np.median(near)) if arm is not arms[0] else None, **exam.row(drawn)}

    refused: list[str] = []
    arms = list(arms_of(whole, light, hosts_of, steps, refused))
    print("\n".join(refused))
    rows: list[dict] = []
    for arm in arms:
        others = {name: host.outline for name, host in arm.others.items()}
        bill = price(resolve(arm.plan, hosts_of[id(arm.pipe)].outline, arm.others), others)
        rows.append({"arm": arm.family, "macs_ratio": bill.total / full, **judged(arm, exam)})
        print(rows[-1])

    def raced(some: list[Arm]) -> rig.meter.Seconds:
        calls = {arm.family: timing_of(arm, hosts_of[id(arm.pipe)], exam.prompts[:TIMED]) for arm in some}
        return rig.measure_seconds(calls, rounds=1 if quick else rounds)

    seconds = raced(arms)
    for row in rows:
        row |= {"speedup": seconds.speedup(row["arm"]), "seconds ratio": seconds.ratio(row["arm"])}
        row["frechet above the floor, of the whole model's"] = exam.above_floor(row, rows[0])
    best = chosen(rows)
    # The best arm was chosen by these pictures and seconds, so both are taken once more, and only these are claimed.
    names = (arms[0].family, best, *beside(rows))
    again = [next(arm for arm in arms if arm.family == name) for name in names]
    seconds = raced(again)
    fresh = held_out(base, repeats=1 if quick else afresh, every=every, near="train")
    found = [{"arm": arm.family, "speedup": seconds.speedup(arm.family), **judged(arm, fresh, AFRESH)} for arm in again]
    for row in found:
        row["frechet above the floor, of the whole model's"] = fresh.above_floor(row, found[0])
    settings = {
        "quick": quick,
        "student": student,
        "pictures": len(exam.wanted),
        "pictures afresh": len(fresh.wanted),
        "steps": steps,
        "frechet of real training pictures": [exam.floor, fresh.floor],
        "refused": refused,
    }
    rows += [{**row, "afresh": True, "rounds": seconds.rounds} for row in found]
    write_result("combined", rows, [] if quick else claims_of(*found[:2]), settings)


def timing_of(arm: Arm, host: rig.Host, prompts: list[str]) -> Callable[[], object]:
    """A few pictures under an arm."""

    def call() -> object:
        with arm.worn(host):
            return draw(arm.pipe, prompts, steps=arm.steps, alone=True)

    return call


def lost(row: dict, whole: dict) -> float:
    """Points of concept accuracy."""
    return 100 * (whole["concept top-1"] - row["concept top-1"])


def farther(row: dict, whole: dict) -> float:
    """Fréchet distance to real pictures, of the whole model's."""
    return row["frechet to real"] / whole["frechet to real"] if whole["frechet to real"] else 1.0


def good_enough(row: dict, whole: dict) -> bool:
    return lost(row, whole) <= POINTS and farther(row, whole) <= DISTANCE


def chosen(rows: list[dict]) -> str:
    """Of the arms that are good enough and sure to be fast, the one with the most to spare; fewer steps left aside.

    The fastest of those that just pass would owe it to chance. If none is so fast, the fastest good one; if none is
    good, the nearest.
    """
    whole, ours = rows[0], [row for row in rows[1:] if not row["arm"].startswith("fewer")]
    good = [row for row in ours if good_enough(row, whole)]
    sure = [row for row in good if row["speedup"] >= SURE]
    if sure:
        return min(sure, key=lambda row: max(lost(row, whole) / POINTS, (farther(row, whole) - 1) / (DISTANCE - 1)))[
            "arm"
        ]
    return max(good or ours, key=lambda row: row["speedup"] if good else -farther(row, whole))["arm"]


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
