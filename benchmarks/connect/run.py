"""Do modules that were trained apart work together? Each alone, every pair and all three, beside everything else.

    python -m benchmarks.connect.run             512 pictures a row, DDIM 25; hours; resumes where it was killed, and
                                                 draws no row whose figures are in results/connect
    python -m benchmarks.connect.run --quick     a rehearsal of a few pictures, with whatever is trained; claims nothing
    python -m benchmarks.connect.run --sense style --way modules    a pilot, as soon as that is trained: text alone and
                                                                    the sense alone; no claims
    torchrun --nproc-per-node 2 -m benchmarks.connect.run

Needs the modules that ship, and beside them trainings that are compared: the three senses in each way, and style with
silhouette jointly, all by the same command but for sense and way, for instance

    python -m recipes.modules.run silhouette --way decoupled --runs runs/alike --out runs/alike/modules --steps 1500

What modules cost at larger sizes is told by `benchmarks.connect.cost`.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks.answers import Figures
from benchmarks.connect.assembly import ALIKE, OURS, SOFTLY, Assembly, assembly_of, told
from benchmarks.connect.bench import PICTURES, Bench
from benchmarks.connect.trials import FOLLOWED, NOT_SHOWN, SENSES
from benchmarks.drawing import processes
from benchmarks.results import Claim, at_least, write_result
from intarsia.shipped import model_folder
from recipes.modules.run import BLOCKS, Sense
from recipes.modules.ways import Way

JOINED = ("silhouette", "style")
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
KEPT = 0.95  # of every measure, under a plan of half the cost


def main(
    quick: bool = typer.Option(False, help="A few pictures and calls, no claims worth anything."),
    way: list[Way] = typer.Option(list(Way), help="What to draw beside modules; everything if not given."),
    sense: list[Sense] = typer.Option(list(Sense), help="Which senses; all if not given."),
    pictures: int = typer.Option(PICTURES, help="Of each row; rows of another number are not kept."),
    modules: Path = typer.Option(model_folder("emoji") / "modules", help="Where the modules are."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    runs: Path = typer.Option(Path("runs/alike"), help="Where what is compared was trained."),
    out: Path = typer.Option(Path("runs/connect"), help="Where pictures are kept; remove to make anew."),
    blocks: int = typer.Option(BLOCKS, help="After which modules speak, as they were trained."),
    sheet: Path | None = typer.Option(None, help="Where to put a sheet: the first pictures of rows drawn now."),
) -> None:
    """Draw, judge, compare."""
    torch.set_grad_enabled(False)
    senses = tuple(sorted(map(str, sense)))
    ways = [OURS, *(str(one) for one in way if one != OURS)]
    pilot = senses != SENSES or len(ways) < len(Way)
    joint = () if pilot else JOINED
    if len(ways) > 1:
        ways.insert(1, ALIKE)
    bench = Bench(senses, base, runs, modules, out, pictures=2 if quick else pictures, quick=quick, blocks=blocks)
    trainings = {} if quick else bench.trainings(ways, joint)
    bench.check_judges()
    scales = {name: scale for name, scale in bench.trials.scales.items() if scale.sense in senses}
    changed = None if pilot else bench.changed
    assembly = assembly_of(senses, scales, ways, joint, bench.judged, changed, bench.trials.cells)
    rows = [
        {"trainings": {name: asdict(training) for name, training in trainings.items()}},
        {"scales": {name: {"sense": scale.sense, "real pictures": scale.ceiling} for name, scale in scales.items()}},
        *({"way": name, **told(figures, bench.trials.cells)} for name, figures in bench.trials.real.items()),
        *assembly.told(),
    ]  # fmt: skip
    claims = []
    if not pilot:
        planned = bench.planned()
        rows += [
            {"way": "style in words", **told(bench.spelled(), bench.trials.cells)},
            {"way": OURS, "shown": list(senses), "under a plan": True, **told(planned, bench.trials.cells)},
            {"conflict": bench.conflict(WEIGHTS[::3] if quick else WEIGHTS)},
        ]  # fmt: skip
        claims = [] if quick else [*assembly.claims(FOLLOWED, alone=True), *plan_claims(assembly, planned)]
    if not processes().is_main_process:
        return
    if pilot:
        print("a pilot, not of all senses and ways: nothing is claimed")
    else:
        rows.append({"cost": bench.cost()})
    settings = {
        "quick": quick or pilot, "pictures": len(bench.trials.prompts),
        "cells": len(np.unique(bench.trials.cells)), "intervals": "of cells drawn again, each with all of its pictures",
        "steps": bench.steps, "precision": "bfloat16, but for the plan's search and for cost", "ways": ways,
        "not trained": sorted(bench.untrained), "modules": sorted(path.stem for path in modules.glob("*.safetensors")),
        "style": "judged by the layers that the module looks through, and by a network that shares nothing with it",
        "hues": "settled in what both of these judge; a judge of styles that saw natural ones is told beside",
        "words": "judged by a network that learnt with turned hues; the one that saw natural hues is told beside",
        "rivals": "set beside modules trained as long as they, at scale 1",
        "references": f"none is in {NOT_SHOWN} style, which has no colours, and whose insides are ground",
        "ceilings": "references themselves; of outlines and colours, back from the model's autoencoder",
        "decoupled": "cannot reach this UNet's pooled words, which modules and concatenation can; together it is also "
                     f"shown at scale {SOFTLY}",
    }  # fmt: skip
    write_result("connect", rows, claims, settings)
    if sheet is not None and bench.shown:
        Image.fromarray(np.concatenate([np.concatenate(list(part), 1) for part in bench.shown])).save(sheet)


def plan_claims(assembly: Assembly, planned: Figures) -> list[Claim]:
    """Whether a plan of half the cost leaves modules what they do."""
    whole, claims = assembly.rows[OURS][SENSES], []
    for measure, scale in assembly.scales.items():
        over = (planned, whole) if scale.more_is_better else (whole, planned)
        part, full = (float(figures[measure].mean()) for figures in over)
        claims.append(
            at_least(f"{measure}, kept under a plan of half the MACs", part / full if full else float("nan"), KEPT)
        )
    return claims


if __name__ == "__main__":
    typer.run(main)
