"""What modules stand beside: the two usual ways of showing a frozen model a picture, trained alike.

Both make a few tokens of a reference. *Concatenation* puts them behind the tokens that the UNet is told. *Decoupled
cross-attention* (IP-Adapter, Ye et al. 2023) gives them keys and values of their own in every layer, through diffusers'
own processors; two adapters are summed. Without a picture both are shown zeros, as they were for a share of their
training: in half of the rows without words, for that is what the other half of guidance is shown, and in a few with.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import MultiIPAdapterImageProjection
from torch import Tensor, nn

from intarsia.connect import Connector
from intarsia.connect.connector import as_they_are
from intarsia.train.noising import errors_of, noised

TOLD = 16  # tokens that stand for a reference, as in IP-Adapter's variant for detailed features
HEADS, LAYERS = 8, 2
UNSHOWN, UNSHOWN_WORDLESS = 0.05, 0.5  # shares of references that are zeros; IP-Adapter drops 5 % of all in each way


class Telling(StrEnum):
    concatenated = "concatenated"
    decoupled = "decoupled"


class Adapter(nn.Module):
    """One rival of one sense: features (batch, tokens, width) to `TOLD` tokens, and what hears them.

    Args:
        features: How wide the features are.
        inner: The width that it works in.
    """

    def __init__(self, telling: Telling, features: int, unet: UNet2DConditionModel, inner: int) -> None:
        super().__init__()
        width, self.telling = unet.config.cross_attention_dim, telling
        self.asking = nn.Parameter(0.02 * torch.randn(TOLD, inner))
        self.project = nn.Linear(features, inner)
        layer = nn.TransformerDecoderLayer(inner, HEADS, 4 * inner, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerDecoder(layer, LAYERS)
        self.widen = nn.Sequential(nn.Linear(inner, width), nn.LayerNorm(width))
        layers = crossings(unet).values() if telling == Telling.decoupled else ()
        self.keys = nn.ModuleList(begun_with(layer.to_k) for layer in layers)
        self.values = nn.ModuleList(begun_with(layer.to_v) for layer in layers)

    def forward(self, features: Tensor) -> Tensor:
        return self.widen(self.blocks(self.asking.expand(len(features), -1, -1), self.project(features)))


def crossings(unet: UNet2DConditionModel) -> dict[str, Any]:
    """The layers of a UNet that look at words, by path."""
    return {name: part for name, part in unet.named_modules() if name.endswith("attn2")}


def begun_with(layer: nn.Linear) -> nn.Linear:
    """A layer of its own that begins as another."""
    made = nn.Linear(layer.in_features, layer.out_features, bias=False)
    made.load_state_dict({"weight": layer.weight.detach().clone()})
    return made


@contextmanager
def wired(
    unet: UNet2DConditionModel, adapters: Mapping[str, Adapter], weights: Mapping[str, float] | None = None
) -> Iterator[None]:
    """A UNet that hears adapters inside the block; all of them tell in one way.

    Args:
        weights: Of decoupled ones, 1 where nothing is said; concatenation has no such dial.
    """
    loud = [(weights or {}).get(name, 1.0) for name in adapters]
    if next(iter(adapters.values())).telling == Telling.concatenated:
        yield
        return
    before, kind, layers = unet.attn_processors, unet.config.encoder_hid_dim_type, crossings(unet)
    ours = dict(before)
    for place, (path, layer) in enumerate(layers.items()):
        heard = IPAdapterAttnProcessor2_0(layer.inner_dim, layer.cross_attention_dim, (TOLD,) * len(adapters), loud)
        heard.to_k_ip = nn.ModuleList(adapter.keys[place] for adapter in adapters.values())
        heard.to_v_ip = nn.ModuleList(adapter.values[place] for adapter in adapters.values())
        ours[f"{path}.processor"] = heard
    unet.set_attn_processor(dict(ours))
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([nn.Identity() for _ in adapters])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    try:
        yield
    finally:
        unet.set_attn_processor(dict(before))
        unet.encoder_hid_proj = None
        unet.register_to_config(encoder_hid_dim_type=kind)


def called_with(tokens: Tensor, adapters: Mapping[str, Adapter], features: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a wired UNet is called with, beside the tokens that carry the words."""
    told = [adapter(features[name]) for name, adapter in adapters.items()]
    if next(iter(adapters.values())).telling == Telling.concatenated:
        return {"encoder_hidden_states": torch.cat([tokens, *told], dim=1)}
    return {"encoder_hidden_states": tokens, "added_cond_kwargs": {"image_embeds": [one[:, None] for one in told]}}


@contextmanager
def attached(
    unet: UNet2DConditionModel,
    adapters: Mapping[str, Adapter],
    features: Mapping[str, Tensor],
    weights: Mapping[str, float] | None = None,
) -> Iterator[None]:
    """A guided UNet that looks at references, a row for each sample; the half without words is shown zeros."""
    shown = {name: torch.cat([torch.zeros_like(value), value]) for name, value in features.items()}

    def exchange(_unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | called_with(kwargs["encoder_hidden_states"], adapters, shown)

    with wired(unet, adapters, weights):
        handle = unet.register_forward_pre_hook(exchange, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


class Rivalry(nn.Module):
    """The loss of adapters in training, as `intarsia.connect.Learning` has it for modules.

    Args:
        blank: States of no words, (tokens, width).
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        unet: UNet2DConditionModel,
        connector: Connector,
        noise: Any,
        blank: Tensor,
        *,
        late: float = 1.0,
        channels: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict(dict(adapters))
        self.frozen = [(unet, connector)]  # in a list: neither trained nor saved
        self.noise, self.blank, self.late, self.channels = noise, blank, late, channels

    def unshown(self, words: Tensor) -> Tensor:
        """Whose reference is zeros, by lot: (batch)."""
        wordless = (words == self.blank.to(words)).flatten(1).all(1)
        return torch.rand(len(words)).to(words) < torch.where(wordless, UNSHOWN_WORDLESS, UNSHOWN)

    def forward(self, batch: tuple[Tensor, Tensor, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        latents, words, features = batch
        ((unet, connector),) = self.frozen
        unet.to(latents.device)
        if isinstance(connector, nn.Module):
            connector.to(latents.device)
        adapters: dict[str, Any] = dict(self.adapters.items())
        unshown = self.unshown(words)[:, None, None]
        shown = {name: torch.where(unshown, 0.0, value) for name, value in features.items()}
        noisy, times, wanted = noised(self.noise, latents, late=self.late)
        tokens = connector(words, times, as_they_are)
        with wired(unet, adapters):
            found = unet(noisy, times, **called_with(tokens, adapters, shown)).sample
        return {"loss": errors_of(found, wanted, self.channels).mean()}
