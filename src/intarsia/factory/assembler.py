"""The generative module assembler: from a task to a score for every unit of a supernet, in one forward pass.

Source: NN-Factory (Xu et al. 2023), the module assembler. Differs from it: a task is a set, encoded by a sum; the
budget is no input, for one ranking serves every budget; LayerNorm for BatchNorm, which needs no batch.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import FitError
from .ranking import Grounds, Ranking
from .task import Task, codes_of

MOST_PARAMETERS = 1_000_000


class Assembler(nn.Module):
    """Scores for all units of a supernet, for any task.

    Args:
        parts: How many parts there are to make tasks of.
        units: How many units there are to score.
        width: Of the hidden layers.

    Raises:
        FitError: it would have more than a million parameters.
    """

    def __init__(self, parts: int, units: int, width: int = 192) -> None:
        super().__init__()
        self.units, self.width = units, width
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

    def forward(self, tasks: Tensor) -> Tensor:
        """Scores of units.

        Args:
            tasks: (tasks, parts), 1 where a part belongs to a task. The product with the embeddings is a sum over
                a set, always taken in the same order, so the order in which a person names its parts cannot matter.

        Returns:
            (tasks, units), of mean 0 and variance 1 for each task.
        """
        summed = self.parts(tasks) / tasks.sum(1, keepdim=True).sqrt()
        return self.alike(self.scores(self.trunk(summed)))

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
