"""Ways to a smaller UNet, all trained for equal seconds: from scratch, on the task, as BK-SDM does, ours.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE ACCELERATE_MIXED_PRECISION=bf16
    torchrun --nproc-per-node 2 -m benchmarks.assemble.run      20 minutes an arm, 996 pictures an arm; hours
    python -m benchmarks.assemble.run --quick                   a rehearsal in under a minute; claims nothing

Needs what `recipes.base.run` keeps in `runs/base`, and the judge that `benchmarks.base_model.run` trains. Training
resumes after a kill; every arm's students are kept in `runs/assemble`.
"""

import functools
import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import typer
from accelerate import Accelerator

from benchmarks.base_model.exam import held_out
from benchmarks.drawing import draw, processes
from benchmarks.results import at_least, at_most, write_result
from intarsia import hosts, load_plan, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten.teach import Taught
from intarsia.shipped import model_folder, plan_file
from recipes.student.ways import BATCH, WAYS, Way, student_of, train

STEPS = 25  # sampler steps of the pictures that are judged
WIDE = 64  # latents of 512 px
SHORT = 8  # calls timed at once at the model's own size
EQUAL = 1.1  # seconds of two arms whose times count as equal
TRIALS = (15, 45)  # steps of two short trainings whose difference is timed; both have every stage of incubation


def main(
    quick: bool = typer.Option(False, help="A few steps and pictures, no claims worth anything."),
    plan: str = typer.Option("bk-base", help="What is left out."),
    minutes: float = typer.Option(20.0, help="Training time of each arm."),
    repeats: int = typer.Option(4, help="Pictures of each held-out cell."),
    rounds: int = typer.Option(9, help="Rounds of timing."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    runs: Path = typer.Option(Path("runs/assemble"), help="Where arms are kept."),
) -> None:
    """Train, judge, time."""
    state = processes()
    pipe = load_pipeline(model_folder("emoji"))
    teacher, chosen = pipe.unet, load_plan(plan_file(plan))
    runs = runs / ("quick" if quick else plan)
    if quick and state.is_main_process:
        shutil.rmtree(runs, ignore_errors=True)
    state.wait_for_everyone()
    exam = held_out(base, repeats=1 if quick else repeats, every=60 if quick else 1)

    unets: dict[str, torch.nn.Module] = {"teacher": teacher, "copied": student_of(teacher, chosen, Way())[0]}
    trained: dict[str, Taught] = {}
    for name, way in WAYS.items():
        steps = TRIALS[0] if quick else steps_within(minutes * 60, way, teacher, chosen, base, runs / name)
        unets[name], trained[name] = train(
            way, teacher, chosen, base, runs / name, steps=steps, batch=2 if quick else BATCH
        )

    drawn: dict[str, np.ndarray] = {}
    for name, unet in unets.items():
        # In training students had another order in memory than their teacher; all are timed as files give them.
        pipe.unet = unet.to(memory_format=torch.contiguous_format)
        drawn[name] = draw(pipe, exam.prompts, steps=3 if quick else STEPS)
    if not state.is_main_process:
        return

    seconds = timed(
        {name: unets[name] for name in ("teacher", "ours, no experts", "ours")}, pipe, 1 if quick else rounds
    )
    rows = []
    for name, unet in unets.items():
        rows.append({
            "arm": name,
            "parameters": sum(value.numel() for value in unet.parameters()),
            "macs": hosts.of(unet, tokens=pipe.tokenizer.model_max_length).outline.macs,
            **exam.row(drawn[name]),
            "median PSNR to the teacher": float(np.median([
                psnr(one, two) for one, two in zip(drawn[name], drawn["teacher"], strict=True)
            ])) if name != "teacher" else None,
            **({**trained[name].last, "seconds": trained[name].seconds} if name in trained else {}),
        })  # fmt: skip
    for size, taken in seconds.items():
        for name in taken.names[1:]:
            rows.append(
                {"arm": name, "size": size, "seconds, of the teacher": taken.ratio(name), "rounds": taken.rounds}
            )
    by_arm = {row["arm"]: row for row in rows if "macs" in row}
    claims = []
    if not quick:
        wide = seconds[f"{WIDE}x{WIDE} latents"]
        distance = {name: float(row["frechet to real"]) for name, row in by_arm.items()}
        plain = "ours, no experts"
        spent = [taught.seconds for taught in trained.values()]
        claims = [
            at_most("training seconds of the longest arm, of the shortest's", max(spent) / min(spent), EQUAL),
            at_least("student's speed at 512-px-like proportions, of the teacher's", wide.speedup("ours"), 1.29),
            at_most("student's Fréchet distance, of the teacher's", distance["ours"] / distance["teacher"], 1.05),
            at_most("student's Fréchet distance, of BK-SDM's recipe's", distance["ours"] / distance["bk-sdm"], 1.0),
            at_most("with experts, Fréchet distance of that without", distance["ours"] / distance[plain], 1.0),
            at_most("with experts, seconds of that without", experts_overhead(seconds), 1.02),
        ]
    settings = {
        "quick": quick,
        "plan": plan,
        "minutes": minutes,
        "processes": state.num_processes,
        "training precision": Accelerator().mixed_precision,
        "pictures": len(exam.wanted),
        "sampler steps": STEPS,
        "frechet of real training pictures": exam.floor,
    }
    write_result("assemble", rows, claims, settings)


def steps_within(seconds: float, way: Way, teacher, plan, base: Path, out: Path) -> int:
    """How many steps of a way fit into so many seconds, measured once and kept with the arm."""
    kept, state = out / "pace.json", processes()
    if not kept.exists():
        taken = []
        for steps in TRIALS:  # what both spend on their first steps does not count
            trial = out / f"trial-{steps}"
            state.wait_for_everyone()
            if state.is_main_process:
                shutil.rmtree(trial, ignore_errors=True)  # of a run that was killed: going on with it would look fast
            state.wait_for_everyone()
            taken.append(train(way, teacher, plan, base, trial, steps=steps)[1].seconds)
        if taken[0] >= taken[1]:
            raise SystemExit(
                f"{TRIALS[1]} steps of {out.name} took no longer than {TRIALS[0]}: the machine is too busy."
            )
        state.wait_for_everyone()
        if state.is_main_process:
            kept.write_text(json.dumps({"seconds a step": (taken[1] - taken[0]) / (TRIALS[1] - TRIALS[0])}))
            for steps in TRIALS:
                shutil.rmtree(out / f"trial-{steps}")
        state.wait_for_everyone()
    return int(seconds / json.loads(kept.read_text())["seconds a step"])


@torch.no_grad()
def timed(unets: dict, pipe, rounds: int) -> dict[str, rig.meter.Seconds]:
    """Calls at the model's own size and at 512-px-like proportions, guidance's two predictions in one batch."""
    found = {}
    for side in (pipe.unet.config.sample_size, WIDE):
        generator = torch.Generator().manual_seed(0)
        channels, width = pipe.unet.config.in_channels, pipe.unet.config.cross_attention_dim
        sample = torch.randn(2, channels, side, side, generator=generator)
        words = torch.randn(2, pipe.tokenizer.model_max_length, width, generator=generator)
        time_step = int(pipe.scheduler.timesteps[0])
        count = 1 if side == WIDE else SHORT
        calls = {
            name: repeated(functools.partial(unet, sample, time_step, words), count) for name, unet in unets.items()
        }
        found[f"{side}x{side} latents"] = rig.measure_seconds(calls, rounds=rounds, warmups=2)
    return found


def repeated(call: Callable[[], object], count: int) -> Callable[[], None]:
    """A call so many times: what is short is timed by the dozen."""

    def calls() -> None:
        for _ in range(count):
            call()

    return calls


def experts_overhead(seconds: dict[str, rig.meter.Seconds]) -> float:
    """Seconds with experts over seconds without in the same round: the larger of the medians at the two sizes."""

    def ratios(taken: rig.meter.Seconds) -> list[float]:
        with_experts, without = (taken.names.index(name) for name in ("ours", "ours, no experts"))
        return [times[with_experts] / times[without] for times in taken.rounds]

    return max(statistics.median(ratios(taken)) for taken in seconds.values())


if __name__ == "__main__":
    typer.run(main)
