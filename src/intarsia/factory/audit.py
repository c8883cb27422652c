"""Do the gates know the task? Accuracy with a task's own units, another task's, the mean ones and random ones.

In a prototype another task's units did as well, while the headline looked perfect. So these rows stand in every table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..rig import gated
from .kit import Kit
from .learning import by_site, masks_of, within
from .ranking import Ranking, refuse_share
from .task import Task

WAYS = ("own", "another's", "mean", "random")


@dataclass(frozen=True)
class Audit:
    """Accuracies of gated supernets.

    Attributes:
        shares: Of MACs.
        accuracy: By whose units they are, at each share, the mean over tasks.
        overlap: At each share, the mean over pairs of tasks of units shared over units kept by either.
    """

    shares: tuple[float, ...]
    accuracy: dict[str, tuple[float, ...]]
    overlap: tuple[float, ...]


@torch.no_grad()
def audit(
    kit: Kit, tasks: Sequence[Task], pictures: Tensor, answers: Tensor, shares: Sequence[float], *, seed: int = 0
) -> Audit:
    """Accuracy by budget, and whether it depends on whose units are used.

    Args:
        pictures: (count, channels, height, width), normalised.
        answers: (count): numbers in the kit's space.

    Raises:
        FitError: a share was not trained for.
    """
    for share in shares:
        refuse_share(share, kit.lowest)
    scores = kit.assembler.rank(tasks, kit.grounds)
    codes = kit.assembler.codes(tasks)
    raw = kit.assembler(codes).double().numpy()
    draws = np.random.default_rng(seed)

    def ranked(values: Sequence[np.ndarray]) -> list[Ranking]:
        return [Ranking.by_score(kit.grounds, one, task.answers) for one, task in zip(values, tasks, strict=True)]

    rankings = {
        "own": scores,
        "another's": ranked(np.roll(raw, 1, axis=0)),
        "mean": ranked([raw.mean(0)] * len(tasks)),
        "random": ranked([draws.normal(size=raw.shape[1]) for _ in tasks]),
    }
    net = kit.host.module.eval()
    found: dict[str, tuple[float, ...]] = {}
    overlaps = []
    for way, ranks in rankings.items():
        rates = []
        for share in shares:
            masks = masks_of(ranks, [one.cut_at_share(share) for one in ranks])
            if way == "own":
                both = masks @ masks.T
                either = masks.sum(1)[:, None] + masks.sum(1)[None] - both
                apart = ~torch.eye(len(tasks), dtype=torch.bool)
                overlaps.append(float((both / either)[apart].mean()))
            rights = []
            for row, task in enumerate(tasks):
                asked = torch.isin(answers, torch.tensor(task.answers))
                with gated(kit.host, by_site(kit.grounds, masks[row : row + 1].expand(int(asked.sum()), -1))):
                    logits = within(net(pictures[asked]), codes[row : row + 1])
                rights.append(float((logits.argmax(1) == answers[asked]).float().mean()))
            rates.append(float(np.mean(rights)))
        found[way] = tuple(rates)
    return Audit(tuple(shares), found, tuple(overlaps))
