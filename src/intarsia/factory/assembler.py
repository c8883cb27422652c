"""The generative module assembler: from a task to a score for every unit of a supernet, in one forward pass.

Source: NN-Factory (Xu et al. 2023), the module assembler. Differs from it: a task is a set, encoded by a sum; groups of
parts are scored one by one; the budget is no input, for one ranking serves every budget; LayerNorm for BatchNorm, which
needs no batch.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import FitError
from .ranking import Grounds, Ranking
from .task import Space, Task, codes_of, groups_mask

MOST_PARAMETERS = 1_000_000


class Assembler(nn.Module):
    """Scores for all units of a supernet, for any task.

    Args:
        parts: How many parts there are to make tasks of.
        units: How many units there are to score.
        width: Of the hidden layers.
        groups: Parts that answer one question of a task, such as how many of what. Each group's scores are worked out
            apart from the others', and summed: what is known of 'three' and of 'odd' serves 'three odd', which was
            never asked. All parts are one group if none is given.

    Raises:
        FitError: it would have more than a million parameters.
    """

    def __init__(self, parts: int, units: int, width: int = 192, groups: Sequence[Sequence[int]] = ()) -> None:
        super().__init__()
        self.units, self.width = units, width
        self.groups: Tensor
        self.register_buffer("groups", grouped(groups, parts), persistent=False)
        self.parts = nn.Linear(parts, width, bias=False)
        self.trunk = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(),
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width),
        )  # fmt: skip
        self.scores = nn.Linear(width, units)
        nn.init.normal_(self.parts.weight)
        # Scores are compared with each other only, so their mean and spread are taken out.
        self.alike = nn.LayerNorm(units, elementwise_affine=False)
        count = sum(value.numel() for value in self.parameters())
        if count > MOST_PARAMETERS:
            raise FitError(
                f"an assembler of width {width} for {units} units would have {count} parameters, more than "
                f"{MOST_PARAMETERS}. Choose a smaller width, or a coarser grain of units."
            )

    @classmethod
    def of(cls, space: Space, grounds: Grounds, width: int = 192) -> "Assembler":
        """For the tasks of a space and the units of a supernet."""
        return cls(len(space.names), len(grounds.site_of), width, space.groups_of(space.names))

    def fits(self, space: Space, grounds: Grounds) -> bool:
        """Whether it is for these tasks and units, as `of` makes it."""
        groups = grouped(space.groups_of(space.names), len(space.names))
        return self.units == len(grounds.site_of) and torch.equal(self.groups.cpu(), groups)

    def forward(self, tasks: Tensor) -> Tensor:
        """Scores of units.

        Args:
            tasks: (tasks, parts), 1 where a part belongs to a task. The product with the embeddings is a sum over
                a set, always taken in the same order, so the order in which a person names its parts cannot matter.

        Returns:
            (tasks, units), of mean 0 and variance 1 for each task.
        """
        told = tasks[:, None] * self.groups
        count = told.sum(2, keepdim=True)
        scores = self.scores(self.trunk(self.parts(told) / count.clamp(min=1).sqrt()))
        return self.alike((scores * (count > 0)).sum(1))  # a group of which nothing is told says nothing

    @torch.no_grad()
    def rank(self, tasks: Sequence[Task], grounds: Grounds) -> list[Ranking]:
        """The ranking of each task, in double precision, so that rounding on one machine or another decides nothing."""
        if len(grounds.site_of) != self.units:
            raise FitError(f"the assembler scores {self.units} units, and the supernet has {len(grounds.site_of)}.")
        exact = copy.deepcopy(self).double().cpu()
        return [
            Ranking.by_score(grounds, exact(code[None].double())[0].numpy(), task.answers)
            for task, code in zip(tasks, codes_of(tasks, self.parts.in_features), strict=True)
        ]


def grouped(groups: Sequence[Sequence[int]], parts: int) -> Tensor:
    """(groups, parts): 1 where a part is of a group; all are of one if there is none."""
    return groups_mask(groups or [range(parts)], parts)
