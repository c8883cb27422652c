"""Several kernels in place of one, mixed by what comes in and convolved once: capacity that costs no time.

A convolution with `n` experts answers (a1 W1 + ... + an Wn) * x, which is one convolution however many experts there
are. The weights a come from a gate over a router: of the input's mean, of the time step, or of nothing.

Source: ME-CondConv of A-SDM (Zhu et al. 2024) says that experts go into pruned blocks and inherit the
kernels of what was removed; the mixture is CondConv's (Yang et al. 2019). Routing by time, so that a sampler's
steps can be merged beforehand, and the `offset` gate are ours.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import FitError

Routing = Literal["input", "time", "fixed"]
MERGED_BYTES = 2**30  # of merged kernels that one model keeps; at further time steps they are merged at each call
TIME_FEATURES = 64


def softmax(scores: Tensor) -> Tensor:
    """Weights between 0 and 1 that sum to 1; equal while scores are."""
    return scores.softmax(-1)


def sigmoid(scores: Tensor) -> Tensor:
    """CondConv's gate, scaled so that scores of zero weigh 1 in all."""
    return scores.sigmoid() * (2 / scores.shape[-1])


def offset(scores: Tensor) -> Tensor:
    """All of the first expert and nothing of the others while scores are equal; the sum stays 1 as they part."""
    first = torch.zeros_like(scores)
    first[..., 0] = 1
    # In single precision at least, for in half of it a third is not what softmax makes of three equal scores.
    return first + (scores.float().softmax(-1) - 1 / scores.shape[-1]).to(scores.dtype)


GATES: dict[str, Callable[[Tensor], Tensor]] = {"softmax": softmax, "sigmoid": sigmoid, "offset": offset}


class Moment:
    """The time step of the call that is under way: what routers by time look at.

    Each thread has its own; a thread that never called (autograd's, recomputing what was checkpointed) reads the last.

    Attributes:
        merged: For each convolution that reads it, the kernels and biases merged by time step. A copy has none.
        room: Bytes that further ones may take; what finds none is mixed at each call. Yours to raise.
    """

    def __init__(self) -> None:
        self.here = threading.local()
        self.last: tuple[Tensor, float | None] | None = None
        self.merged: WeakKeyDictionary[nn.Module, dict[float, tuple[Tensor, Tensor | None]]] = WeakKeyDictionary()
        self.room = MERGED_BYTES

    def __deepcopy__(self, memo: dict) -> "Moment":
        memo[id(self)] = fresh = Moment()
        return fresh

    @property
    def now(self) -> tuple[Tensor, float | None]:
        """Time steps of shape (1,) or (batch,); and their number, if there is one alone that is known.

        Raises:
            FitError: there was no call yet.
        """
        found = getattr(self.here, "now", self.last)
        if found is None:
            raise FitError("a convolution routed by time was called outside of its model; call the model instead.")
        return found

    def be(self, times: Tensor) -> None:
        """A call at these time steps begins."""
        flat = times.reshape(-1)
        known = len(flat) == 1 and not flat.is_meta and not torch.compiler.is_compiling()
        self.here.now = self.last = flat, float(flat) if known else None


class ExpertConv2d(nn.Module):
    """A 2d convolution of mixed kernels.

    Args:
        conv: The convolution whose place it takes; the first expert is its kernel.
        others: Kernels (out, in, height, width) and biases (out) of the other experts.
        moment: Where routing by time reads the time step.

    Attributes:
        weight: Kernels, (experts, out, in, height, width).
        bias: (experts, out), or None.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        others: Sequence[tuple[Tensor, Tensor | None]],
        *,
        routing: Routing = "input",
        gate: str = "offset",
        moment: Moment | None = None,
    ) -> None:
        super().__init__()
        misfit = next((kernel for kernel, _ in others if kernel.shape != conv.weight.shape), None)
        if misfit is not None:
            raise FitError(
                f"an expert of shape {tuple(misfit.shape)} does not fit a convolution of {tuple(conv.weight.shape)}."
            )
        if routing == "time" and moment is None:
            raise FitError("routing by time needs a moment to read the time step from.")
        self.settings: dict[str, Any] = {
            "stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups
        }  # fmt: skip
        self.routing, self.gate, self.moment = routing, GATES[gate], moment
        biases = [conv.bias, *(bias for _, bias in others)]
        self.weight = nn.Parameter(torch.stack([conv.weight.detach(), *(kernel.detach() for kernel, _ in others)]))
        self.bias = None
        if conv.bias is not None:
            filled = [torch.zeros_like(conv.bias) if bias is None else bias.detach() for bias in biases]
            self.bias = nn.Parameter(torch.stack(filled))
        features = {"input": conv.in_channels, "time": TIME_FEATURES, "fixed": 0}[routing]
        self.scores = nn.Parameter(conv.weight.new_zeros(self.experts))
        self.router = nn.Parameter(conv.weight.new_zeros(self.experts, features)) if features else None

    @property
    def experts(self) -> int:
        return len(self.weight)

    def mix(self, given: Tensor) -> Tensor:
        """The experts' weights: (batch, experts), or (1, experts) where they are the same for every sample."""
        if self.router is None:
            return self.gate(self.scores)[None]
        if self.routing == "input":
            features = given.mean((2, 3))
        else:
            assert self.moment is not None
            features = get_timestep_embedding(self.moment.now[0], TIME_FEATURES).to(given)
        return self.gate(F.linear(features, self.router, self.scores))

    def kernels(self, mixed: Tensor) -> tuple[Tensor, Tensor | None]:
        """Merged kernels (rows, out, in, height, width) and biases (rows, out) of mixtures (rows, experts)."""
        kernels = (mixed @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        return kernels, None if self.bias is None else mixed @ self.bias

    def merged_kernels(self) -> tuple[Tensor, Tensor | None] | None:
        """The kernel and bias of this moment, merged now or before; None if they have to be mixed at each call.

        On the meta device, where only shapes count, a time step costs what it does once it is merged.
        """
        if self.routing != "time" or self.training or torch.is_grad_enabled():
            return None
        assert self.moment is not None
        times, time = self.moment.now
        if times.is_meta:
            return (self.weight[0], None if self.bias is None else self.bias[0]) if len(times) == 1 else None
        if time is None:
            return None
        merged = self.moment.merged.setdefault(self, {})
        if time not in merged:
            if self.moment.room < self.weight[0].nbytes:
                warnings.warn(
                    "kernels merged by time step have no more room, so those of further steps are mixed at each call; "
                    "give more bytes by unet.moment.room, or run fewer steps.",
                    stacklevel=2,
                )
                return None
            self.moment.room -= self.weight[0].nbytes
            kernels, biases = self.kernels(self.mix(self.weight))
            merged[time] = kernels[0], None if biases is None else biases[0]
        return merged[time]

    def forget(self) -> None:
        """Drop merged kernels: weights have changed, or may."""
        if self.moment is not None:
            dropped = self.moment.merged.pop(self, {})
            self.moment.room += sum(kernel.nbytes for kernel, _ in dropped.values())

    def train(self, mode: bool = True) -> "ExpertConv2d":
        if mode:
            self.forget()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.forget()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.forget()
        super()._load_from_state_dict(*args, **kwargs)

    def forward(self, given: Tensor) -> Tensor:
        known = self.merged_kernels()
        if known is not None:
            return F.conv2d(given, *known, **self.settings)
        mixed = self.mix(given)
        if len(mixed) > 1 and torch.is_grad_enabled():
            return self.mixed_answers(given, mixed)
        kernels, biases = self.kernels(mixed)
        if len(mixed) == 1:
            return F.conv2d(given, kernels[0], None if biases is None else biases[0], **self.settings)
        # One group of channels for each sample: a convolution of its own for every one, in one call.
        batch = len(given)
        wide = {**self.settings, "groups": batch * self.settings["groups"]}
        bias = None if biases is None else biases.flatten()
        return F.conv2d(given.flatten(0, 1)[None], kernels.flatten(0, 1), bias, **wide)[0].unflatten(0, (batch, -1))

    def mixed_answers(self, given: Tensor, mixed: Tensor) -> Tensor:
        """The same, as answers mixed rather than kernels: while learning, with a mixture a sample, twice as fast."""
        groups = self.settings["groups"]

        def side_by_side(values: Tensor) -> Tensor:
            return values.unflatten(1, (groups, -1)).transpose(0, 1).flatten(0, 2)

        bias = None if self.bias is None else side_by_side(self.bias)
        answers = F.conv2d(given, side_by_side(self.weight), bias, **self.settings)
        answers = answers.unflatten(1, (groups, self.experts, -1))
        return (mixed.to(answers)[:, None, :, None, None, None] * answers).sum(2).flatten(1, 2)

    @torch.no_grad()
    def premerge(self, times: Sequence[float]) -> None:
        """Merge the kernels of these time steps beforehand, for a server whose first run shall be as fast as the next.

        Raises:
            FitError: it is not routed by time, or is being trained.
        """
        if self.routing != "time" or self.moment is None or self.training:
            raise FitError(
                f"only routing by time can be merged, outside of training; this one is routed by {self.routing!r}."
            )
        for time in times:
            self.moment.be(torch.tensor([float(time)], device=self.weight.device))
            self.merged_kernels()

    @torch.no_grad()
    def fold(self) -> nn.Conv2d:
        """The plain convolution that a fixed mixture is.

        Raises:
            FitError: its mixture depends on what comes in.
        """
        if self.routing != "fixed":
            raise FitError(f"only a fixed mixture folds; this one is routed by {self.routing!r}.")
        kernels, biases = self.kernels(self.mix(self.weight))
        out, within, height, width = kernels.shape[1:]
        plain = nn.Conv2d(
            within * self.settings["groups"], out, (height, width), bias=biases is not None, **self.settings
        ).to(self.weight)
        plain.weight.copy_(kernels[0])
        if plain.bias is not None and biases is not None:
            plain.bias.copy_(biases[0])
        return plain
