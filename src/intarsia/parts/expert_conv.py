"""Several kernels in place of one, mixed by what comes in and convolved once: capacity that costs no time.

A convolution with `n` experts answers (a1 W1 + ... + an Wn) * x, which is one convolution however many experts there
are. The weights a come from a gate over a router: of the input's mean, of the time step, or of nothing.

Source: ME-CondConv of A-SDM (section 1.3 of our digest) says that experts go into pruned blocks and inherit the
kernels of what was removed; the mixture is CondConv's (Yang et al. 2019). Routing by time, so that a sampler's
steps can be merged beforehand, and the `offset` gate are ours.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import FitError

Routing = Literal["input", "time", "fixed"]
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
    return first + (scores.softmax(-1) - 1 / scores.shape[-1])


GATES: dict[str, Callable[[Tensor], Tensor]] = {"softmax": softmax, "sigmoid": sigmoid, "offset": offset}


class Moment:
    """The time step of the call that is under way: what routers by time look at.

    Each thread has its own; a thread that never called (autograd's, recomputing what was checkpointed) reads the last.
    """

    def __init__(self) -> None:
        self.here = threading.local()
        self.last: Tensor | None = None

    def __deepcopy__(self, memo: dict) -> "Moment":
        return Moment()

    @property
    def times(self) -> Tensor:
        """Time steps of shape (1,) or (batch,).

        Raises:
            FitError: there was no call yet.
        """
        found = getattr(self.here, "times", self.last)
        if found is None:
            raise FitError("a convolution routed by time was called outside of its model; call the model instead.")
        return found

    def be(self, times: Tensor) -> None:
        """A call at these time steps begins."""
        self.here.times = self.last = times.reshape(-1)


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
        self.merged: dict[float, tuple[Tensor, Tensor | None]] = {}

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
            features = get_timestep_embedding(self.moment.times, TIME_FEATURES).to(given)
        return self.gate(F.linear(features, self.router, self.scores))

    def kernels(self, mixed: Tensor) -> tuple[Tensor, Tensor | None]:
        """Merged kernels (rows, out, in, height, width) and biases (rows, out) of mixtures (rows, experts)."""
        kernels = (mixed @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        return kernels, None if self.bias is None else mixed @ self.bias

    def known_kernels(self) -> tuple[Tensor, Tensor | None] | None:
        """The kernels merged for this moment, if they are; any of them on the meta device, where only shapes count."""
        assert self.moment is not None
        times = self.moment.times
        if times.is_meta:
            kernel, bias = next(iter(self.merged.values()))
            return kernel.to("meta"), None if bias is None else bias.to("meta")
        return self.merged.get(float(times)) if len(times) == 1 else None

    def forward(self, given: Tensor) -> Tensor:
        known = self.known_kernels() if self.merged else None
        if known is not None:
            return F.conv2d(given, *known, **self.settings)
        mixed = self.mix(given)
        kernels, biases = self.kernels(mixed)
        if len(mixed) == 1:
            return F.conv2d(given, kernels[0], None if biases is None else biases[0], **self.settings)
        # One group of channels for each sample: a convolution of its own for every one, in one call.
        batch = len(given)
        wide = {**self.settings, "groups": batch * self.settings["groups"]}
        bias = None if biases is None else biases.flatten()
        return F.conv2d(given.flatten(0, 1)[None], kernels.flatten(0, 1), bias, **wide)[0].unflatten(0, (batch, -1))

    @torch.no_grad()
    def premerge(self, times: Sequence[float]) -> None:
        """Merge the kernels of these time steps beforehand; later calls at them cost what a plain convolution does.

        Raises:
            FitError: it is not routed by time.
        """
        if self.routing != "time" or self.moment is None:
            raise FitError(f"only routing by time can be merged beforehand; this one is routed by {self.routing!r}.")
        self.merged.clear()
        for time in times:
            self.moment.be(torch.tensor([float(time)], device=self.weight.device))
            kernels, biases = self.kernels(self.mix(self.weight))
            self.merged[float(time)] = kernels[0], None if biases is None else biases[0]

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
