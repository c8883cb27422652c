"""How loud should a module speak? Its own measures and the words', by its weight, on cells that were learnt from.

    python -m benchmarks.connect.loudness silhouette
    python -m benchmarks.connect.loudness silhouette --quick    a rehearsal

Nothing is claimed here, so something may be chosen here. The weight that is chosen goes into the module's file, as the
fixed scale of its gates: `python -m recipes.modules.run silhouette --scale 1.25`, with what it was trained with.
"""

from pathlib import Path

import torch
import typer

from benchmarks.connect.assembly import OURS, TEXT, told
from benchmarks.connect.bench import Bench
from benchmarks.drawing import processes
from benchmarks.results import write_result
from intarsia.shipped import model_folder
from recipes.modules.run import BLOCKS, Sense

WEIGHTS = (0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 1.75)


def main(
    sense: Sense = typer.Argument(..., help="Which module."),
    quick: bool = typer.Option(False, help="A few pictures and calls."),
    pictures: int = typer.Option(256, help="Of each weight."),
    modules: Path = typer.Option(model_folder("emoji") / "modules", help="Where the modules are."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    runs: Path = typer.Option(Path("runs/alike"), help="Where modules are that do not ship."),
    out: Path = typer.Option(Path("runs/connect"), help="Where pictures are kept."),
    blocks: int = typer.Option(BLOCKS, help="After which modules speak, as they were trained."),
) -> None:
    """Draw and judge."""
    torch.set_grad_enabled(False)
    name, count = str(sense), 2 if quick else pictures
    bench = Bench((name,), base, runs, modules, out, pictures=count, quick=quick, blocks=blocks, part="train")
    trials = bench.trials
    rows = [{"way": TEXT, **told(trials.figures(bench.draw(TEXT, (), trials.prompts, {})), trials.cells)}]
    for weight in WEIGHTS:
        drawn = bench.draw(OURS, (name,), trials.prompts, trials.features, weights={name: weight})
        rows.append({"weight": weight, **told(bench.say((name, str(weight)), trials.figures(drawn)), trials.cells)})
    if processes().is_main_process:
        write_result(f"connect_loudness_{name}", rows, [], {"quick": quick, "pictures": count, "steps": bench.steps})


if __name__ == "__main__":
    typer.run(main)
