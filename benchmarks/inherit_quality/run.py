"""How near to the whole model's pictures is each way of saving MACs?

    torchrun --nproc-per-node 2 -m benchmarks.inherit_quality.run     512 pictures an arm, two samplers; hours
    python -m benchmarks.inherit_quality.run --quick     8 pictures, one budget, under a minute

Every arm's pictures are kept in `runs/inherit_quality`, so a killed run goes on where it was. What the search
and the fits watch (`WATCHED`) is disjoint from what is reported.
"""

import functools
import random
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from rich.progress import track
from torchmetrics.functional.image import structural_similarity_index_measure

from benchmarks import rivals
from benchmarks.base_model.exam import Exam
from benchmarks.base_model.judge import trained
from benchmarks.base_model.world import taught_world
from benchmarks.drawing import WATCHED, draw, processes
from benchmarks.inherit_quality.arms import ROUNDED_UP, SPEEDUPS_IN_MACS, Arm, arms
from benchmarks.keeping import drawn_by, judged, kept_pictures, sampled_by
from benchmarks.results import Claim, at_least, at_most, write_result
from benchmarks.watching import kept_watch
from intarsia import Plan, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.plan.text import write_plan
from intarsia.shipped import GUIDANCE, model_folder

SEED = 10_000
SAMPLERS = {"DDIM": (DDIMScheduler, 50), "DPM++ 2M": (DPMSolverMultistepScheduler, 25)}
WANTED = {2.0: 4.0, 3.0: 4.0, 4.0: 2.0}  # decibels above fewer steps
ABOVE_DEEPCACHE = 7.0


def reported_prompts(runs: Path, count: int, *, again: bool = False) -> list[dict]:
    """Cells to draw, none of which was watched; with `again`, one may come several times, with other seeds."""
    cells = [cell for cell in taught_world(runs).cells if cell["part"] != "concept"]
    unwatched = [cell for cell in cells if cell["prompt"] not in WATCHED]
    return random.Random(0).choices(unwatched, k=count) if again else random.Random(0).sample(unwatched, count)


def exam_of(runs: Path, cells: list[dict]) -> Exam:
    """What drawn pictures of these cells show, and how near they are to all real pictures that were taught."""
    world = taught_world(runs)
    return Exam(world, trained(runs, world), cells, world.rows("train"))


def pictures_of(pipe, host, arm: Arm, cells: list[dict], steps: int, keep: Path, weights: str) -> np.ndarray:
    """An arm's pictures in bytes, drawn or taken from an earlier run of the same weights, plan and cells."""
    calls = arm.steps or steps
    plan = arm.plan or Plan(hosts.rows(pipe.scheduler, calls))
    prompts = [cell["prompt"] for cell in cells]

    def make() -> np.ndarray:
        if arm.gate is None:
            with rig.applied(plan, host):
                return draw(pipe, prompts, steps=calls, seed=SEED)
        with rivals.tgate(pipe, arm.gate) as by_gate:
            return draw(by_gate, prompts, steps=calls, seed=SEED)

    told = [weights, sampled_by(pipe.scheduler), calls, arm.gate, GUIDANCE, SEED, write_plan(plan), *prompts]
    return kept_pictures(keep, told, make)


def ssim(drawn: np.ndarray, whole: np.ndarray) -> float:
    """Mean structural similarity, 1 for equal pictures."""
    some, others = (torch.from_numpy(side).permute(0, 3, 1, 2).float() for side in (drawn, whole))
    return float(structural_similarity_index_measure(some, others, data_range=255.0))


def claims_of(rows: list[dict]) -> list[Claim]:
    """The best plan of ours beside DeepCache and beside fewer steps, at each budget.

    Rivals keep to the budget as ours do, so fewer steps are as many as it has room for; one step more is told in the
    rows. DeepCache computes on every n-th call, which may leave some of a budget over; beside it stands the same with
    the whole budget spent (`even, held`), and the better of the two is the rival. Our best is chosen on the first
    half of the pictures; what is claimed of it, and of the rivals, is seen on the second.
    """
    claims = []
    for sampler, factor in sorted({(row["sampler"], row["factor"]) for row in rows if row["factor"] > 1}):
        here = {row["family"]: row for row in rows if (row["sampler"], row["factor"]) == (sampler, factor)}
        theirs = {"fewer steps": ["fewer steps"], "DeepCache": ["DeepCache", "even, held"], "T-GATE": ["T-GATE"]}
        ours = here.keys() - {family for families in theirs.values() for family in families} - {ROUNDED_UP}
        best = here[max(ours, key=lambda family: here[family]["psnr, first half"])]
        wanted = {
            "fewer steps": WANTED.get(factor, 0.0), "T-GATE": 0.0,
            "DeepCache": ABOVE_DEEPCACHE if factor in WANTED else 0.0,
        }  # fmt: skip
        for rival, families in theirs.items():
            known = [here[family]["psnr, second half"] for family in families if family in here]
            if known:
                target = wanted[rival] if sampler == "DDIM" else 0.0
                name = f"{sampler} x{factor:g}: dB of '{best['family']}' above {rival}"
                claims.append(at_least(name, best["psnr, second half"] - max(known), target))
        whole = next((row for row in rows if row["sampler"] == sampler and row["family"] == "whole"), {})
        if factor == 3.0 and "concept top-1" in best:
            lost = 100 * (whole["concept top-1"] - best["concept top-1"])
            claims.append(at_most(f"{sampler} x3: points of concept accuracy lost by '{best['family']}'", lost, 1.0))
    return claims


def share_of(pipe, host, arm: Arm, steps: int, one) -> float:
    """An arm's MACs over the whole run's: priced where there is a plan, counted where T-GATE draws."""
    if arm.gate is not None:
        with rig.count_macs() as whole:
            one(pipe)
        with rivals.tgate(pipe, arm.gate) as by_gate, rig.count_macs() as macs:
            one(by_gate)
        return macs.total / whole.total
    if arm.plan is None:
        return (arm.steps or steps) / steps
    return price(resolve(arm.plan, host.outline)).macs_ratio


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    pictures: int = typer.Option(512, help="Pictures an arm."),
    runs: Path = typer.Option(Path("runs/base"), help="Where the recipe keeps its pictures."),
    keep: Path = typer.Option(Path("runs/inherit_quality"), help="Where drawn pictures are kept."),
) -> None:
    """Draw, compare, claim."""
    torch.set_grad_enabled(False)
    pipe = load_pipeline(model_folder("emoji"))
    host = hosts.of(pipe.unet, batch=2, tokens=pipe.tokenizer.model_max_length)
    cells = reported_prompts(runs, 8 if quick else pictures)
    weights = drawn_by(pipe)
    exam = None if quick else exam_of(runs, cells)
    rows: list[dict] = []
    for sampler, (kind, steps) in list(SAMPLERS.items())[: 1 if quick else None]:
        steps = 12 if quick else steps
        pipe.scheduler = kind.from_config(pipe.scheduler.config)
        calls = hosts.rows(pipe.scheduler, steps)
        whole = pictures_of(pipe, host, Arm("whole", 1.0), cells, steps, keep, weights)

        watched = functools.cache(
            partial(kept_watch, host, pipe=pipe, steps=steps, calls=calls, keep=keep, weights=weights)
        )

        def one(call, steps: int = steps) -> None:
            draw(call, WATCHED[:1], steps=steps, latents=True, alone=True)

        candidates = [Arm("whole", 1.0), *arms(host, calls, steps, watched, quick)]
        for factor in (1.4, 2.0):
            gate = rivals.gate_within(pipe, one, steps, 1 / factor)
            candidates += [] if gate is None else [Arm("T-GATE", factor, gate=gate)]
        for arm in track(candidates, description=sampler):
            drawn = pictures_of(pipe, host, arm, cells, steps, keep, weights)
            near = [psnr(one, other) for one, other in zip(drawn, whole, strict=True)]
            row = {
                "sampler": sampler,
                "family": arm.family,
                "factor": arm.factor,
                "macs_ratio": share_of(pipe, host, arm, steps, one),
                "psnr": statistics.mean(near),
                "psnr, first half": statistics.mean(near[: len(near) // 2]),
                "psnr, second half": statistics.mean(near[len(near) // 2 :]),
                "psnr_deviation": statistics.pstdev(near),
                "ssim": ssim(drawn, whole),
                "plan": None if arm.plan is None else str(arm.plan.made_by),
                **(judged(exam, drawn, whole, keep) if exam else {}),
            }
            rows.append(row)
            print(f"{sampler:10} {arm.name:34} {row['macs_ratio']:6.1%} of the MACs  {row['psnr']:6.2f} dB")
    if not processes().is_main_process:
        return
    settings = {"quick": quick, "pictures": len(cells), "guidance": GUIDANCE, "budgets": list(SPEEDUPS_IN_MACS)}
    write_result("inherit_quality", rows, claims_of(rows), settings)


if __name__ == "__main__":
    typer.run(main)
