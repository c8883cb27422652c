"""Do modules that were trained apart work together? Each alone, every pair and all three, beside everything else.

    python -m benchmarks.connect.run             512 pictures a row, DDIM 25; 45 rows, hours
    python -m benchmarks.connect.run --quick     a rehearsal of a few pictures, with whatever is trained; claims nothing
    torchrun --nproc-per-node 2 -m benchmarks.connect.run

Needs the trainings of `recipes.modules.run`: the three senses in each way, and style with silhouette jointly; and the
judge of `benchmarks.base_model.run`. What modules cost at larger sizes is told by `benchmarks.connect.cost`.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from benchmarks.base_model.world import taught_world
from benchmarks.connect.assembly import IN_TURN, JOINT, OURS, TEXT, Assembly, Figures, Names, assembly_of, told
from benchmarks.connect.conflict import contradictions, sided_with_words
from benchmarks.connect.strokes import trained as trained_strokes
from benchmarks.connect.trials import FOLLOWED, SENSES, Trials, seen
from benchmarks.drawing import draw, processes
from benchmarks.results import Claim, at_least, write_result
from intarsia import hosts, rig
from intarsia.connect import Modality
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import branch_site
from intarsia.lighten.search import search_among
from intarsia.plan import Plan
from intarsia.shipped import model_folder, modules_of
from recipes.modules.run import ground_of
from recipes.modules.senses import ENCODERS
from recipes.modules.ways import Ground, Parts, Way, born, heard, run_name, trained

JOINED = ("silhouette", "style")
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
KEPT = 0.95  # of every measure, under a plan of half the cost
TIMED, ROUNDS = 4, 7
WATCHED = ["a fox", "a red apple in flat style", "a rocket", "a guitar in noto style"]  # on which the plan is sought


class Bench:
    """The emoji model, all that was trained for it, and what is asked of it."""

    def __init__(self, base: Path, runs: Path, modules: Path, judges: Path, *, pictures: int, quick: bool) -> None:
        self.pipe: StableDiffusionPipeline = load_pipeline(model_folder("emoji"))
        self.ground: Ground = ground_of(self.pipe)
        self.runs, self.modules, self.quick = runs, modules, quick
        self.steps = 4 if quick else 25
        strokes = None if quick else trained_strokes(taught_world(base), judges, steps=1600)
        self.trials = Trials.of(base, {name: ENCODERS[name]() for name in SENSES}, strokes, pictures)
        self.untrained: set[str] = set()
        self.shown: list[np.ndarray] = []

    def parts(self, way: str, names: Names) -> Parts:
        """What was trained; in a rehearsal, what was born where nothing was."""
        if way == TEXT:
            return {}
        groups = [names] if way == JOINT else [(name,) for name in names]
        trained_as = Way.modules if way in (IN_TURN, JOINT) else Way(way)
        found: dict = {}
        for group in groups:
            if way in (OURS, IN_TURN) and (self.modules / f"{group[0]}.safetensors").exists():
                found[group[0]] = Modality.load(self.modules / f"{group[0]}.safetensors", self.ground.connector)
            elif self.quick and not (self.runs / run_name(trained_as, group) / "checkpoint").exists():
                self.untrained.add(run_name(trained_as, group))
                found |= born(self.ground, trained_as, group)
            else:
                found |= trained(self.ground, trained_as, group, self.runs)
        return found

    def draw(
        self,
        way: str,
        names: Names,
        prompts: list[str],
        features: dict[str, Tensor],
        *,
        weights: dict[str, float] | None = None,
        plan: Plan | None = None,
    ) -> np.ndarray:
        """Pictures of prompts, each shown its own references."""
        parts = self.parts(way, names)

        def around(rows: slice) -> AbstractContextManager[None]:
            shown = {name: features[name][rows] for name in names}
            return heard(self.ground, parts, shown, weights=weights, in_turn=way == IN_TURN)

        with nullcontext() if plan is None else rig.applied(plan, self.host):
            drawn = draw(self.pipe, prompts, steps=self.steps, around=around)
        self.shown.append(drawn[:8])
        return drawn

    @property
    def host(self) -> rig.Host:
        return hosts.of(self.pipe.unet, batch=2, tokens=self.pipe.tokenizer.model_max_length)

    def judged(self, way: str, names: Names, swapped: str | None) -> Figures:
        """One row."""
        drawn = self.draw(way, names, self.trials.prompts, self.trials.swapped(swapped))
        return self.say((way, *names, swapped or ""), self.trials.figures(drawn))

    def planned(self) -> tuple[Figures, dict]:
        """All three modules under an inheritance plan of half the multiply-accumulates."""
        rows, host = hosts.rows(self.pipe.scheduler, self.steps), self.host
        sites = [branch_site(host.outline, branch) for branch in range(2)]

        def run() -> Tensor:
            return draw(self.pipe, WATCHED, steps=self.steps, latents=True, alone=True)

        found = search_among(host, sites, run, rows, 0.75 if self.quick else 0.5)
        drawn = self.draw(OURS, SENSES, self.trials.prompts, self.trials.features, plan=found.plan)
        return self.say(("planned",), self.trials.figures(drawn)), {"MACs": found.bill.macs_ratio}

    def conflict(self, weights: tuple[float, ...]) -> dict[str, dict]:
        """How often words win against the palette, by its weight."""
        prompts, shown, named = contradictions(self.trials.exam.world, len(self.trials.prompts))
        features = {"palette": seen(self.trials.encoders["palette"], shown)}
        found = {}
        for weight in weights:
            drawn = self.draw(OURS, ("palette",), prompts, features, weights={"palette": weight})
            found[str(weight)] = told({"words win": sided_with_words(drawn, named)})
        return found

    def cost(self) -> dict[str, object]:
        """What three modules add to a run whose tokens are told afresh."""
        prompts = self.trials.prompts[:TIMED]
        parts = {names: self.parts(OURS, names) for names in ((), SENSES)}
        features = {
            names: {name: self.trials.features[name][: len(prompts)] for name in names} for names in ((), SENSES)
        }  # fmt: skip

        def run(names: Names) -> None:
            with heard(self.ground, parts[names], features[names]):
                draw(self.pipe, prompts, steps=self.steps, alone=True)

        counted = {}
        for names in ((), SENSES):
            with rig.count_macs() as macs:
                run(names)
            counted[names] = macs.total
        taken = rig.measure_seconds(
            {TEXT: lambda: run(()), "all": lambda: run(SENSES)}, rounds=1 if self.quick else ROUNDS
        )
        middle, least, most = taken.ratio("all")
        return {
            "MACs of a run": counted[()], "MACs with three modules": counted[SENSES],
            "seconds over text only": {"median": middle, "least": least, "most": most, "rounds": len(taken.rounds)},
        }  # fmt: skip

    def say(self, row: tuple[str, ...], figures: Figures) -> Figures:
        if processes().is_main_process:
            print(*row, {name: round(float(values.mean()), 3) for name, values in figures.items()}, flush=True)
        return figures


def main(
    quick: bool = typer.Option(False, help="A few pictures and calls, no claims worth anything."),
    pictures: int = typer.Option(512, help="Of each row."),
    modules: Path = typer.Option(model_folder("emoji") / "modules", help="Where the modules are."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    runs: Path = typer.Option(Path("runs/modules"), help="Where the trainings are kept."),
    judges: Path = typer.Option(Path("runs/connect"), help="Where the judge of strokes is kept, or trained now."),
    sheet: Path | None = typer.Option(None, help="Where to put a sheet of the first pictures of each row."),
) -> None:
    """Draw, judge, compare."""
    torch.set_grad_enabled(False)
    bench = Bench(base, runs, modules, judges, pictures=2 if quick else pictures, quick=quick)
    ways = [str(way) for way in Way]
    assembly = assembly_of(SENSES, bench.trials.scales, ways, JOINED, bench.judged)
    planned, bill = bench.planned()
    conflict = bench.conflict(WEIGHTS[::3] if quick else WEIGHTS)
    if not processes().is_main_process:
        return
    scales = {
        name: {"sense": scale.sense, "real pictures": scale.ceiling} for name, scale in bench.trials.scales.items()
    }
    rows = [
        {"scales": scales}, *assembly.told(), {"way": OURS, "shown": list(SENSES), "plan": bill, **told(planned)},
        {"conflict": conflict}, {"cost": bench.cost()},
    ]  # fmt: skip
    if sheet is not None:
        Image.fromarray(np.concatenate([np.concatenate(list(part), 1) for part in bench.shown])).save(sheet)
    claims = [] if quick else [*assembly.claims(FOLLOWED, alone=True), *plan_claims(assembly, planned)]
    settings = {
        "quick": quick, "pictures": len(bench.trials.prompts), "steps": bench.steps, "ways": ways,
        "not trained": sorted(bench.untrained), "modules": sorted(modules_of(modules.parent)),
        "style": "judged by the layers that the module looks through, and by a network that shares nothing with it",
    }  # fmt: skip
    write_result("connect", rows, claims, settings)


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
