"""How a supernet and its assembler learn: two objectives for `train.fit`, one after the other.

First concepts: what is to be seen is learned, whole and in random parts, so that any subnet is alive; gates that are
learned from nothing stayed at chance. Then gates and weights together: for tasks and budgets drawn anew at each step,
the model cut out by the assembler learns the answers and what the largest model for the same task says.

Where all tasks share one head, only the gates tell them apart. Then the largest model is not the whole supernet, which
is the same for every task, but the one at the highest share of MACs.

Source: NN-Factory (Xu et al. 2023), joint training over sampled tasks and budgets; the sandwich of whole and cut paths
and the distillation between them are BigNAS's (Yu et al. 2020). Differs from NN-Factory: budgets are of MACs and are
met by the cut that is used when the model is made, with straight-through gradients around its threshold.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import FitError
from ..hosts.timm_supernet import TimmSupernet
from ..rig import gated
from .assembler import Assembler
from .cuts import Cuts, by_site, random_parts, refuse_folded, strata
from .probe import Probe
from .ranking import Grounds

FAR = -1e4  # of answers that a task does not have, before the softmax
CONCEPTS = 0.3  # what a probe counts in the second stage, beside answers
Batch = tuple[Tensor, ...]


def within(logits: Tensor, tasks: Tensor) -> Tensor:
    """Logits in which the answers that a task does not have are out of the question: (rows, answers)."""
    return logits.masked_fill(tasks == 0, FAR)


class Concepts(nn.Module):
    """First stage: all answers, or what is in each cell of a picture, by the whole supernet and by random parts of it.

    A batch is (pictures, answers): (batch, channels, height, width), and (batch), or with a probe (batch, rows,
    columns).

    Args:
        lowest: The smallest share of MACs to train for.
        probe: Where concepts are not the answers: looks for them in place of the classifier.
    """

    def __init__(self, host: TimmSupernet, lowest: float, probe: Probe | None = None) -> None:
        super().__init__()
        refuse_folded(host)
        self.net, self.probe = host.module, probe
        self.host: list[TimmSupernet] = [host]  # in a list: no module, and saved elsewhere
        self.grounds = Grounds.of(host.outline, host.answers)
        self.strata = strata(self.grounds, lowest)

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        pictures, answers = batch
        self.net.train()
        half = len(pictures) // 2
        masks = random_parts(self.grounds, self.strata, half, len(pictures)).to(pictures.device)
        with gated(self.host[0], by_site(self.grounds, masks)):
            if self.probe is None:
                logits = self.net(pictures)
                loss = F.cross_entropy(logits, answers)
            else:
                told = self.probe(self.net, pictures)
                logits, loss = told.cells, self.probe.wrong(told, answers)
        right = (logits.argmax(1) == answers).float()
        return {
            "loss": loss,
            "accuracy_whole": right[half:].mean(),
            "accuracy_parts": right[:half].mean(),
        }


class Customising(nn.Module):
    """Second stage: the assembler and the supernet together, over tasks and budgets.

    A batch is (pictures, answers, tasks): (tasks * each, channels, height, width), (tasks * each), and (tasks, parts)
    with 1 where a part belongs to a task; the pictures of the first task come first. Every picture goes through the
    largest model for its task and through the one that the assembler cuts out at a budget. The budgets of a step come
    from all strata in turn, so there are at least as many tasks as strata. Where a probe is
    to go on learning, (tasks * each, rows, columns) comes last: what is in each cell.

    Args:
        lowest, highest: The shares of MACs to train for.
        shared_head: All tasks have all answers, and only the gates tell them apart. The highest share is then below 1;
            about a half is best: of larger models too little is left out to tell tasks apart.
        distilled: Weight of what the largest model for the same task says, beside the answers themselves.
        probe: The first stage's, so that what is in each cell is not unlearned.
        begins: The lowest share to begin with, which falls to `lowest` over `easing` steps.

    Raises:
        FitError: there are no such shares; or a head is shared by models that could not tell their tasks apart.
    """

    step: Tensor

    def __init__(
        self,
        host: TimmSupernet,
        assembler: Assembler,
        lowest: float,
        *,
        highest: float = 1.0,
        shared_head: bool = False,
        distilled: float = 1.0,
        probe: Probe | None = None,
        begins: float | None = None,
        easing: int = 0,
    ) -> None:
        super().__init__()
        refuse_folded(host)
        self.net, self.assembler, self.probe = host.module, assembler, probe
        self.host: list[TimmSupernet] = [host]
        grounds = Grounds.of(host.outline, host.answers)
        if shared_head and highest >= 1:
            raise FitError("with a shared head the whole supernet answers all tasks alike: train for less than 100%.")
        if begins is not None and not lowest <= begins <= highest:
            raise FitError(
                f"budgets cannot begin at {begins:.1%}: begin at {lowest:.1%}, where they end, to {highest:.1%}."
            )
        self.cuts = Cuts(grounds, strata(grounds, lowest, highest), highest)
        self.shared_head, self.distilled = shared_head, distilled
        self.lowest, self.begins, self.easing = lowest, begins or lowest, easing
        self.register_buffer("step", torch.zeros((), dtype=torch.long))  # a buffer, so that a resumed run knows it

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        pictures, answers, tasks, *cells = batch
        if len(pictures) % len(tasks):
            raise FitError(f"{len(pictures)} pictures of {len(tasks)} tasks: give each task as many.")
        self.net.train()
        each = len(pictures) // len(tasks)
        offered = tasks.new_ones(len(tasks), len(self.cuts.grounds.every_answer)) if self.shared_head else tasks
        cuts = self.cuts.gates(self.assembler(tasks), offered, self.least())
        gates = torch.cat(cuts).repeat_interleave(each, 0)
        self.step += 1
        twice = torch.cat([pictures, pictures])
        concepts: Tensor | float = 0.0
        # One pass for both paths: batch norms then see in training the mixture that their running statistics are of.
        with gated(self.host[0], by_site(self.cuts.grounds, gates)):
            if self.probe is None or not cells:
                logits = self.net(twice)
            else:
                told = self.probe(self.net, twice)
                logits, concepts = told.answers, F.cross_entropy(told.cells, torch.cat([*cells, *cells]))
        large, part = within(logits, torch.cat([offered, offered]).repeat_interleave(each, 0)).chunk(2)
        taught = F.kl_div(part.log_softmax(1), large.detach().log_softmax(1), log_target=True, reduction="batchmean")
        right = (part.argmax(1) == answers).float().reshape(len(tasks), each).mean(1)
        answered = F.cross_entropy(large, answers) + F.cross_entropy(part, answers)
        return {
            "loss": answered + self.distilled * taught + CONCEPTS * concepts,
            "accuracy_largest": (large.argmax(1) == answers).float().mean(),
            **self.cuts.by_budget("accuracy", right),
        }

    def least(self) -> float:
        """The lowest share of MACs to train for in this step: models lose their units little by little."""
        passed = min(1.0, self.step.item() / self.easing) if self.easing else 1.0
        return self.begins * (self.lowest / self.begins) ** passed
