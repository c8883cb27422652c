"""The ways of showing references that are compared, each born, trained and heard alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from intarsia import hosts
from intarsia.connect import Connector, Features, Learning, Modality, Stack, Weighed, attached
from intarsia.connect.stack import Voice
from intarsia.parts.gated_perceiver import Gating
from intarsia.train import wear_average

from . import rivals
from .rivals import Adapter, Rivalry, Telling
from .training import MANNERS, ended

Parts = Mapping[str, Modality | Adapter]  # by sense, all of one kind


class Way(StrEnum):
    modules = "modules"  # ours
    ungated = "ungated"  # ours without the per-token part of the gates
    loud = "loud"  # ours that paid nothing for loudness
    concatenated = "concatenated"
    decoupled = "decoupled"


GATINGS = {Way.modules: Gating(), Way.ungated: Gating(per_token="none"), Way.loud: Gating()}


@dataclass(frozen=True)
class Ground:
    """What stands still while parts learn.

    Attributes:
        noise: The scheduler that the UNet learnt with.
        features: What each sense looks at.
        inner: The width that parts work in.
        blank: States of no words, (tokens, width).
        late: Less than 1 dwells on time steps of much noise, where senses are settled.
        channels: What each latent channel counts in the loss; all alike if None.
        loudness_cost, disturbance: Of modules, as `connect.Learning` has them.
    """

    unet: UNet2DConditionModel
    connector: Connector
    noise: Any
    features: Mapping[str, Features]
    inner: int
    blank: Tensor
    late: float = 1.0
    channels: Tensor | None = None
    loudness_cost: float = 0.0
    disturbance: float = 0.0


class InTurn(Stack):
    """Modules one after the other, each hearing what those before it said: what the parallel sum stands beside."""

    def spoken(self, number: int, carried: Tensor, moment: Tensor, voices: Sequence[Voice]) -> Tensor:
        for voice in voices:
            carried = super().spoken(number, carried, moment, [voice])
        return carried


def run_name(way: Way, names: Sequence[str]) -> str:
    """The folder of a training: `style`, `style+silhouette` for a joint one, `decoupled-style`."""
    joined = "+".join(names)
    return joined if way == Way.modules else f"{way}-{joined}"


def born(ground: Ground, way: Way, names: Sequence[str], seed: int = 0) -> Parts:
    """Parts of one way before any training, one for each sense."""
    torch.manual_seed(seed)
    if way in GATINGS:
        return {
            name: Modality(name, ground.connector, ground.features[name], GATINGS[way], inner=ground.inner)
            for name in names
        }
    telling = Telling(way)
    return {name: Adapter(telling, ground.features[name].width, ground.unet, ground.inner) for name in names}


def manners_of(way: Way, ground: Ground) -> dict[str, float]:
    """What modules bear for the sake of others: a cost of loudness, and noise. Rivals speak beside the tokens."""
    minded = way in (Way.modules, Way.ungated)
    return {one: getattr(ground, one) if minded else 0.0 for one in MANNERS}


def objective_of(ground: Ground, way: Way, parts: Parts) -> nn.Module:
    """What parts learn from, all together."""
    modules = [part for part in parts.values() if isinstance(part, Modality)]
    if modules:
        stack, host = Stack(ground.connector, modules), hosts.of(ground.unet)
        return Learning(
            stack, host, ground.noise, late=ground.late, channels=ground.channels, **manners_of(way, ground)
        )
    adapters = {name: part for name, part in parts.items() if isinstance(part, Adapter)}
    return Rivalry(
        adapters, ground.unet, ground.connector, ground.noise, ground.blank, late=ground.late, channels=ground.channels
    )


def trained(ground: Ground, way: Way, names: Sequence[str], runs: Path) -> Parts:
    """Parts as their training left them, frozen.

    Raises:
        SystemExit: they were not trained to the end, or on a connector of other blocks.
    """
    run, blocks = runs / run_name(way, names), ground.connector.form.blocks
    if (told := ended(run).blocks) != blocks:
        raise SystemExit(
            f"{run}: trained on a connector of {told} blocks, and this one has {blocks}; name its --blocks."
        )
    parts = born(ground, way, names)
    wear_average(objective_of(ground, way, parts), run)
    for part in parts.values():
        part.eval().requires_grad_(False)
    return parts


@contextmanager
def heard(
    ground: Ground,
    parts: Parts,
    features: Mapping[str, Tensor],
    *,
    weights: Mapping[str, Weighed] | None = None,
    in_turn: bool = False,
) -> Iterator[None]:
    """The UNet, called with both halves of guidance, hears references inside the block, a row for each sample.

    Args:
        parts: Of one way; with none, the connector alone is heard.
        weights: 1 where nothing is said; concatenation has no dial, and only modules have windows.
        in_turn: Modules speak one after the other.
    """
    modules = [part for part in parts.values() if isinstance(part, Modality)]
    adapters = {name: part for name, part in parts.items() if isinstance(part, Adapter)}
    stack = (InTurn if in_turn else Stack)(ground.connector, modules, weights if modules else None)
    with attached(hosts.of(ground.unet), stack, guided=True) as senses:
        if not adapters:
            senses.give(**features)
            yield
            return
        with rivals.attached(ground.unet, adapters, features, weights):
            yield
