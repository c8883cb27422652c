"""What `--speed` tells between computed calls: whole calls, or what is fed into the last layers; and how far along.

    python -m benchmarks.ladder.run             three samplers of 20 steps, 16 pictures; some ten minutes
    python -m benchmarks.ladder.run --quick     one sampler, two pictures, 6 steps

From this are `DAMPING` and `ENTERED` of `intarsia.lighten.speed`: what is told, and from which share of the MACs.
"""

import random
from itertools import product
from statistics import mean

import torch
import typer
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from rich.progress import track

from benchmarks.drawing import WATCHED, draw
from benchmarks.results import at_least, write_result
from intarsia import Extrapolate, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import branch_site, inherit, modes
from intarsia.lighten.search import keys_within
from intarsia.lighten.speed import DAMPING, ENTERED
from intarsia.plan.outline import HOST
from intarsia.shipped import model_folder

SAMPLERS = {"DDIM": DDIMScheduler, "DPM++ 2M": DPMSolverMultistepScheduler, "Euler a": EulerAncestralDiscreteScheduler}
FACTORS = (1.5, 2.0, 3.0)  # in MACs
DAMPINGS = (0.0, 0.5, 0.7, 1.0)


def main(quick: bool = typer.Option(False, help="A rehearsal.")) -> None:
    """Draw, compare, claim."""
    torch.set_grad_enabled(False)
    pipe = load_pipeline(model_folder("emoji"))
    known = [line for line in (model_folder("emoji") / "prompts.txt").read_text().splitlines() if line not in WATCHED]
    prompts, steps = random.Random(0).sample(known, 2 if quick else 16), 6 if quick else 20
    host = hosts.of(pipe.unet, batch=2, tokens=pipe.tokenizer.model_max_length)
    sites = {"whole calls": HOST, "branch 0": branch_site(host.outline, 0)}
    rows = []
    for sampler, kind in list(SAMPLERS.items())[: 1 if quick else None]:
        pipe.scheduler = kind.from_config(pipe.scheduler.config)
        calls = hosts.rows(pipe.scheduler, steps)
        whole = draw(pipe, prompts, steps=steps)
        for factor, (told, site), damping in track(
            list(product(FACTORS, sites.items(), DAMPINGS)), description=sampler
        ):
            keys = modes.even(calls, keys_within(host, site, calls, 1 / factor))
            plan = inherit(calls, keys=keys, sites=site, forecast=Extrapolate(1, damping))
            with rig.applied(plan, host):
                drawn = draw(pipe, prompts, steps=steps)
            near = mean(psnr(one, other) for one, other in zip(drawn, whole, strict=True))
            share = price(resolve(plan, host.outline)).macs_ratio
            rows.append({"sampler": sampler, "factor": factor, "told": told, "damping": damping, "macs_ratio": share,
                         "psnr": near})  # fmt: skip
            print(rows[-1])

    def found(sampler: str, factor: float, told: str) -> float:
        return next(
            row["psnr"] for row in rows
            if (row["sampler"], row["factor"], row["told"], row["damping"]) == (sampler, factor, told, DAMPING)
        )  # fmt: skip

    claims = []
    for sampler, factor in product(dict.fromkeys(row["sampler"] for row in rows), FACTORS):
        better, worse = sites if 1 / factor < ENTERED else reversed(sites)
        above = found(sampler, factor, better) - found(sampler, factor, worse)
        claims.append(at_least(f"{sampler} x{factor:g}: dB of {better} above {worse}", above, 0.0))
    write_result("ladder", rows, claims, {"quick": quick, "pictures": len(prompts), "steps": steps})


if __name__ == "__main__":
    typer.run(main)
