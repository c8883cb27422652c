"""What a UNet is called with, read off its config, as tensors without values."""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from ..errors import FitError

PICTURE_TOKENS = 257  # of CLIP's towers with patches of 14 pixels, which adapters of many tokens look at


def meta_inputs(unet: UNet2DConditionModel, **sizes: int | None) -> dict[str, Any]:
    """Meta tensors of the shapes of one call.

    Args:
        sizes: `batch`, samples in one call, both halves of guidance counted (1 if not given); `height` and
            `width` of the latents (the config's sample size); `tokens` of the prompt (77).

    Raises:
        FitError: the config names no sample size, and none is given.
    """
    given_sizes = {name: size for name, size in sizes.items() if size is not None}
    batch, tokens = given_sizes.pop("batch", 1), given_sizes.pop("tokens", 77)
    height, width = given_sizes.pop("height", None), given_sizes.pop("width", None)
    if given_sizes:
        raise TypeError(f"a UNet has no size called {next(iter(given_sizes))!r}: batch, height, width, tokens.")
    config = unet.config
    if height is None:
        sides = config.sample_size if isinstance(config.sample_size, (list, tuple)) else [config.sample_size] * 2
        if sides[0] is None:
            raise FitError("this UNet's config has no sample_size. Say how large the latents are: height=64, width=64.")
        height, width = sides[0], width or sides[1]

    strange = config.addition_embed_type not in (None, "text", "text_time"), config.encoder_hid_dim_type not in (
        None, "text_proj", "ip_image_proj",
    )  # fmt: skip
    if any(strange):
        name = "addition_embed_type" if strange[0] else "encoder_hid_dim_type"
        raise FitError(f"{name}={config[name]!r}: we do not know what such a UNet is called with.")

    def of(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=unet.dtype, device="meta")

    words = config.encoder_hid_dim if config.encoder_hid_dim_type == "text_proj" else config.cross_attention_dim
    given: dict[str, Any] = {
        "sample": of(batch, config.in_channels, height, width or height),
        "timestep": torch.empty((), dtype=torch.int64, device="meta"),
        "encoder_hidden_states": of(batch, tokens, words if isinstance(words, int) else words[0]),
    }
    added: dict[str, Any] = {}
    if config.addition_embed_type == "text_time":
        numbers = 6
        pooled = config.projection_class_embeddings_input_dim - numbers * config.addition_time_embed_dim
        added |= {"text_embeds": of(batch, pooled), "time_ids": of(batch, numbers)}
    if config.encoder_hid_dim_type == "ip_image_proj":
        layers = unet.encoder_hid_proj.image_projection_layers
        added["image_embeds"] = [of(batch, 1, *picture_shape(layer)) for layer in layers]
    if added:
        given["added_cond_kwargs"] = added
    if config.time_cond_proj_dim is not None:
        given["timestep_cond"] = of(batch, config.time_cond_proj_dim)
    if config.class_embed_type in ("projection", "simple_projection"):
        given["class_labels"] = of(batch, config.projection_class_embeddings_input_dim)
    elif config.class_embed_type == "identity":
        given["class_labels"] = of(batch, unet.time_embedding.linear_2.out_features)
    elif config.class_embed_type is not None or config.num_class_embeds is not None:
        given["class_labels"] = torch.empty((batch,), dtype=torch.int64, device="meta")
    return given


def picture_shape(projection: nn.Module) -> tuple[int, ...]:
    """What an IP-Adapter's projection takes of one picture: one vector, or the tokens of a tower."""
    linear = getattr(projection, "image_embeds", None)
    if linear is not None:
        return (linear.in_features,)
    first = next(module for module in projection.modules() if isinstance(module, nn.Linear))
    return (PICTURE_TOKENS, first.in_features)
