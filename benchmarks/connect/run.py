"""Do modules that were trained apart work together? Each alone, every pair and all three, beside two rivals.

    python -m benchmarks.connect.run             747 pictures a row, DDIM 25; 28 rows
    python -m benchmarks.connect.run --quick     a rehearsal of a few pictures; claims nothing
    torchrun --nproc-per-node 2 -m benchmarks.connect.run

Needs the modules of `recipes.modules.run`, the rivals of `recipes.modules.rivals`, and the judge of
`benchmarks.base_model.run`.
"""

from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks.connect.arms import GROUPS, OURS, Arm, arms_of
from benchmarks.connect.metrics import interval
from benchmarks.connect.trials import MORE_IS_BETTER, SENSES, Trials
from benchmarks.drawing import draw, processes
from benchmarks.results import Claim, at_least, at_most, write_result
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder
from recipes.modules.senses import ENCODERS

Scores = dict[str, float]


def main(
    quick: bool = typer.Option(False, help="A few pictures and calls, no claims worth anything."),
    repeats: int = typer.Option(3, help="Pictures of each held-out cell."),
    modules: Path = typer.Option(model_folder("emoji") / "modules", help="Where the modules are."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps its pictures."),
    runs: Path = typer.Option(Path("runs/modules"), help="Where the rivals' training is kept."),
    sheet: Path | None = typer.Option(None, help="Where to put a sheet of the first pictures of each row."),
) -> None:
    """Draw, judge, compare."""
    torch.set_grad_enabled(False)
    steps = 4 if quick else 25
    pipe = load_pipeline(model_folder("emoji"))
    trials = Trials.of(base, repeats=1 if quick else repeats, every=40 if quick else 1)
    encoders = {name: ENCODERS[name]() for name in SENSES}
    features = trials.features(encoders)
    rows: list[dict] = []
    shown: list[np.ndarray] = []

    def judged(arm: Arm, names: tuple[str, ...], swapped: str | None = None) -> Scores:
        seen = features if swapped is None else features | {
            swapped: trials.features({swapped: encoders[swapped]}, swapped)[swapped]
        }  # fmt: skip
        drawn = draw(pipe, trials.prompts, steps=steps, around=arm.shown(pipe, names, seen))
        scores = trials.scores(drawn)
        shown.append(drawn[:8])
        rows.append({
            "way": arm.way if names else "text only", "shown": list(names), "swapped": swapped,
            **{name: float(values.mean()) for name, values in scores.items()},
            "intervals": {name: interval(values) for name, values in scores.items()},
        })  # fmt: skip
        if processes().is_main_process:
            print({name: value for name, value in rows[-1].items() if name != "intervals"})
        return {name: float(values.mean()) for name, values in scores.items()}

    arms = arms_of(pipe, modules, runs, quick=quick)
    text = judged(arms[0], ())
    found: dict[str, dict[tuple[str, ...], Scores]] = {}
    for arm in arms:
        found[arm.way] = {names: judged(arm, names) for names in GROUPS}
    swapped = {name: judged(arms[0], SENSES, name) for name in SENSES}

    if not processes().is_main_process:
        return
    for way, scores in found.items():
        rows += [{"way": way, "shown": list(names), "retention": retention(scores, names)} for names in GROUPS[3:]]
    crossed = cross_talk(text, trials.ceiling, found[OURS][SENSES], swapped)
    rows += [{"ceiling": trials.ceiling}, {"cross-talk": crossed}]
    if sheet is not None:
        Image.fromarray(np.concatenate([np.concatenate(list(part), 1) for part in shown])).save(sheet)
    claims = [] if quick else claims_of(text, trials.ceiling, found, crossed)
    settings = {"quick": quick, "pictures": len(trials.prompts), "steps": steps, "ways": [arm.way for arm in arms]}
    write_result("connect", rows, claims, settings)


def moved(text: Scores, ceiling: Scores, scores: Scores, name: str) -> float:
    """How much of the way from words alone to real pictures a sense was moved."""
    return (scores[name] - text[name]) / (ceiling[name] - text[name])


def retention(scores: dict[tuple[str, ...], Scores], names: tuple[str, ...]) -> Scores:
    """For each sense, assembled over alone; for distances, which should be small, alone over assembled."""
    found = {}
    for name in names:
        alone, together = scores[name,][name], scores[names][name]
        high, low = (together, alone) if MORE_IS_BETTER[name] else (alone, together)
        found[name] = high / low if low else float("nan")
    return found


def cross_talk(text: Scores, ceiling: Scores, whole: Scores, swapped: dict[str, Scores]) -> dict[str, Scores]:
    """For each sense whose reference is exchanged, how far the others move, in parts of how far it moves itself."""
    found: dict[str, Scores] = {}
    for own, scores in swapped.items():
        change = {name: abs(moved(text, ceiling, whole, name) - moved(text, ceiling, scores, name)) for name in SENSES}
        found[own] = {
            name: change[name] / change[own] if change[own] else float("inf") for name in SENSES if name != own
        }
    return found


def claims_of(
    text: Scores, ceiling: Scores, found: dict[str, dict[tuple[str, ...], Scores]], crossed: dict[str, Scores]
) -> list[Claim]:
    """What modules should do alone, together, and better than their rivals."""
    ours, claims = found[OURS], []
    for name in SENSES:
        alone = ours[name,]
        claims.append(
            at_least(f"{name} alone, of the way from words to real pictures", moved(text, ceiling, alone, name), 0.5)
        )
        lost = text["concept top-1"] - alone["concept top-1"]
        claims.append(at_most(f"{name} alone, concept accuracy lost", lost, 0.03))
    for names in GROUPS[3:]:
        for name, kept in retention(ours, names).items():
            target = 0.9 if len(names) == 2 else 0.85
            claims.append(at_least(f"{' + '.join(names)}, retention of {name}", kept, target))
    worst = max(max(others.values()) for others in crossed.values())
    claims.append(at_most("cross-talk, of the own effect, at its worst", worst, 0.1))
    for way, scores in found.items():
        if way != OURS:
            ahead = mean_retention(ours) - mean_retention(scores)
            claims.append(at_least(f"mean retention above {way}", ahead, 0.0))
    return claims


def mean_retention(scores: dict[tuple[str, ...], Scores]) -> float:
    """Over all senses in all pairs and in the triple."""
    return float(np.mean([kept for names in GROUPS[3:] for kept in retention(scores, names).values()]))


if __name__ == "__main__":
    typer.run(main)
