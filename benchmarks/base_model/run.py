"""How good is the shipped model? Generated pictures beside real ones, under one judge.

    python -m benchmarks.base_model.run            2,241 pictures of held-out cells (an hour, and another for the judge)
    python -m benchmarks.base_model.run --quick    a rehearsal in under a minute, if the judge is trained
    torchrun --nproc-per-node 2 -m benchmarks.base_model.run    the same, by two processes

Needs the pictures of `recipes.base.run pictures` and `pip install -e '.[recipes,eval]'`.
"""

import json
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from benchmarks.base_model import distances
from benchmarks.base_model.judge import trained
from benchmarks.drawing import GUIDANCE, draw, processes
from benchmarks.results import at_least, write_result
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder
from recipes.base.captions import article
from recipes.base.concepts import taught

STEPS = 25
TARGETS = {"concept top-5": 0.6, "subgroup": 0.7, "style": 0.8}  # shares of the ceiling


def taught_world(runs: Path) -> tuple[np.ndarray, list[dict], list[dict], list[str]]:
    """Pictures, cells, concepts and styles of what the denoiser was to learn, held-out ones among them."""
    listed = json.loads((runs / "pictures/cells.json").read_text())
    pictures = np.load(runs / "pictures/pictures.npy", mmap_mode="r")
    numbers = [number for number, concept in enumerate(listed["concepts"]) if taught(concept)]
    renumbered = {number: place for place, number in enumerate(numbers)}
    rows = [row for row, cell in enumerate(listed["cells"]) if cell["concept"] in renumbered]
    cells = [{**listed["cells"][row], "concept": renumbered[listed["cells"][row]["concept"]]} for row in rows]
    return pictures[rows], cells, [listed["concepts"][number] for number in numbers], sorted(listed["styles"])


def scores(
    judged: dict[str, np.ndarray], wanted: list[dict], concepts: list[dict], styles: list[str]
) -> dict[str, float]:
    """Shares of pictures judged as what was asked for."""
    truth = np.array([cell["concept"] for cell in wanted])
    order = np.argsort(-judged["concept"], axis=1)
    subgroups = sorted({concept["subgroup"] for concept in concepts})
    member = np.array([subgroups.index(concept["subgroup"]) for concept in concepts])
    by_subgroup = np.stack([judged["concept"][:, member == place].sum(1) for place in range(len(subgroups))], 1)
    style = np.array([styles.index(cell["style"]) for cell in wanted])
    return {
        "concept top-1": float((order[:, 0] == truth).mean()),
        "concept top-5": float((order[:, :5] == truth[:, None]).any(1).mean()),
        "subgroup": float((by_subgroup.argmax(1) == member[truth]).mean()),
        "style": float((judged["style"].argmax(1) == style).mean()),
    }


def main(
    quick: bool = typer.Option(False, help="Few pictures, no claims worth anything."),
    model: str = typer.Option("emoji", help="The model to judge."),
    runs: Path = typer.Option(Path("runs/base"), help="Where the recipe keeps its pictures."),
    judge_steps: int = typer.Option(2500, help="Training steps of the judge, of all processes together."),
    repeats: int = typer.Option(9, help="Pictures of each held-out cell."),
) -> None:
    """Generate, judge, compare."""
    pictures, cells, concepts, styles = taught_world(runs)
    judge = trained(runs, pictures, cells, len(concepts), styles, steps=judge_steps)
    rows = []
    pipe = load_pipeline(model_folder(model))
    real_train = np.array([row for row, cell in enumerate(cells) if cell["part"] == "train"])
    found = {}
    for part, times in (("cell", 1 if quick else repeats), ("concept", 0 if quick else 1)):
        real = [row for row, cell in enumerate(cells) if cell["part"] == part][:: 10 if quick else 1]
        wanted = [cells[row] for row in real] * times
        if not wanted:
            continue
        prompts = [f"{article(concepts[cell['concept']]['label'])} in {cell['style']} style" for cell in wanted]
        drawn = draw(pipe, prompts, steps=STEPS)
        if not processes().is_main_process:
            continue
        of_real, of_drawn = judge(pictures[real]), judge(drawn)
        ceiling = scores(of_real, [cells[row] for row in real], concepts, styles)
        reached = scores(of_drawn, wanted, concepts, styles)
        near_rows, near_psnr = distances.nearest(drawn, pictures[real_train])
        _, real_psnr = distances.nearest(pictures[real], pictures[real_train])
        same = [
            cells[real_train[near]]["concept"] == cell["concept"] for near, cell in zip(near_rows, wanted, strict=True)
        ]
        found[part] = {
            "part": {"cell": "held-out cells", "concept": "held-out concepts"}[part],
            "pictures": len(wanted),
            "reached": reached,
            "ceiling": ceiling,
            "frechet": distances.frechet(of_drawn["features"], of_real["features"]) if part == "cell" else None,
            "kernel": distances.kernel(of_drawn["features"], of_real["features"]),
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
    }
    write_result("base_model" if model == "emoji" else f"base_model-{Path(model).name}", rows, claims, settings)


if __name__ == "__main__":
    typer.run(main)
