"""The generative module assembler: from a task to a score for every unit of a supernet, in one forward pass.

Source: NN-Factory (Xu et al. 2023), the module assembler. Differs from it: a task is a set, encoded by a sum; the
budget is no input, for one ranking serves every budget; LayerNorm for BatchNorm, which needs no batch.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..errors import FitError
from .ranking import Grounds, Ranking
from .task import Task

MOST_PARAMETERS = 1_000_000


class Assembler(nn.Module):
    """Scores for all units of a supernet, for any task.

    Args:
        answers: How many answers there are to choose tasks from.
        units: How many units there are to score.
        width: Of the hidden layers.

    Raises:
        FitError: it would have more than a million parameters.
    """

    def __init__(self, answers: int, units: int, width: int = 192) -> None:
        super().__init__()
        self.answers, self.units, self.width = answers, units, width
        self.parts = nn.Linear(answers, width, bias=False)
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
            tasks: (tasks, answers), 1 where an answer belongs to a task. The product with the embeddings is a sum over
                a set, always taken in the same order, so the order in which a person names its parts cannot matter.

        Returns:
            (tasks, units), of mean 0 and variance 1 for each task.
        """
        summed = self.parts(tasks) / tasks.sum(1, keepdim=True).sqrt()
        return self.alike(self.scores(self.trunk(summed)))

    def codes(self, tasks: Iterable[Task]) -> Tensor:
        """(tasks, answers): tasks as `forward` takes them."""
        wanted = list(tasks)
        codes = torch.zeros(len(wanted), self.answers, device=self.parts.weight.device)
        for row, task in enumerate(wanted):
            codes[row, list(task.answers)] = 1.0
        return codes

    @torch.no_grad()
    def rank(self, tasks: Sequence[Task], grounds: Grounds) -> list[Ranking]:
        """The ranking of each task, in double precision, so that rounding on one machine or another decides nothing."""
        if len(grounds.site_of) != self.units:
            raise FitError(f"the assembler scores {self.units} units, and the supernet has {len(grounds.site_of)}.")
        exact = copy.deepcopy(self).double().cpu()
        return [
            Ranking.by_score(grounds, exact(self.codes([task]).cpu().double())[0].numpy(), task.answers)
            for task in tasks
        ]
