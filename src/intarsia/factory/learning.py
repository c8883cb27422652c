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
from .cuts import Cuts, by_site, random_parts, strata
from .ranking import Grounds

FAR = -1e4  # of answers that a task does not have, before the softmax
Batch = tuple[Tensor, Tensor, Tensor]


def within(logits: Tensor, tasks: Tensor) -> Tensor:
    """Logits in which the answers that a task does not have are out of the question: (rows, answers)."""
    return logits.masked_fill(tasks == 0, FAR)


class Probe(nn.Module):
    """Tells what is in each cell of a picture, from a layer of a supernet: a teacher's aid, thrown away afterwards.

    Args:
        layer: The module whose map, (batch, channels, height, width), is looked at.
        concepts: How many things there are to tell apart.
        cells: Rows and columns of the grid; the map's sides are multiples of it.
    """

    def __init__(self, host: TimmSupernet, layer: str, concepts: int, cells: int) -> None:
        super().__init__()
        self.layer, self.cells = layer, cells
        with torch.no_grad():
            channels = self.map_of(host.module, torch.zeros(2, *host.size)).shape[1]
        self.told = nn.Conv2d(channels, concepts, 1)

    def map_of(self, net: nn.Module, pictures: Tensor) -> Tensor:
        """What the layer hands on in a call."""
        seen: list[Tensor] = []
        handle = net.get_submodule(self.layer).register_forward_hook(lambda _module, _args, out: seen.append(out))
        try:
            net(pictures)
        finally:
            handle.remove()
        return seen[0]

    def forward(self, net: nn.Module, pictures: Tensor) -> Tensor:
        """(batch, concepts, cells, cells)."""
        return self.told(F.adaptive_avg_pool2d(self.map_of(net, pictures), self.cells))


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
            logits = self.net(pictures) if self.probe is None else self.probe(self.net, pictures)
        right = (logits.argmax(1) == answers).float()
        return {
            "loss": F.cross_entropy(logits, answers),
            "accuracy_whole": right[half:].mean(),
            "accuracy_parts": right[:half].mean(),
        }


class Customising(nn.Module):
    """Second stage: the assembler and the supernet together, over tasks and budgets.

    A batch is (pictures, answers, tasks): (tasks * each, channels, height, width), (tasks * each), and (tasks, parts)
    with 1 where a part belongs to a task; the pictures of the first task come first. Every picture goes through the
    largest model for its task and through the one that the assembler cuts out at a budget. The budgets of a step come
    from all strata in turn, so there are at least as many tasks as strata.

    Args:
        lowest, highest: The shares of MACs to train for.
        shared_head: All tasks have all answers, and only the gates tell them apart. The highest share is then below 1.
        distilled: Weight of what the largest model for the same task says, beside the answers themselves.

    Raises:
        FitError: there are no such shares; or a head is shared by models that could not tell their tasks apart.
    """

    def __init__(
        self,
        host: TimmSupernet,
        assembler: Assembler,
        lowest: float,
        *,
        highest: float = 1.0,
        shared_head: bool = False,
        distilled: float = 1.0,
    ) -> None:
        super().__init__()
        self.net, self.assembler = host.module, assembler
        self.host: list[TimmSupernet] = [host]
        grounds = Grounds.of(host.outline, host.answers)
        if shared_head and highest >= 1:
            raise FitError("with a shared head the whole supernet answers all tasks alike: train for less than 100%.")
        self.cuts = Cuts(grounds, strata(grounds, lowest, highest), highest)
        self.shared_head, self.distilled = shared_head, distilled

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        pictures, answers, tasks = batch
        if len(pictures) % len(tasks):
            raise FitError(f"{len(pictures)} pictures of {len(tasks)} tasks: give each task as many.")
        self.net.train()
        each = len(pictures) // len(tasks)
        offered = tasks.new_ones(len(tasks), len(self.cuts.grounds.every_answer)) if self.shared_head else tasks
        gates = torch.cat(self.cuts.gates(self.assembler(tasks), offered)).repeat_interleave(each, 0)
        # One pass for both paths: batch norms then see in training the mixture that their running statistics are of.
        with gated(self.host[0], by_site(self.cuts.grounds, gates)):
            logits = self.net(torch.cat([pictures, pictures]))
        large, part = within(logits, torch.cat([offered, offered]).repeat_interleave(each, 0)).chunk(2)
        taught = F.kl_div(part.log_softmax(1), large.detach().log_softmax(1), log_target=True, reduction="batchmean")
        right = (part.argmax(1) == answers).float().reshape(len(tasks), each).mean(1)
        return {
            "loss": F.cross_entropy(large, answers) + F.cross_entropy(part, answers) + self.distilled * taught,
            "accuracy_largest": (large.argmax(1) == answers).float().mean(),
            **self.cuts.by_budget("accuracy", right),
        }
