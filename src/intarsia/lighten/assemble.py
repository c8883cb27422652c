"""A planner for smaller models: leave out what matters least for what it costs, until the rest is cheap enough.

Every site that can be left out is left out alone first, and the model's answers are compared with its own over calls
of real runs. Then sites go one by one, the least harm for the saving first. Harm is measured again, beside what has
gone already, before a site goes; what has become worse than the next in line waits (lazy greedy).

Source: A-SDM (Zhu et al. 2024) removes layers "particularly in the shallow portions", BK-SDM by hand.
Choosing by measured sensitivity is LD-Pruner's and LAPTOP-Diff's idea; this procedure is ours.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import FitError, PlanError
from ..plan import Outline, Plan, Rule, Skip, resolve
from ..plan.bill import own_macs
from ..rig import Host, applied, bake, unit_seconds
from ..rig.answering import first_tensor
from ..rig.listening import Call


@torch.no_grad()
def answers_to(model: nn.Module, calls: Sequence[Call]) -> list[Tensor]:
    """What a model answers to each call."""
    return [first_tensor(model(*args, **kwargs)).float() for args, kwargs in calls]


def seconds_of(host: Host, calls: Sequence[Call], rounds: int = 3) -> dict[str, float]:
    """What each unit and subunit takes by itself in these calls, in the fastest of several rounds."""
    paths = [site.path for site in host.outline.of_level("unit", "subunit")]
    pieces = {path: host.module.get_submodule(path) for path in paths}
    taken = []
    for _ in range(rounds + 1):
        with unit_seconds(pieces) as seconds:
            answers_to(host.module, calls)
        taken.append(seconds)
    return {path: min(seconds[path] for seconds in taken[1:]) for path in paths}


@dataclass(frozen=True)
class Assembly:
    """What a search for a smaller model came to.

    Attributes:
        plan: One row that leaves sites out.
        alone: For each candidate, the harm when it alone is left out: squared distance of the model's answers to the
            whole model's, over their mean square.
        harm: The same, of the plan.
        share: What is left of the cost.
    """

    plan: Plan
    alone: Mapping[str, float]
    harm: float
    share: float


def assemble(
    host: Host,
    calls: Sequence[Call],
    share: float,
    *,
    seconds: Mapping[str, float] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Assembly:
    """A plan of one row that leaves out the sites that matter least, until a share of the cost is left.

    Args:
        calls: What the model is asked in real runs; see `overheard`.
        share: The budget, between 0 and 1.
        seconds: What each unit and subunit takes by itself (`seconds_of`); MACs are counted if it is not given.
            Seconds do not quite add up, so time the assembled model.
        tell: Told about each harm that was measured.

    Raises:
        PlanError: leaving out everything that can be left out does not save so much.
    """
    outline = host.outline
    own: Mapping[str, float] = seconds if seconds is not None else own_macs(outline)
    whole = cost(outline, (), own)
    wished = answers_to(host.module, calls)
    scale = sum(float(answer.square().sum()) for answer in wished)

    def harm_of(left_out: Sequence[str]) -> float:
        found = answers_without(host, left_out, calls)
        harm = sum(float((a - b).square().sum()) for a, b in zip(found, wished, strict=True)) / scale
        tell(left_out[-1])
        return harm

    alone: dict[str, float] = {}
    line: list[tuple[float, str]] = []  # least harm for the saving first
    not_yet = list(candidates(outline))
    gone: list[str] = []
    harm = 0.0

    def queue_what_can_go() -> None:
        """Measure what can be left out now, and could not before: stages go from the deepest up."""
        for path in tuple(not_yet):
            try:
                found = harm_of([*gone, path]) - harm
            except FitError:
                continue
            not_yet.remove(path)
            if not gone:
                alone[path] = found
            saved = cost(outline, gone, own) - cost(outline, [*gone, path], own)
            heapq.heappush(line, (found / max(saved, 1e-12 * whole), path))

    queue_what_can_go()
    while (left := cost(outline, gone, own)) > share * whole:
        while line and any(line[0][1] in outline.within[path] for path in gone):
            heapq.heappop(line)
        if not line:
            raise PlanError(f"leaving out all that can be left out leaves {left / whole:.1%}, more than {share:.1%}.")
        _, path = heapq.heappop(line)
        covered = [other for other in gone if other not in outline.within[path]] + [path]
        saved = left - cost(outline, covered, own)
        if saved <= 0:
            continue
        found = harm_of(covered)
        score = (found - harm) / saved
        if line and score > line[0][0]:
            heapq.heappush(line, (score, path))
        else:
            gone, harm = covered, found
            queue_what_can_go()
    left = cost(outline, gone, own) / whole
    told = {"of": "MACs" if seconds is None else "seconds", "share": round(left, 4), "harm": float(f"{harm:.3g}")}
    return Assembly(plan_without(gone, **told), alone, harm, left)


def answers_without(host: Host, gone: Sequence[str], calls: Sequence[Call]) -> list[Tensor]:
    """What a model answers when these sites are left out; live, unless a smaller model has to be built for it."""
    plan = plan_without(gone)
    if any(host.outline.by_path[path].skip == "cut" for path in gone):
        return answers_to(bake(plan, host)[0], calls)
    found = []
    for call in calls:
        with applied(plan, host):
            found += answers_to(host.module, [call])
    return found


def plan_without(paths: Sequence[str], **figures: str | float) -> Plan:
    """The plan of one row that leaves these sites out."""
    made_by: dict[str, str | int | float | bool] = {"planner": "assemble", **figures}
    return Plan(1, tuple(Rule("0", path, Skip()) for path in paths), made_by=made_by)


def candidates(outline: Outline) -> list[str]:
    """The sites that can be left out of a model and cost anything."""
    return [site.path for site in outline.sites if site.skip != "never" and site.macs]


def cost(outline: Outline, gone: Sequence[str], own: Mapping[str, float]) -> float:
    """What is left when these sites are gone."""
    running = resolve(plan_without(gone), outline).flows[0].running
    return sum(own[path] for path in running)
