"""How near to the whole model's pictures is each way of saving MACs?

    python -m benchmarks.inherit_quality.run             512 pictures an arm, DDIM 50 and DPM++ 2M 25; hours
    python -m benchmarks.inherit_quality.run --quick     8 pictures, one budget, under a minute

Every arm's pictures are kept in `runs/inherit_quality`, so a killed run goes on where it was. What the search
and the fits watch (`WATCHED`) is disjoint from what is reported.
"""

import functools
import json
import random
import statistics
from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from PIL import Image
from rich.progress import track
from torchmetrics.functional.image import structural_similarity_index_measure

from benchmarks.inherit_quality.arms import SPEEDUPS_IN_MACS, Arm, arms
from benchmarks.results import Claim, at_least, write_result
from intarsia import Plan, hosts, price, resolve, rig
from intarsia.eval import psnr
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten.search import watch
from intarsia.shipped import model_folder

GUIDANCE, BATCH = 3.0, 32
WATCHED = ("a fox in noto style", "a red apple in 3d style", "a guitar in high contrast style", "a tree in flat style")
SAMPLERS = {"DDIM": (DDIMScheduler, 50), "DPM++ 2M": (DPMSolverMultistepScheduler, 25)}
WANTED = {2.0: 4.0, 3.0: 4.0, 4.0: 2.0}  # decibels above fewer steps
ABOVE_DEEPCACHE = 7.0


def reported_prompts(runs: Path, count: int) -> list[dict]:
    """Cells to draw, none of which was watched."""
    listed = json.loads((runs / "pictures/cells.json").read_text())
    cells = [
        {"prompt": f"{listed['concepts'][cell['concept']]['label']} in {cell['style']} style", **cell}
        for cell in listed["cells"]
        if cell["part"] != "concept"
    ]
    watched = {prompt.removeprefix("a ") for prompt in WATCHED}
    return random.Random(0).sample([cell for cell in cells if cell["prompt"] not in watched], count)


def draw(pipe, prompts: list[str], steps: int, seed: int, output: str = "pil") -> list:
    """Pictures or latents, with a seed of its own for each place in the list."""
    drawn = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        generators = [torch.Generator().manual_seed(seed + start + place) for place in range(len(part))]
        drawn += pipe(
            part, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators, output_type=output
        ).images
    return drawn


def pictures_of(pipe, host, arm: Arm, cells: list[dict], steps: int, keep: Path) -> list[Image.Image]:
    """An arm's pictures, drawn or taken from an earlier run."""
    path = keep / f"{arm.name.replace(' ', '-').replace(',', '').replace('+', 'p')}.npy"
    if not path.exists():
        with rig.applied(arm.plan or Plan(hosts.rows(pipe.scheduler, arm.steps or steps)), host):
            drawn = draw(pipe, [cell["prompt"] for cell in cells], arm.steps or steps, seed=10_000)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack([np.asarray(picture) for picture in drawn]))
    return [Image.fromarray(picture) for picture in np.load(path)]


def ssim(drawn: list[Image.Image], whole: list[Image.Image]) -> float:
    """Mean structural similarity, 1 for equal pictures."""
    stacked = (np.stack([np.asarray(picture) for picture in side]) for side in (drawn, whole))
    some, others = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() for pictures in stacked)
    return float(structural_similarity_index_measure(some, others, data_range=255.0))


def claims_of(rows: list[dict]) -> list[Claim]:
    """The best plan of ours beside DeepCache and beside fewer steps, at each budget."""
    ours = ("even", "searched", "front", "middle", "back")
    claims = []
    for sampler, factor in sorted({(row["sampler"], row["factor"]) for row in rows}):
        here = {row["family"]: row["psnr"] for row in rows if (row["sampler"], row["factor"]) == (sampler, factor)}
        best = max(value for family, value in here.items() if family.startswith(ours))
        wanted = {"fewer steps": WANTED.get(factor, 0.0), "DeepCache": ABOVE_DEEPCACHE if factor in WANTED else 0.0}
        for rival, target in wanted.items():
            if rival in here:
                name = f"{sampler} x{factor:g}: dB above {rival}"
                claims.append(at_least(name, best - here[rival], target if sampler == "DDIM" else 0.0))
    return claims


def main(
    quick: bool = typer.Option(False, help="A rehearsal."),
    pictures: int = typer.Option(512, help="Pictures an arm."),
    runs: Path = typer.Option(Path("runs/base"), help="Where the recipe keeps its pictures."),
    keep: Path = typer.Option(Path("runs/inherit_quality"), help="Where drawn pictures are kept."),
) -> None:
    """Draw, compare, claim."""
    pipe = load_pipeline(model_folder("emoji"))
    host = hosts.of(pipe.unet, batch=2, tokens=pipe.tokenizer.model_max_length)
    cells = reported_prompts(runs, 8 if quick else pictures)
    keep = keep / ("quick" if quick else f"{pictures}")
    rows: list[dict] = []
    for sampler, (kind, steps) in list(SAMPLERS.items())[: 1 if quick else None]:
        steps = 12 if quick else steps
        pipe.scheduler = kind.from_config(pipe.scheduler.config)
        calls = hosts.rows(pipe.scheduler, steps)
        folder = keep / sampler.replace(" ", "-").replace("+", "p")
        whole = pictures_of(pipe, host, Arm("whole", 1.0), cells, steps, folder)

        @functools.cache
        def watched(site: str, steps: int = steps, calls: int = calls):
            return watch(host, site, lambda: torch.stack(list(draw(pipe, list(WATCHED), steps, 0, "latent"))), calls)

        for arm in track(list(arms(host, calls, steps, watched, quick)), description=sampler):
            drawn = pictures_of(pipe, host, arm, cells, steps, folder)
            near = [psnr(one, other) for one, other in zip(drawn, whole, strict=True)]
            share = arm.steps / steps if arm.plan is None else price(resolve(arm.plan, host.outline)).macs_ratio
            row = {
                "sampler": sampler,
                "family": arm.family,
                "factor": arm.factor,
                "macs_ratio": share,
                "psnr": statistics.mean(near),
                "psnr_deviation": statistics.pstdev(near),
                "ssim": ssim(drawn, whole),
                "plan": None if arm.plan is None else str(arm.plan.made_by),
            }
            rows.append(row)
            print(f"{sampler:10} {arm.name:34} {share:6.1%} of the MACs  {row['psnr']:6.2f} dB  SSIM {row['ssim']:.4f}")
    settings = {"quick": quick, "pictures": len(cells), "guidance": GUIDANCE, "budgets": list(SPEEDUPS_IN_MACS)}
    write_result("inherit_quality", rows, claims_of(rows), settings)


if __name__ == "__main__":
    typer.run(main)
