"""How good is the shipped model? Generated pictures beside real ones, under one judge.

    python -m benchmarks.base_model.run            2,241 pictures of held-out cells; an hour
    python -m benchmarks.base_model.run --quick    a rehearsal in under a minute
    torchrun --nproc-per-node 2 -m benchmarks.base_model.run --half    by two processes in bfloat16: minutes

Needs the pictures of `recipes.base.run pictures` and `pip install -e '.[recipes,eval]'`.
"""

from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks.base_model import distances
from benchmarks.base_model.exam import held_out
from benchmarks.base_model.judge import returned
from benchmarks.drawing import draw, processes
from benchmarks.results import at_least, write_result
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import GUIDANCE, model_folder

STEPS = 25
TARGETS = {"concept top-5": 0.6, "subgroup": 0.7, "style": 0.8}  # shares of the ceiling


def main(
    quick: bool = typer.Option(False, help="Few pictures, no claims worth anything."),
    model: str = typer.Option("emoji", help="The model to judge."),
    runs: Path = typer.Option(Path("runs/base"), help="Where the recipe keeps its pictures."),
    judge_steps: int = typer.Option(2500, help="Training steps of the judge, of all processes, if `weights/` is gone."),
    pictures: int = typer.Option(9, help="Pictures of each held-out cell."),
    half: bool = typer.Option(False, help="Draw in bfloat16: less than half the time where the processor has it."),
) -> None:
    """Generate, judge, compare."""
    pipe = load_pipeline(model_folder(model), dtype=torch.bfloat16 if half else torch.float32)
    rows, found = [], {}
    for part, repeats in (("cell", 1),) if quick else (("cell", pictures), ("concept", 1)):
        exam = held_out(runs, part=part, repeats=repeats, every=10 if quick else 1, judge_steps=judge_steps)
        drawn = draw(pipe, exam.prompts, steps=STEPS)
        if not processes().is_main_process:
            continue
        world, train = exam.world, exam.world.rows("train")
        judged = exam.judge(drawn)
        near_rows, near_psnr = distances.nearest(drawn, world.pictures[train])
        _, real_psnr = distances.nearest(world.pictures[exam.near], world.pictures[train])
        same = [
            world.cells[train[near]]["concept"] == cell["concept"]
            for near, cell in zip(near_rows, exam.wanted, strict=True)
        ]
        found[part] = {
            "part": {"cell": "held-out cells", "concept": "held-out concepts"}[part],
            "pictures": len(drawn),
            "reached": exam.scores(judged),
            "ceiling": exam.ceiling(),
            "real pictures through the autoencoder": exam.scores(
                exam.judge(returned(pipe.vae, world.pictures[exam.near])), [world.cells[row] for row in exam.near]
            ),
            "frechet": distances.frechet(judged["features"], exam.real["features"]) if part == "cell" else None,
            "kernel": distances.kernel(judged["features"], exam.real["features"]),
            "nearest training picture": {
                "median PSNR": float(np.median(near_psnr)),
                "share above 25 dB": float((near_psnr > 25).mean()),
                "share of the concept asked for": float(np.mean(same)),
                "median PSNR of real held-out pictures": float(np.median(real_psnr)),
            },
        }
        rows.append(found[part])
        sheet = drawn[:: max(1, len(drawn) // 96)][:96]
        sheet = sheet[: len(sheet) // 16 * 16 or len(sheet)]
        wide = min(16, len(sheet))
        grid = sheet.reshape(-1, wide, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(-1, wide * 64, 3)
        Image.fromarray(grid).save(runs / f"judged-{part}.png")

    if not processes().is_main_process:
        return
    ceiling, reached = found["cell"]["ceiling"], found["cell"]["reached"]
    claims = [
        at_least(f"{name}, share of the ceiling, held-out cells", reached[name] / ceiling[name], target)
        for name, target in TARGETS.items()
    ]
    settings = {
        "quick": quick,
        "model": model,
        "guidance": GUIDANCE,
        "steps": STEPS,
        "scheduler": type(pipe.scheduler).__name__,
        "dtype": str(pipe.unet.dtype),
    }
    write_result("base_model" if model == "emoji" else f"base_model-{Path(model).name}", rows, claims, settings)


if __name__ == "__main__":
    typer.run(main)
