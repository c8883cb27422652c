"""How loud should a module speak, and until when? Its own measures and the words', on cells that were learnt from.

    python -m benchmarks.connect.loudness silhouette --lowest 0 --lowest 540 --lowest 700
    python -m benchmarks.connect.loudness silhouette --quick    a rehearsal

Nothing is claimed here, so something may be chosen here. The weight that is chosen goes into the module's file, as the
fixed scale of its gates, and so does the time step below which it is better silent: add
`--scale 1.25 --lowest 540` to the command that trained it.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import typer

from benchmarks.connect.assembly import OURS, TEXT, told
from benchmarks.connect.bench import Bench
from benchmarks.drawing import processes
from benchmarks.results import write_result
from intarsia.connect import Modality, Weight, Window
from intarsia.factory.shipping import sha256_of
from intarsia.shipped import model_folder
from recipes.modules.folder import limited
from recipes.modules.run import BLOCKS, Sense

WEIGHTS = (0.5, 0.65, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75)


def main(
    sense: Sense = typer.Argument(..., help="Which module."),
    lowest: list[float] = typer.Option([0.0], help="Time step below which it is silent; several may be tried."),
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
    with TemporaryDirectory() as scrap:
        bench = Bench((name,), base, runs, Path(scrap), out, pictures=count, quick=quick, blocks=blocks, part="train")
        file = modules / f"{name}.safetensors"
        # As it was trained: what is chosen here replaces the scale and the window that its file may have.
        limited(Modality.load(file, bench.ground.connector), 1.0, 0.0).save(Path(scrap) / file.name, {})
        rows = loud_rows(bench, name, lowest)
    if processes().is_main_process:
        settings = {"quick": quick, "pictures": count, "steps": bench.steps, "module": sha256_of(file)[:12]}
        write_result(f"connect_loudness_{name}", rows, [], settings)


def loud_rows(bench: Bench, name: str, lowest: Sequence[float]) -> list[dict]:
    """A row for each weight and window, after one of the words alone."""
    trials = bench.trials
    rows = [{"way": TEXT, **told(trials.figures(bench.draw(TEXT, (), trials.prompts, {})), trials.cells)}]
    for weight, end in product(WEIGHTS, lowest):
        speaking = Weight(weight, Window(lowest=end)) if end else weight
        drawn = bench.draw(OURS, (name,), trials.prompts, trials.features, weights={name: speaking})
        figures = bench.say((name, str(weight), f"down to {end:g}"), trials.figures(drawn))
        rows.append({"weight": weight, "down to": end, **told(figures, trials.cells)})
    return rows


if __name__ == "__main__":
    typer.run(main)
