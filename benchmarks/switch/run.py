"""How should two UNets share the calls of a run? A sweep of shares in four orders, all judged alike.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.switch.run    498 pictures a point, 25 steps; an hour
    python -m benchmarks.switch.run --quick     a rehearsal in under a minute; claims nothing

The search watches prompts that are not reported. Pictures are drawn in single precision, for PSNR is claimed, and kept
in `runs/switch`; seconds are taken by one process.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import typer

from benchmarks.base_model.exam import held_out
from benchmarks.drawing import WATCHED, draw, processes
from benchmarks.keeping import drawn_by, kept_pictures
from benchmarks.results import at_least, write_result
from intarsia import Plan, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten.switch import ORDERS, search_switch, sensitivity_of, switch
from intarsia.plan.text import write_plan
from intarsia.shipped import model_folder

SHARES = (0.2, 0.4, 0.6, 0.8)  # of the calls, answered by the small UNet
TIMED = 8  # pictures drawn at once while seconds are taken


def main(
    quick: bool = typer.Option(False, help="A few pictures and calls, no claims worth anything."),
    small: str = typer.Option("emoji-light", help="The model that answers some of the calls."),
    repeats: int = typer.Option(2, help="Pictures of each held-out cell."),
    rounds: int = typer.Option(5, help="Interleaved rounds of timing."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    keep: Path = typer.Option(Path("runs/switch"), help="Where drawn pictures are kept: a killed run goes on."),
) -> None:
    """Search, draw, judge, time."""
    state = processes()
    torch.set_grad_enabled(False)
    steps = 5 if quick else 25
    pipe, smaller = load_pipeline(model_folder("emoji")), load_pipeline(model_folder(small))
    sizes = {"batch": 2, "tokens": pipe.tokenizer.model_max_length}
    host, others = hosts.of(pipe.unet, **sizes), {"small": hosts.of(smaller.unet, **sizes)}
    outlines = {"small": others["small"].outline}
    rows = hosts.rows(pipe.scheduler, steps)
    cost = outlines["small"].macs / host.outline.macs

    exam = held_out(base, repeats=1 if quick else repeats, every=60 if quick else 1, near="train")

    def watched() -> torch.Tensor:
        return draw(pipe, WATCHED, steps=steps, latents=True, alone=True)

    plans: dict[tuple[str, float], Plan] = {
        ("whole", 0.0): Plan(rows),
        ("small alone", 1.0): switch(rows, {"small": range(rows)}),
    }
    calls_a_step = pipe.scheduler.order
    seen = sensitivity_of(host, others, watched, rows, calls_a_step)
    for share in SHARES[1:2] if quick else SHARES:
        count = round(share * rows)
        for name, chosen in ORDERS.items():
            plans[name, share] = switch(rows, {"small": chosen(rows, count)})
        budget = (rows - count + count * cost) / rows
        plans["searched", share] = search_switch(
            host, others, watched, rows, budget, order=calls_a_step, seen=seen
        ).plan

    weights = [drawn_by(pipe), drawn_by(smaller)]

    def pictures(plan: Plan) -> np.ndarray:
        def make() -> np.ndarray:
            with rig.applied(plan, host, others=others):
                return draw(pipe, exam.prompts, steps=steps)

        return kept_pictures(keep, [weights, steps, write_plan(plan), *exam.prompts], make)

    found, drawn = [], {}
    for (order, share), plan in plans.items():
        drawn[order, share] = pictures(plan)
        if not state.is_main_process:
            continue
        near = [psnr(one, two) for one, two in zip(drawn[order, share], drawn["whole", 0.0], strict=True)]
        found.append({
            "order": order, "share": share,
            "macs_ratio": price(resolve(plan, host.outline, others), outlines).macs_ratio,
            "rows": [row for row, name in enumerate(resolve(plan, host.outline, others).answering) if name],
            "median PSNR": float(np.median(near)) if share else None,
            **exam.row(drawn[order, share]),
        })  # fmt: skip
        found[-1]["frechet above the floor, of the whole model's"] = exam.above_floor(found[-1], found[0])
        print(found[-1])
    if not state.is_main_process:
        return

    def under(plan: Plan) -> Callable[[], object]:
        def call() -> object:
            with rig.applied(plan, host, others=others):
                return draw(pipe, exam.prompts[:TIMED], steps=steps, alone=True)

        return call

    raced = {
        f"{order} {share}": under(plan)
        for (order, share), plan in plans.items()
        if order in ("whole", "first", "small alone")
    }
    seconds = rig.measure_seconds(raced, rounds=1 if quick else rounds)
    found += [{"plan": name, "speedup": seconds.speedup(name), "ratio": seconds.ratio(name)} for name in raced]
    by_order = functools.partial(mean_psnr, found)
    rival = max(ORDERS, key=by_order)
    claims = [] if quick else [
        at_least(f"dB of the searched order above '{rival}', the best fixed one, mean over shares",
                 by_order("searched") - by_order(rival), 0.0)
    ]  # fmt: skip
    settings = {
        "quick": quick,
        "small": small,
        "pictures": len(exam.wanted),
        "steps": steps,
        "shares": list(SHARES),
        "frechet of real training pictures": exam.floor,
    }
    write_result("switch", found, claims, settings)


def mean_psnr(found: list[dict], order: str) -> float:
    """Median PSNR to the whole model's pictures, averaged over the shares."""
    return float(np.mean([row["median PSNR"] for row in found if row.get("order") == order]))


if __name__ == "__main__":
    typer.run(main)
