"""Ways to a smaller UNet, all trained for equal seconds: from scratch, on the task, as BK-SDM does, ours; and the
student that ships, which was trained for longer.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE ACCELERATE_MIXED_PRECISION=bf16
    torchrun --nproc-per-node 2 -m benchmarks.assemble.run      4 minutes an arm, 996 pictures an arm; two hours
    python -m benchmarks.assemble.run --quick                   a rehearsal in a minute; claims nothing

Needs what `recipes.base.run` keeps in `runs/base`, and the judge that `benchmarks.base_model.run` trains. Everything
is kept in `runs/assemble`: a killed run goes on. Pictures are drawn in bfloat16, seconds taken in single precision.
"""

import copy
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import typer
from accelerate import Accelerator

from benchmarks.assemble.arms import OURS, PLAIN, RIVAL, TRIALS, Arm, arms_of, paces, plan_of, settled_ways
from benchmarks.assemble.timing import WIDE, overhead, size_of, timed
from benchmarks.base_model.exam import held_out
from benchmarks.drawing import draw, processes
from benchmarks.keeping import drawn_by, kept_pictures
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia import hosts
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder, model_names
from recipes.student.ways import BATCH, Way, student_of, train

STEPS = 25  # sampler steps of the pictures that are judged
REHEARSAL = {"steps": 2, "batch": 2, "draws": 1, "rates": (3e-4,)}
EQUAL = 1.1  # seconds of any two arms whose times count as equal
CLOSE = 1.05  # of two that are set beside each other, mean over seeds
SEEDS_APART = 100  # each training takes a few seeds from its own on, one a stage


def main(
    quick: bool = typer.Option(False, help="A few steps and pictures, no claims worth anything."),
    plan: str = typer.Option("bk-base", help="What is left out in the arms of equal seconds."),
    also: str = typer.Option("emoji-light", help="Another plan for two more arms, ours and BK-SDM's recipe."),
    shipped: str = typer.Option("emoji-light", help="The student that ships."),
    minutes: float = typer.Option(4.0, help="Training time of each arm."),
    seeds: int = typer.Option(3, help="Trainings of BK-SDM's recipe, of ours with experts and without."),
    repeats: int = typer.Option(4, help="Pictures of each held-out cell."),
    rounds: int = typer.Option(31, help="Rounds of timing."),
    trial: int = typer.Option(100, help="Steps of each training that settles a learning rate."),
    pace_rounds: int = typer.Option(2, help="Rounds in which the pace of training is taken."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    runs: Path = typer.Option(Path("runs/assemble"), help="Where arms and pictures are kept."),
) -> None:
    """Settle rates, take the pace, train, draw, judge, time."""
    if also == plan:
        raise typer.BadParameter(f"--also: another plan than {plan!r}, which has its arms already.")
    state = processes()
    pipe = load_pipeline(model_folder("emoji"))
    teacher, runs = pipe.unet, runs / ("quick" if quick else "arms")
    student = load_pipeline(model_folder(shipped)).unet if shipped in model_names() or not quick else None
    if quick and state.is_main_process:
        shutil.rmtree(runs, ignore_errors=True)
    state.wait_for_everyone()
    exam = held_out(base, repeats=1 if quick else repeats, every=60 if quick else 1, near="train")

    arms = arms_of(plan, 1 if quick else seeds, also)
    ways = settled_ways(arms, teacher, base, runs, **(REHEARSAL if quick else {"steps": trial}))
    pace = {} if quick else paces(ways, teacher, base, runs, pace_rounds)
    unets: dict[str, torch.nn.Module] = {"teacher": teacher, "copied": student_of(teacher, plan_of(plan), Way())[0]}
    told: dict[str, dict] = {}
    for arm in arms:
        way, seconds = ways[arm.way, arm.plan], pace.get((arm.way, arm.plan), 0.0)
        steps = TRIALS[0] if quick else int(minutes * 60 / seconds)
        unets[arm.name], done = train(
            way, teacher, plan_of(arm.plan), base, runs / arm.name,
            steps=steps, batch=2 if quick else BATCH, seed=SEEDS_APART * arm.seed,
        )  # fmt: skip
        told[arm.name] = {
            **done.last, "rate": way.rate, "incubated": way.incubate, "steps": steps, "seconds a step": seconds,
            "wall seconds": done.seconds,
        }  # fmt: skip
    if student is not None:
        unets[shipped] = student
        told[shipped] = json.loads((model_folder(shipped) / "distilled.json").read_text())

    for unet in unets.values():  # in training some had another order in memory; all are timed as files give them
        unet.to(memory_format=torch.contiguous_format)
    drawing = load_pipeline(model_folder("emoji"), dtype=torch.bfloat16)
    drawn: dict[str, np.ndarray] = {}
    for name, unet in unets.items():
        drawing.unet = torch.nn.Module.to(copy.deepcopy(unet), torch.bfloat16)  # diffusers' own warns in vain
        steps = 3 if quick else STEPS
        drawn[name] = kept_pictures(
            runs / "pictures", [drawn_by(drawing), drawing.unet.config, steps, *exam.prompts],
            lambda steps=steps: draw(drawing, exam.prompts, steps=steps),
        )  # fmt: skip
    if not state.is_main_process:
        return

    first = {arm.way: arm.name for arm in reversed(arms) if arm.plan == plan}
    raced = [name for name in ("teacher", first[PLAIN], first[OURS], shipped) if name in unets]
    sides = [teacher.config.sample_size, *([] if quick else [WIDE])]
    seconds = timed({name: unets[name] for name in raced}, pipe, 1 if quick else rounds, sides)
    rows: list[dict] = [
        {
            "arm": name,
            "parameters": sum(value.numel() for value in unet.parameters()),
            "macs": hosts.of(unet, tokens=pipe.tokenizer.model_max_length).outline.macs,
            **exam.row(drawn[name]),
            "median PSNR to the teacher": float(np.median([
                psnr(one, two) for one, two in zip(drawn[name], drawn["teacher"], strict=True)
            ])) if name != "teacher" else None,
            **told.get(name, {}),
        }
        for name, unet in unets.items()
    ]  # fmt: skip
    for row in rows:
        row["frechet above the floor, of the teacher's"] = exam.above_floor(row, rows[0])
    by_name = {row["arm"]: row for row in rows}
    for size, taken in seconds.items():
        for name in taken.names[1:]:
            ratio = {"seconds, of the teacher": taken.ratio(name), "rounds": taken.rounds}
            rows.append({"arm": name, "size": size, **ratio})
    claims = [] if quick else [
        at_least("student's speed at 512-px-like proportions, of the teacher's",
                 seconds[size_of(WIDE)].speedup(shipped), 1.29),
        at_most("student's Fréchet distance, of the teacher's",
                by_name[shipped]["frechet to real"] / by_name["teacher"]["frechet to real"], 1.05),
        at_most("student's Fréchet distance above the floor, of the teacher's",
                by_name[shipped]["frechet above the floor, of the teacher's"], 1.05),
        at_most("with experts, seconds of that without", overhead(seconds, first[OURS], first[PLAIN]), 1.02),
        *compared(arms, {name: row["frechet to real"] for name, row in by_name.items()},
                  {arm.name: told[arm.name]["wall seconds"] for arm in arms}),
    ]  # fmt: skip
    settings = {
        "quick": quick, "plan": plan, "also": also, "shipped": shipped, "minutes": minutes, "seeds": seeds,
        "trial": trial, "processes": state.num_processes, "training precision": Accelerator().mixed_precision,
        "drawing precision": "bfloat16", "pictures": len(exam.wanted), "sampler steps": STEPS,
        "frechet of real training pictures": exam.floor,
    }  # fmt: skip
    write_result("assemble", rows, claims, settings)


def pairs_of(arms: Sequence[Arm]) -> dict[str, tuple[list[str], list[str]]]:
    """What is set beside what: the names of arms, over all seeds."""
    plan = arms[0].plan
    also = next(arm.plan for arm in arms if arm.plan != plan)

    def named(way: str, shape: str) -> list[str]:
        return [arm.name for arm in arms if (arm.way, arm.plan) == (way, shape)]

    return {
        "ours, of BK-SDM's recipe's": (named(OURS, plan), named(RIVAL, plan)),
        "with experts, of that without": (named(OURS, plan), named(PLAIN, plan)),
        f"ours, of BK-SDM's recipe's, both on '{also}'": (named(OURS, also), named(RIVAL, also)),
        f"ours on '{also}', of BK-SDM's recipe's on '{plan}'": (named(OURS, also), named(RIVAL, plan)),
    }


def compared(arms: Sequence[Arm], distance: Mapping[str, float], seconds: Mapping[str, float]) -> list[Claim]:
    """What is claimed of arms of equal seconds; and that they are equal, in the run itself."""

    def ratio(values: Mapping[str, float], pair: tuple[list[str], list[str]]) -> float:
        one, other = (statistics.mean(values[name] for name in names) for names in pair)
        return one / other

    pairs = pairs_of(arms)
    return [
        at_most("training seconds of the longest arm, of the shortest's",
                max(seconds.values()) / min(seconds.values()), EQUAL),
        *(at_most(f"Fréchet distance, mean over seeds: {told}", ratio(distance, pair), 1.0)
          for told, pair in pairs.items()),
        *(at_most(f"training seconds, mean over seeds: {told}", ratio(seconds, pair), CLOSE)
          for told, pair in pairs.items()),
    ]  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
