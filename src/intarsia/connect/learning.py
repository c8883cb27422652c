"""What a module learns from: the denoising loss of a frozen model that hears it.

Source: EMMA (Han et al. 2024), section 4: the plain diffusion loss, everything but the module frozen.
That loss hardly moves while a module learns, so the gap is logged beside it: how much worse the model does
when each sample hears its neighbour's reference. It is near 0 while the module says nothing of use, and grows.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from ..errors import FitError, HostNotFrozen
from ..rig import Host
from ..train import Group, seed_everything
from ..train.noising import errors_of, noised
from .reference import Given
from .stack import Stack

GATE_RATE = 10.0  # times the learning rate


class Learning(nn.Module):
    """The losses of a stack in training, for `train.fit`: one module, several together, or a connector by itself.

    A batch is (latents, words, references): latents (batch, channels, height, width); token states (batch, tokens,
    width), or a mapping of everything that the UNet is called with; features by module. A reference should not be
    the picture itself, or the module learns to copy.

    Args:
        noise: A diffusers scheduler with `add_noise` and, for v-prediction, `get_velocity`.
        watched: On how many samples of each batch the gap is measured; it costs their forward call. They are spread
            over the batch, as its time steps are.
        late: As for `train.noising.noised`: less than 1 dwells where noise is high.
        channels: What each latent channel counts in the losses, (channels); all alike if not given.
        loudness_cost: Times the loudness of the modules, added to the loss. Who moves the tokens no farther than
            needed leaves room for other modules, and for words. Source: ours.
        disturbance: The most noise that the tokens are disturbed by, as loudness; of each sample a share of it by lot.
            Who learns among noise is heard beside other modules. Source: ours.

    Raises:
        HostNotFrozen: a weight would train that the modules stand on, or the host is in training mode.
        FitError: nothing would train.
    """

    def __init__(
        self,
        stack: Stack,
        host: Host,
        noise: Any,
        *,
        watched: int = 4,
        late: float = 1.0,
        channels: Tensor | None = None,
        loudness_cost: float = 0.0,
        disturbance: float = 0.0,
    ) -> None:
        super().__init__()
        if not any(value.requires_grad for value in stack.parameters()):
            raise FitError(
                "nothing in this stack would train; call requires_grad_(True) on the module that shall learn."
            )
        refuse_thawed("the host", host.module)
        if host.module.training:
            raise HostNotFrozen(
                "the host is in training mode, which moves statistics and drops values; call eval() on it."
            )
        if len(stack.senses):
            refuse_thawed("the connector", stack.connector)
        self.stack = stack
        self.host: list[Any] = [host.module]  # in a list: neither trained nor saved with the stack
        self.noise, self.watched, self.late, self.channels = noise, watched, late, channels
        self.loudness_cost, self.disturbance = loudness_cost, disturbance

    def learning_groups(self) -> list[Group]:
        """The global scalars of gates: they learn faster, for all else has no gradient until they open, and do not
        decay, which would close them again. Source: ours.
        """
        openings = [one for module in self.stack.senses.values() for block in module.blocks for one in block.openings]
        return [Group(openings, factor=GATE_RATE, weight_decay=0.0)]

    def forward(self, batch: tuple[Tensor, Any, Mapping[str, Given]]) -> dict[str, Tensor]:
        latents, words, given = batch
        called = dict(words) if isinstance(words, Mapping) else {"encoder_hidden_states": words}
        references = {
            name: reference.spread(len(latents), name) for name, reference in self.stack.references(given).items()
        }
        noisy, times, wanted = noised(self.noise, latents, late=self.late)
        tokens = self.stack(called["encoder_hidden_states"], times, references)
        stray = stray_noise(tokens, self.disturbance)
        errors = self.errors(noisy, times, wanted, called, tokens + stray)
        losses = {"loss": errors.mean()}
        if self.loudness_cost:
            with torch.no_grad():
                unmoved = self.stack(called["encoder_hidden_states"], times, {})
            loudness = loudness_of(tokens, unmoved).mean()
            losses = {"loss": losses["loss"] + self.loudness_cost * loudness, "loudness": loudness.detach()}
        losses |= {f"open_{name}": module.opening.detach() for name, module in self.stack.senses.items()}
        rows = slice(0, None, -(-len(latents) // self.watched))
        part = (noisy[rows], times[rows], wanted[rows], cut(called, rows, len(latents)))
        for name, reference in references.items():
            strange = references | {name: reference.changed(neighbours)}
            watched = {other: one.changed(lambda part: part[rows]) for other, one in strange.items()}
            with torch.no_grad():
                heard = self.stack(part[3]["encoder_hidden_states"], part[1], watched)
                losses[f"gap_{name}"] = self.errors(*part, heard + stray[rows]).mean() - errors[rows].mean()
        return losses

    def errors(
        self,
        noisy: Tensor,
        times: Tensor,
        wanted: Tensor,
        called: Mapping[str, Any],
        tokens: Tensor,
    ) -> Tensor:
        """The error of each sample, whose UNet hears these tokens: (batch)."""
        (host,) = self.host
        host.to(noisy.device)
        found = host(noisy, times, **{**called, "encoder_hidden_states": tokens}, return_dict=False)[0]
        return errors_of(found, wanted, self.channels)


@torch.no_grad()
def measure_gap(
    learning: Learning, batch_at: Callable[[int], Any], *, draws: int = 16, seed: int = 1
) -> dict[str, float]:
    """Losses and gaps over whole batches, as `Learning` answers them: less noisy than what the log says of a few steps.

    What loudness costs, and what disturbs, is left out: how well the model draws is asked here.

    Args:
        batch_at: As for `train.fit`.
    """
    kept = learning.watched, learning.loudness_cost, learning.disturbance
    learning.watched, learning.loudness_cost, learning.disturbance = sys.maxsize, 0.0, 0.0
    try:
        return mean_losses(learning, batch_at, draws=draws, seed=seed)
    finally:
        learning.watched, learning.loudness_cost, learning.disturbance = kept


@torch.no_grad()
def mean_losses(
    objective: nn.Module, batch_at: Callable[[int], Any], *, draws: int = 16, seed: int = 1
) -> dict[str, float]:
    """What an objective answers, averaged over batches and noise that depend on nothing but the seed.

    Args:
        batch_at: As for `train.fit`.
    """
    found: list[dict[str, Tensor]] = []
    device = next(objective.parameters()).device
    for draw in range(draws):
        seed_everything(seed, draw)
        found.append(objective(send_to_device(batch_at(draw), device)))
    return {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}


def refuse_thawed(what: str, module: Any) -> None:
    """Raise `HostNotFrozen` if training would change a weight."""
    thawed = next((name for name, value in module.named_parameters() if value.requires_grad), None)
    if thawed is not None:
        raise HostNotFrozen(f"{what} would train too, its {thawed!r} for one; call requires_grad_(False) on it first.")


def loudness_of(moved: Tensor, unmoved: Tensor) -> Tensor:
    """How far tokens (batch, tokens, width) were moved against how long they are, squared: (batch)."""
    return (moved - unmoved).square().sum((1, 2)) / unmoved.square().sum((1, 2))


@torch.no_grad()
def stray_noise(tokens: Tensor, most: float) -> Tensor:
    """Noise for tokens (batch, tokens, width): each sample's loudness against them is anything from 0 to `most`."""
    if not most:
        return torch.zeros_like(tokens)
    noise, shares = torch.randn_like(tokens), most * torch.rand_like(tokens[:, :1, :1])
    lengths = [one.square().sum((1, 2), keepdim=True) for one in (tokens, noise)]
    return noise * (shares * lengths[0] / lengths[1]).sqrt()


def neighbours(part: Tensor) -> Tensor:
    """For every sample what belongs to the one before it."""
    return part.roll(1, 0)


def cut(called: Mapping[str, Any], rows: slice, batch: int) -> dict[str, Any]:
    """What the UNet is called with, for some samples of a batch."""
    return {
        name: cut(value, rows, batch)
        if isinstance(value, Mapping)
        else value[rows]
        if isinstance(value, Tensor) and value.ndim and len(value) == batch
        else value
        for name, value in called.items()
    }
