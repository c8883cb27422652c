"""A whole training, both stages, from a supernet to a kit; and further, from a kit. It resumes where it was left."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FitError, Unfinished
from ..graphs.exporting import digest_of
from ..hosts.timm_supernet import TimmSupernet
from ..keeping import keep_settings
from ..train import Schedule, fit, seed_everything, wear_average
from .assembler import Assembler
from .cuts import refuse_folded, refuse_tasks
from .kit import Kit, folded, refuse_other_answers
from .learning import Concepts, Customising
from .probe import Probe
from .ranking import Grounds
from .refreshing import statistics_anew
from .seeking import Naming, Seeking
from .task import Space

REFRESHING = 10  # batches that statistics of batch norms are taken from


@dataclass(frozen=True)
class Lessons:
    """Batches of both stages, a function of the number of the draw; random generators are seeded by it.

    Attributes:
        concepts: As `Concepts` takes them, or `Naming` for things.
        tasks: As `Customising` takes them, or `Seeking` for things.
    """

    concepts: Callable[[int], tuple[Tensor, ...]]
    tasks: Callable[[int], tuple[Tensor, ...]]


def choice_lessons(
    pictures: Tensor, answers: Tensor, *, batch: int = 96, tasks: int = 6, most: int = 5, known: int | None = None
) -> Lessons:
    """Lessons in choosing between a few answers, from labelled pictures.

    Args:
        pictures: (count, channels, height, width), normalised.
        answers: (count): outputs of the supernet.
        batch: Pictures in a batch.
        tasks: In a batch, three or more; each gets as many pictures.
        most: Answers of a task, which has at least two.
        known: How many answers there are; as many as in `answers` if not given.

    Raises:
        FitError: an answer has no picture, pictures and answers are not as many, or tasks of a batch are fewer than
            three or would have no picture, or no choice.
    """
    if len(pictures) != len(answers) or not len(answers):
        raise FitError(f"{len(pictures)} pictures and {len(answers)} answers: give one for each.")
    names = int(answers.max()) + 1 if known is None else known
    if min(most, names) < 2:
        raise FitError(f"{names} answers, {most} at most in a task: a task is a choice between two or more.")
    refuse_tasks(batch, tasks)
    rows_of = [(answers == number).nonzero().flatten() for number in range(names)]
    if lacking := [number for number, rows in enumerate(rows_of) if not len(rows)]:
        raise FitError(f"no picture of answer {lacking[0]}: every answer needs some to learn from.")

    def concepts(_draw: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(pictures), (batch,))
        return pictures[rows], answers[rows]

    def choices(_draw: int) -> tuple[Tensor, ...]:
        codes, rows = torch.zeros(tasks, names), []
        for task in range(tasks):
            chosen = torch.randperm(names)[: int(torch.randint(2, min(most, names) + 1, ()))]
            codes[task, chosen] = 1
            drawn = chosen[torch.randint(len(chosen), (batch // tasks,))].tolist()
            rows += [rows_of[number][torch.randint(len(rows_of[number]), ())] for number in drawn]
        picked = torch.stack(rows)
        return pictures[picked], answers[picked], codes

    return Lessons(concepts, choices)


def learned(
    host: TimmSupernet,
    space: Space,
    lessons: Lessons,
    out: Path,
    *,
    lowest: float,
    highest: float = 1.0,
    concepts: int,
    customising: int,
    rate: float = 2e-3,
    probe: Probe | None = None,
    begins: float | None = None,
    assembler: Assembler | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    card: Mapping[str, Any] | None = None,
    seed: int = 0,
    stop_after: float | None = None,
) -> Kit:
    """Train a supernet and an assembler for it, concepts first, then gates and weights together.

    Args:
        out: The folder of the run; what it holds of the same run is gone on with. Each stage's folder there tells by
            `settings.json` what it was begun with; lessons and the assembler are not told.
        lowest, highest: Shares of MACs to train for; the highest about a half where the space has a shared head, for
            then it must be below 1.
        concepts, customising: Steps of the stages.
        rate: Peak learning rate of both.
        probe: Looks for concepts in place of the classifier, where the answers are no concepts. Batches of
            tasks may end with what is in each cell; then it goes on learning.
        begins: The lowest share that the second stage begins with; it falls to `lowest` over the first half.
        assembler: To train; a fresh one if not given.
        mean, std: By which the pictures were normalised; 0 and 1 for each channel if not given.
        card: What is told of the kit.
        seed: Of the draws, and of a fresh assembler; the supernet's own weights are the caller's.
        stop_after: Seconds after which a stage stops, to go on when called again.

    Returns:
        The kit as it is read from its folder later: for use, with batch norms folded. `host` is trained in place.

    Raises:
        FitError: before anything is learned: the supernet has another number of outputs than the space, or the
            assembler or the normalisation is for another; its batch norms are folded; there are no such shares, or no
            steps; a probe, or a share to begin with, for things.
        CardError: `out` holds the run of another model, or one that was begun otherwise.
        Unfinished: a stage was stopped; nothing after it was begun.
    """
    refuse_other_answers(space, host)
    refuse_folded(host)
    refuse_no_steps(concepts, customising)
    for_training(host)
    seed_everything(seed)
    assembler = assembler or Assembler.of(space, Grounds.of(host.outline, host.answers))
    channels = host.size[0]
    kit = Kit(host, assembler, space, lowest, mean or (0.0,) * channels, std or (1.0,) * channels, highest=highest)
    first = Naming(host, lowest) if space.things else Concepts(host, lowest, probe)
    second = second_stage(kit, probe, begins, customising // 2)  # before the first: what it refuses is refused now
    schedule = Schedule(concepts, rate, cooldown=concepts // 3)
    keep_settings(out / "concepts", {**told_of(kit), "rate": rate, "seed": seed, "steps": concepts})
    begun = fit(first, lessons.concepts, schedule, out / "concepts", seed=seed, stop_after=stop_after)
    refuse_unfinished(begun, concepts, out / "concepts")
    so_far = {**(card or {}), "steps": [int(begun["step"])], "seconds": begun["seconds"]}
    settings = {**told_of(kit), "rate": rate, "seed": seed, "steps": customising, "highest": highest, "begins": begins}
    keep_settings(out / "customising", settings)
    return customised(
        replace(kit, card=so_far), second, lessons, Schedule(customising, rate, cooldown=customising // 2),
        out / "customising", seed, stop_after,
    )  # fmt: skip


def learned_further(
    kit: Kit,
    lessons: Lessons,
    out: Path,
    *,
    steps: int,
    lowest: float | None = None,
    rate: float = 5e-4,
    probe: Probe | None = None,
    card: Mapping[str, Any] | None = None,
    seed: int = 100,
    stop_after: float | None = None,
) -> Kit:
    """Train a kit's second stage further: on pictures of one's own with the same names, or for smaller budgets.

    Args:
        kit: As it was read or learned; it stays as it is.
        lessons: Of which only `tasks` are given.
        out: The folder of the run; what it holds of the same run, begun from the same weights, is gone on with.
        steps: Of this training; they come after those that the kit's card tells.
        lowest: The smallest share of MACs to train for; that of the kit if not given.
        rate: Peak learning rate.
        probe: One made anew, where batches tell what is in each cell and that is not to be unlearned; kits have none.
        card: What is told of the kit besides, or instead, of what its card says.
        seed: Of the draws. With the kit's own it would see the same pictures again.
        stop_after: Seconds after which training stops, to go on when called again.

    Returns:
        A kit for use, with batch norms folded.

    Raises:
        FitError: there are no such shares, or no steps; a probe for things.
        CardError: `out` holds the run of another model, or one that was begun otherwise.
        Unfinished: it was stopped.
    """
    refuse_no_steps(steps)
    host, assembler = deepcopy((kit.host.unfolded or kit.host, kit.assembler))
    for_training(host)
    own = replace(
        kit, host=host, assembler=assembler, lowest=kit.lowest if lowest is None else lowest,
        card={"steps": [], **kit.card, **(card or {})},
    )  # fmt: skip
    second = second_stage(own, probe)
    # Not of statistics: they are taken anew whenever a training ends, and another machine's differ in the last bits.
    began = digest_of(nn.ParameterList([*host.module.parameters(), *assembler.parameters()]))
    settings = {**told_of(own), "rate": rate, "seed": seed, "steps": steps, "highest": kit.highest, "from": began}
    keep_settings(out, settings)
    return customised(own, second, lessons, Schedule(steps, rate, cooldown=steps // 2), out, seed, stop_after)


def for_training(host: TimmSupernet) -> None:
    """Have all of a supernet learn, laid out in memory as convolutions of training like it."""
    host.module.requires_grad_(True).to(memory_format=torch.channels_last)  # on CPUs a tenth to two fifths less time


def told_of(kit: Kit) -> dict[str, Any]:
    """What a run's settings tell of a kit in training."""
    host = kit.host
    return {
        "space": asdict(kit.space), "architecture": host.architecture, "arguments": host.arguments, "size": host.size,
        "grain": host.grain, "lowest": kit.lowest,
    }  # fmt: skip


def second_stage(kit: Kit, probe: Probe | None = None, begins: float | None = None, easing: int = 0) -> nn.Module:
    """What learns in the second stage: a kit's assembler and supernet together.

    Raises:
        FitError: there are no such shares; a probe, or a share to begin with, for things; the supernet is folded.
    """
    if kit.space.things:
        if probe is not None or begins is not None:
            raise FitError(
                "a detector learns without a probe, and its budgets do not fall: leave out 'probe' and 'begins'."
            )
        groups = kit.space.groups_of(kit.space.names)
        return Seeking(kit.host, kit.assembler, groups, kit.lowest, highest=kit.highest)
    return Customising(
        kit.host, kit.assembler, kit.lowest, highest=kit.highest, shared_head=bool(kit.space.shared), probe=probe,
        begins=begins, easing=easing,
    )  # fmt: skip


def customised(
    kit: Kit, second: nn.Module, lessons: Lessons, schedule: Schedule, out: Path, seed: int, stop_after: float | None
) -> Kit:
    """The second stage, from a kit in training, whose card tells what it learned before, to one for use."""
    steps = schedule.steps
    done = fit(second, lessons.tasks, schedule, out, seed=seed, stop_after=stop_after)
    refuse_unfinished(done, steps, out)
    wear_average(second, out)
    second.to("cpu")  # where pictures are; it learned where the accelerator is
    told = {**kit.card, "steps": [*kit.card["steps"], int(done["step"])]}
    if "seconds" in told:  # or what came before is not known
        told["seconds"] = round(told["seconds"] + done["seconds"], 1)
    kit.assembler.eval()
    # The averaged weights never met the statistics, and these are of a mixture of models, as in training.
    with torch.no_grad(), statistics_anew(kit.host.module):
        for draw in range(steps, steps + REFRESHING):  # which were not learned from
            seed_everything(seed, draw)
            second(lessons.tasks(draw))
    kit.host.module.to(memory_format=torch.contiguous_format).eval()
    return folded(replace(kit, card=told))


def refuse_no_steps(*steps: int) -> None:
    """Raise `FitError` for a stage that would leave nothing behind."""
    if min(steps) < 1:
        raise FitError(f"{min(steps)} steps of a stage: give it one or more.")


def refuse_unfinished(done: Mapping[str, float], steps: int, run: Path) -> None:
    """Raise `Unfinished` for a stage that was stopped: the next one would begin from weights that are not its own."""
    if done["step"] < steps:
        raise Unfinished(f"{run}: stopped after {done['step']:.0f} of {steps} steps. Call it again to go on.")
