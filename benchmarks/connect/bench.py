"""The emoji model with all that was trained for it, and how a row is drawn and judged."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from benchmarks.answers import Answers, Figures
from benchmarks.base_model.world import taught_world
from benchmarks.connect.assembly import (
    ALIKE,
    DERIVED,
    IN_TURN,
    JOINT,
    OURS,
    SOFTER,
    SOFTLY,
    TEXT,
    Names,
    told,
)
from benchmarks.connect.conflict import contradictions, sided_with_words
from benchmarks.connect.judges import Judges
from benchmarks.connect.trials import Trials, refuse_misled, seen
from benchmarks.drawing import draw, processes
from benchmarks.keeping import drawn_by, kept_pictures
from benchmarks.results import RESULTS
from intarsia import hosts, rig
from intarsia.connect import Modality, Weighed
from intarsia.connect.files import read
from intarsia.connect.modality import DOCUMENT
from intarsia.graphs.exporting import digest_of
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import branch_site
from intarsia.lighten.search import search_among
from intarsia.plan import Plan
from intarsia.plan.text import write_plan
from intarsia.shipped import model_folder
from recipes.modules.run import ground_of
from recipes.modules.senses import ENCODERS
from recipes.modules.training import MANNERS, Training, ended, refuse_unequal_senses, told_by
from recipes.modules.ways import Ground, Parts, Way, born, heard, run_name, trained

KEPT = RESULTS / "connect/rows.npz"
MACS = "share of MACs"
PICTURES = 512  # of a row; rows of others are not kept
TIMED, ROUNDS = 4, 7
WATCHED = ["a fox", "a red apple in flat style", "a rocket", "a guitar in noto style"]  # on which the plan is sought


class Bench:
    """The model, what it can be shown through, and what is asked of it.

    Args:
        runs: Where what is compared was trained.
        modules: Where the modules that ship are.
        out: Where pictures are kept.
        blocks: After which modules speak; see `recipes.modules.run`.
        part: Of which cells trials are; see `Trials.of`.
    """

    def __init__(
        self,
        senses: Names,
        base: Path,
        runs: Path,
        modules: Path,
        out: Path,
        *,
        pictures: int,
        quick: bool,
        blocks: int,
        part: str = "cell",
    ) -> None:
        self.pipe: StableDiffusionPipeline = load_pipeline(model_folder("emoji"), device="cpu")
        self.ground: Ground = ground_of(self.pipe, base, blocks=blocks)
        self.senses, self.base, self.runs, self.modules, self.out, self.quick = senses, base, runs, modules, out, quick
        self.steps = 4 if quick else 25
        self.pictures, self.part, self.blocks = pictures, part, blocks
        self.untrained: set[str] = set()
        self.shown: list[np.ndarray] = []

    @cached_property
    def trials(self) -> Trials:
        encoders = {name: ENCODERS[name]() for name in self.senses}
        judges = Judges.kept(taught_world(self.base))
        return Trials.of(self.base, encoders, judges, self.pictures, self.part)

    @cached_property
    def answers(self) -> Answers:
        """What is known of rows."""
        judges = (self.trials.exam.judge.concept, self.trials.exam.judge.style, *vars(self.trials.judges).values())
        shown = [one.tobytes() for _, one in sorted(self.trials.references.items())]
        asked = {
            "pictures": self.pictures, "steps": self.steps, "model": self.weights, "blocks": self.blocks,
            "judges": [digest_of(judge)[:12] for judge in judges],
            "shown": hashlib.sha256(b"".join([*shown, *map(str.encode, self.trials.prompts)])).hexdigest()[:12],
            "through": {name: seen.encoder for name, seen in self.ground.features.items()},
        }  # fmt: skip
        return Answers.of(KEPT, asked)

    def check_judges(self) -> None:
        """Tell what judges say of real pictures, before anything is drawn, and refuse those whom hues mislead."""
        for name, figures in self.trials.real.items():
            self.say((name,), figures)
        if not self.quick:
            refuse_misled(self.trials.real)

    def trainings(self, ways: Sequence[str], joint: Names) -> dict[str, Training]:
        """How everything that ships was trained, and everything that was trained to be compared, by its folder.

        Raises:
            SystemExit: something was not trained, not to the end, or not like what it is compared with.
        """
        wanted = [(trained_as(way), (name,)) for way in ways if way != OURS for name in self.senses]
        wanted += [(trained_as(JOINT), joint)] if joint else []
        found, lacking = {}, []
        for called, sense in dict.fromkeys((run_name(way, names), "+".join(names)) for way, names in wanted):
            try:
                found[called, sense] = self.answers.training(called, partial(ended, self.runs / called))
            except SystemExit as error:
                lacking.append(str(error))
        if lacking:
            raise SystemExit("\n".join(lacking))
        refuse_unequal_senses(found, own=MANNERS)
        shipped = {name: self.shipped(OURS, (name,)) for name in self.senses}
        absent = [name for name, path in shipped.items() if path is None]
        if joint and absent:
            raise SystemExit(f"no {', '.join(absent)} ships yet; train it: python -m recipes.modules.run")
        alike = {called: training for (called, _), training in found.items()}
        return alike | {f"{name}, shipped": told_by(read(path, DOCUMENT)[1]) for name, path in shipped.items() if path}

    def shipped(self, way: str, names: Names) -> Path | None:
        """The file of a module of ours that comes with the model, if it does."""
        path = self.modules / f"{names[0]}.safetensors"
        return path if way in (OURS, IN_TURN) and path.exists() else None

    def parts(self, way: str, names: Names) -> Parts:
        """What was trained; in a rehearsal, what was born where nothing was."""
        found: dict = {}
        for group in () if way == TEXT else [names] if way == JOINT else [(name,) for name in names]:
            shipped = self.shipped(way, group)
            try:
                found |= (
                    {group[0]: Modality.load(shipped, self.ground.connector)} if shipped
                    else trained(self.ground, trained_as(way), group, self.runs)
                )  # fmt: skip
            except SystemExit:
                if not self.quick:
                    raise
                self.untrained.add(run_name(trained_as(way), group))
                found |= born(self.ground, trained_as(way), group)
        return found

    def draw(
        self,
        way: str,
        names: Names,
        prompts: list[str],
        features: dict[str, Tensor],
        *,
        weights: dict[str, Weighed] | None = None,
        plan: Plan | None = None,
    ) -> np.ndarray:
        """Pictures of prompts, each shown its own references; those of an earlier run, if there was the same."""
        parts = self.parts(way, names)
        weights = dict.fromkeys(names, SOFTLY) if way == SOFTER else weights

        def around(rows: slice) -> AbstractContextManager[None]:
            shown = {name: features[name][rows] for name in names}
            return heard(self.ground, parts, shown, weights=weights, in_turn=way == IN_TURN)

        def make() -> np.ndarray:
            with (
                nullcontext() if plan is None else rig.applied(plan, self.host),
                torch.autocast(self.pipe.device.type, torch.bfloat16),
            ):
                return draw(self.pipe, prompts, steps=self.steps, around=around)

        asked = [
            self.weights, "bfloat16", self.steps, way == IN_TURN, weights, plan and write_plan(plan),
            {name: (digest_of(part), *(getattr(part, one, None) for one in ("gating", "window")))
             for name, part in parts.items()},
            {name: hashlib.sha256(features[name].numpy().tobytes()).hexdigest() for name in names}, *prompts,
        ]  # fmt: skip
        drawn = make() if self.quick else kept_pictures(self.out / "pictures", asked, make)
        self.shown.append(drawn[:8])
        return drawn

    @cached_property
    def weights(self) -> str:
        return drawn_by(self.pipe)

    @property
    def host(self) -> rig.Host:
        return hosts.of(self.pipe.unet, batch=2, tokens=self.pipe.tokenizer.model_max_length)

    def row(self, way: str, names: Names, said: str, make: Callable[[], Figures]) -> Figures:
        """A row's figures, known by what it is of: by the very files where modules are those that ship."""
        shipped = [path for name in names if (path := self.shipped(way, (name,)))]
        files = hashlib.sha256(b"".join(path.read_bytes() for path in shipped)).hexdigest()[:12] if shipped else ""
        called = "|".join([way, ",".join(names), said, files])
        passing = self.quick or self.pictures != PICTURES or (way in (OURS, IN_TURN) and len(shipped) < len(names))
        return self.say((way, *names, said), make() if passing else self.answers.row(called, make))

    def judged(self, way: str, names: Names, swapped: str | None) -> Figures:
        """One row."""

        def make() -> Figures:
            return self.trials.figures(self.draw(way, names, self.trials.prompts, self.trials.swapped(swapped)))

        return self.row(way, names, f"swapped {swapped}" if swapped else "", make)

    def changed(self, sense: str) -> Figures:
        """How much swapping one of all senses changes each picture of modules."""

        def make() -> Figures:
            pairs = (
                self.draw(OURS, self.senses, self.trials.prompts, self.trials.swapped(one)) for one in (None, sense)
            )
            return self.trials.changes(*pairs)

        return self.row(OURS, self.senses, f"changed by {sense}", make)

    def spelled(self) -> Figures:
        """Nothing shown, and the style said in words: what it is to be told of a style instead of shown it."""
        return self.row(
            TEXT, (), "style in words", lambda: self.trials.figures(self.draw(TEXT, (), self.trials.spelled, {}))
        )

    def planned(self) -> Figures:
        """All modules under an inheritance plan of half the multiply-accumulates, and its share of them."""

        def make() -> Figures:
            rows, host = hosts.rows(self.pipe.scheduler, self.steps), self.host
            sites = [branch_site(host.outline, branch) for branch in range(2)]

            def run() -> Tensor:
                return draw(self.pipe, WATCHED, steps=self.steps, latents=True, alone=True)

            found = search_among(host, sites, run, rows, 0.75 if self.quick else 0.5)
            drawn = self.draw(OURS, self.senses, self.trials.prompts, self.trials.features, plan=found.plan)
            return {**self.trials.figures(drawn), MACS: np.full(len(drawn), found.bill.macs_ratio)}

        return self.row(OURS, self.senses, "under a plan", make)

    def conflict(self, weights: tuple[float, ...]) -> dict[str, dict]:
        """How often words win against the palette, by its weight."""
        prompts, shown, named = contradictions(self.trials.exam.world, len(self.trials.prompts))
        features = {"palette": seen(self.trials.encoders["palette"], shown)}

        def won(weight: float) -> Figures:
            drawn = self.draw(OURS, ("palette",), prompts, features, weights={"palette": weight})
            return {"words win": sided_with_words(drawn, named)}

        return {
            str(weight): told(
                self.row(OURS, ("palette",), f"against words at {weight:g}", partial(won, weight)), np.array(prompts)
            )
            for weight in weights
        }

    def cost(self) -> dict[str, object]:
        """What all modules add to a run whose tokens are told afresh."""
        prompts, choices = self.trials.prompts[:TIMED], ((), self.senses)
        parts = {names: self.parts(OURS, names) for names in choices}
        features = {
            names: {name: self.trials.features[name][: len(prompts)] for name in names} for names in choices
        }  # fmt: skip

        def run(names: Names) -> None:
            with heard(self.ground, parts[names], features[names]):
                draw(self.pipe, prompts, steps=self.steps, alone=True)

        counted = []
        for names in choices:
            with rig.count_macs() as macs:
                run(names)
            counted.append(macs.total)
        taken = rig.measure_seconds(
            {TEXT: lambda: run(()), "all": lambda: run(self.senses)}, rounds=1 if self.quick else ROUNDS
        )
        middle, least, most = taken.ratio("all")
        return {
            "MACs of a run": counted[0], "MACs with modules": counted[1],
            "seconds over text only": {"median": middle, "least": least, "most": most, "rounds": len(taken.rounds)},
        }  # fmt: skip

    def say(self, row: tuple[str, ...], figures: Figures) -> Figures:
        if processes().is_main_process:
            print(*row, {name: round(float(values.mean()), 3) for name, values in figures.items()}, flush=True)
        return figures


def trained_as(way: str) -> Way:
    """The way in which the parts of a row were trained."""
    return Way.modules if way in (JOINT, ALIKE) else Way(DERIVED.get(way, way))
