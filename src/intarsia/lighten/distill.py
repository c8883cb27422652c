"""A small UNet learns from the large one that it was cut out of: task, answers and features at once.

Source: BK-SDM's loss, task + output + features at the end of every block, all weighing 1.
Its features outweigh all else by their scale; `normalised` divides each by the mean square of the teacher's, which is
LAPTOP-Diff's remedy. Training the replaced parts stage by stage inside a frozen model is A-SDM's progressive
incubation as we understand it; what the paper leaves open is ours. Latents and words are made once and kept; the
teacher's targets are not, for noise and time steps are drawn anew at each step, so none is ever asked for twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import FitError
from ..parts.expert_conv import ExpertConv2d
from ..rig.answering import first_tensor
from ..rig.listening import listening
from ..train.groups import Group
from ..train.noising import noised

Tell = Callable[[Any, Tensor], Mapping[str, Any]]  # from words of a batch and its time steps to keyword arguments


def told(words: Any, _times: Tensor) -> Mapping[str, Any]:
    """What a UNet is called with besides latents and time steps: token states, or a mapping of everything."""
    return words if isinstance(words, Mapping) else {"encoder_hidden_states": words}


@dataclass(frozen=True)
class Weights:
    """What counts how much, and whether features are divided by their teacher's mean square."""

    task: float = 1.0
    output: float = 1.0
    feature: float = 1.0
    normalised: bool = True


class Distilling(nn.Module):
    """The losses of a student beside its teacher, for `train.fit`.

    A batch is (latents, words): latents (batch, channels, height, width) and whatever `tell` reads.

    Args:
        noise: A diffusers scheduler with `add_noise` and, for v-prediction, `get_velocity`.
        pairs: For each path in the student whose answer is compared, the path in the teacher.
        channel_weights: What an error in each channel of the answer counts, mean 1, if they do not count alike: for
            latents whose channels carry unequal shares of the picture.
        late: Where time steps dwell; see `train.noising.noised`. A student is best taught as its teacher was.
        tell: What the UNets are told, if words depend on the time step.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        noise: Any,
        pairs: Mapping[str, str],
        weights: Weights = Weights(),
        channel_weights: Tensor | None = None,
        late: float = 1.0,
        tell: Tell = told,
    ) -> None:
        super().__init__()
        self.channels = 1.0 if channel_weights is None else channel_weights.view(1, -1, 1, 1)
        self.student = student
        self.teacher = [teacher.eval().requires_grad_(False)]  # in a list: neither trained nor saved with the student
        self.noise, self.pairs, self.weights = noise, dict(pairs), weights
        self.late, self.tell = late, tell
        for model, paths in ((student, self.pairs.keys()), (teacher, self.pairs.values())):
            known = {path for path, _ in model.named_modules()}
            if strange := [path for path in paths if path not in known]:
                raise FitError(f"{type(model).__name__} has no {strange[0]!r}: this student is of another teacher.")

    def forward(self, batch: tuple[Tensor, Any]) -> dict[str, Tensor]:
        latents, words = batch
        noisy, times, wanted = noised(self.noise, latents, late=self.late)
        called = self.tell(words, times)
        (teacher,) = self.teacher
        if not self.weights.output and not self.weights.feature:  # nobody asks the teacher
            task = self.off(first_tensor(self.student(noisy, times, **called)).float(), wanted)
            return {"loss": self.weights.task * task, "task": task}
        teacher.to(latents.device)
        with torch.no_grad(), listening(teacher, list(self.pairs.values())) as theirs:
            taught = first_tensor(teacher(noisy, times, **called)).float()
        with listening(self.student, list(self.pairs)) as ours:
            found = first_tensor(self.student(noisy, times, **called)).float()
        losses = {"task": self.off(found, wanted), "output": self.off(found, taught)}
        losses["feature"] = sum(
            (self.apart(ours[path][-1], theirs[twin][-1]) for path, twin in self.pairs.items()), found.new_zeros(())
        )
        weighted = sum(getattr(self.weights, name) * loss for name, loss in losses.items())
        return {"loss": torch.as_tensor(weighted), **losses}

    def learning_groups(self) -> list[Group]:
        """What mixes experts begins at nothing and has as many steps as all else: ten times the rate, and no decay."""
        convs = [module for module in self.student.modules() if isinstance(module, ExpertConv2d)]
        mixing = [value for conv in convs for value in (conv.scores, conv.router) if value is not None]
        return [Group(mixing, factor=10.0, weight_decay=0.0)] if mixing else []

    def off(self, found: Tensor, wanted: Tensor) -> Tensor:
        """How far an answer is from what it should be."""
        channels = self.channels.to(found) if isinstance(self.channels, Tensor) else self.channels
        return (channels * (found - wanted).square()).mean()

    def apart(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """How far a feature is from the teacher's."""
        loss = F.mse_loss(ours.float(), theirs.float())
        return loss / theirs.float().square().mean() if self.weights.normalised else loss


def block_pairs(student: UNet2DConditionModel, teacher: UNet2DConditionModel) -> dict[str, str]:
    """The blocks that both have, by name; BK-SDM compares them but for the middle one.

    For an assembled student, `record.blocks_of`.
    """

    def blocks(model: UNet2DConditionModel) -> list[str]:
        found = [f"down_blocks.{number}" for number in range(len(model.down_blocks))]
        found += ["mid_block"] * (model.mid_block is not None)
        return found + [f"up_blocks.{number}" for number in range(len(model.up_blocks))]

    if len(student.down_blocks) != len(teacher.down_blocks):
        raise FitError("the student has another number of levels: name the pairs of features by hand.")
    theirs = set(blocks(teacher))
    return {path: path for path in blocks(student) if path in theirs}
