"""Do the gates know the task? How good models are with a task's own units, another's, the mean ones and random ones.

In a prototype another task's units did as well, while the headline looked perfect. So these rows stand in every table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import FitError
from ..rig import bake
from .cuts import masks_of
from .exams import Exam
from .frontier import marked
from .kit import Kit
from .ranking import Ranking, refuse_share
from .task import Task, codes_of

WAYS = ("own", "another's", "mean", "random")


@dataclass(frozen=True)
class Audit:
    """Accuracies of models.

    Attributes:
        shares: Of MACs.
        accuracy: By whose units they are, at each share, the mean over tasks.
        overlap: At each share, the mean over pairs of tasks of units shared over units kept by either.
    """

    shares: tuple[float, ...]
    accuracy: dict[str, tuple[float, ...]]
    overlap: tuple[float, ...]


def whose(kit: Kit, tasks: Sequence[Task], *, seed: int = 0) -> dict[str, list[Ranking]]:
    """For each task, the rankings of all `WAYS`.

    Another's are those of one other task each, all in a ring in random order.

    Raises:
        FitError: there is no other task.
    """
    if (count := len(set(tasks))) < 2:
        raise FitError(f"{count} tasks to audit: give two or more different ones, so that there are another's units.")
    codes = codes_of(tasks, len(kit.space.names))
    with torch.no_grad():
        raw = kit.assembler(codes).double().numpy()
    draws = np.random.default_rng(seed)
    ring = draws.permutation(len(tasks))
    others = np.empty_like(raw)
    others[ring] = raw[np.roll(ring, 1)]

    def ranked(values: Sequence[np.ndarray]) -> list[Ranking]:
        return [Ranking.by_score(kit.grounds, one, task.answers) for one, task in zip(values, tasks, strict=True)]

    return {
        "own": kit.assembler.rank(tasks, kit.grounds),
        "another's": ranked(list(others)),
        "mean": ranked([raw.mean(0)] * len(tasks)),
        "random": ranked([draws.normal(size=raw.shape[1]) for _ in tasks]),
    }


def accuracies(
    kit: Kit,
    tasks: Sequence[Task],
    rankings: Mapping[str, Sequence[Ranking]],
    exam: Exam,
    shares: Sequence[float],
) -> dict[str, np.ndarray]:
    """By way, (tasks, shares): how good models of beginnings of these rankings are. Each model is judged once: where
    nothing is left out, all ways of a task are one."""
    rates = {way: np.empty((len(tasks), len(shares))) for way in rankings}
    for row, task in enumerate(tasks):
        pictures, marks = exam(task)
        judged: dict[bytes, float] = {}
        for way, ranks in rankings.items():
            for column, share in enumerate(shares):
                length = ranks[row].cut_at_share(share)
                kept = ranks[row].beginning(length).tobytes()
                if kept not in judged:
                    model = bake(ranks[row].plan(length), kit.host)[0].eval()
                    judged[kept] = marked(model, pictures, marks)
                rates[way][row, column] = judged[kept]
    return rates


def overlap(rankings: Sequence[Ranking], share: float) -> float:
    """The mean over pairs of rankings of units shared over units kept by either."""
    masks = masks_of(rankings, [one.cut_at_share(share) for one in rankings])
    both = masks @ masks.T
    either = masks.sum(1)[:, None] + masks.sum(1)[None] - both
    apart = ~torch.eye(len(rankings), dtype=torch.bool)
    shared = torch.where(either > 0, both / either.clamp(min=1), 1.0)  # of models that keep nothing, all
    return float(shared[apart].mean())


def audit(kit: Kit, tasks: Sequence[Task], exam: Exam, shares: Sequence[float], *, seed: int = 0) -> Audit:
    """Accuracy by budget, and whether it depends on whose units are used.

    Raises:
        FitError: a share was not trained for, or there are fewer than two tasks.
    """
    for share in shares:
        refuse_share(share, kit.lowest, kit.highest)
    rankings = whose(kit, tasks, seed=seed)
    found = accuracies(kit, tasks, rankings, exam, shares)
    return Audit(
        tuple(shares),
        {way: tuple(rates.mean(0).tolist()) for way, rates in found.items()},
        tuple(overlap(rankings["own"], share) for share in shares),
    )


def table(found: Audit) -> str:
    """An audit as people read it."""
    lines = ["share of MACs  " + "  ".join(f"{share:5.0%}" for share in found.shares)]
    lines += [f"{way:<15}" + "  ".join(f"{rate:5.1%}" for rate in rates) for way, rates in found.accuracy.items()]
    lines.append("overlap        " + "  ".join(f"{share:5.0%}" for share in found.overlap))
    return "\n".join(lines)
