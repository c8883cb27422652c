"""What modules stand beside: the two usual ways of showing a frozen model a picture, trained alike.

Both make a few tokens of a reference. *Concatenation* puts them behind the words' tokens. *Decoupled cross-attention*
(IP-Adapter, Ye et al. 2023) gives them keys and values of their own in every layer, through diffusers' own processors;
two adapters are summed. Without a picture both are shown zeros, as they were for a share of their training.

    python -m recipes.modules.rivals decoupled style --steps 4000
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
import typer
from accelerate import PartialState
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import MultiIPAdapterImageProjection
from torch import Tensor, nn

from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import model_folder
from intarsia.train import fit, wear_average
from intarsia.train.noising import noised
from recipes.base.denoiser import NOISE

from .cells import Cells
from .run import INNER, Sense, schedule_of
from .senses import ENCODERS, batches

TOLD = 8  # tokens that stand for a reference
UNSHOWN = 0.1  # share of references that are zeros, so that guidance has something to guide away from


class Way(StrEnum):
    concatenated = "concatenated"
    decoupled = "decoupled"


class Adapter(nn.Module):
    """One rival of one sense: features (batch, tokens, width) to `TOLD` tokens, and what hears them."""

    def __init__(self, way: Way, features: int, unet: UNet2DConditionModel) -> None:
        super().__init__()
        width, self.way = unet.config.cross_attention_dim, way
        self.asking = nn.Parameter(0.02 * torch.randn(TOLD, INNER))
        self.project = nn.Linear(features, INNER)
        layer = nn.TransformerDecoderLayer(INNER, 8, 4 * INNER, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerDecoder(layer, 2)
        self.widen = nn.Sequential(nn.Linear(INNER, width), nn.LayerNorm(width))
        layers = crossings(unet).values() if way == Way.decoupled else ()
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
def wired(unet: UNet2DConditionModel, adapters: Mapping[str, Adapter]) -> Iterator[None]:
    """A UNet that hears adapters inside the block; all of them of one way."""
    if next(iter(adapters.values())).way == Way.concatenated:
        yield
        return
    before, kind, layers = unet.attn_processors, unet.config.encoder_hid_dim_type, crossings(unet)
    ours = dict(before)
    for place, (path, layer) in enumerate(layers.items()):
        heard = IPAdapterAttnProcessor2_0(layer.inner_dim, layer.cross_attention_dim, (TOLD,) * len(adapters))
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


def called_with(words: Tensor, adapters: Mapping[str, Adapter], features: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a wired UNet is called with."""
    told = [adapter(features[name]) for name, adapter in adapters.items()]
    if next(iter(adapters.values())).way == Way.concatenated:
        return {"encoder_hidden_states": torch.cat([words, *told], dim=1)}
    return {"encoder_hidden_states": words, "added_cond_kwargs": {"image_embeds": [one[:, None] for one in told]}}


@contextmanager
def attached(
    pipe: StableDiffusionPipeline, adapters: Mapping[str, Adapter], features: Mapping[str, Tensor]
) -> Iterator[None]:
    """A guided pipeline that looks at references, a row for each prompt; the half without words is shown zeros."""
    shown = {name: torch.cat([torch.zeros_like(value), value]) for name, value in features.items()}

    def exchange(_unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | called_with(kwargs["encoder_hidden_states"], adapters, shown)

    with wired(pipe.unet, adapters):
        handle = pipe.unet.register_forward_pre_hook(exchange, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


class Rivalry(nn.Module):
    """The loss of an adapter in training, as `intarsia.connect.Learning` has it for modules."""

    def __init__(self, name: str, adapter: Adapter, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict({name: adapter})
        self.unet = [unet]  # in a list: neither trained nor saved
        self.noise = DDIMScheduler(**NOISE)

    def forward(self, batch: tuple[Tensor, Tensor, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        latents, words, features = batch
        (unet,) = self.unet
        adapters = dict(self.adapters.items())
        unshown = (torch.rand(len(latents)) < UNSHOWN).to(latents.device)[:, None, None]
        shown = {name: torch.where(unshown, 0.0, value) for name, value in features.items()}
        noisy, times, wanted = noised(self.noise, latents)
        with wired(unet, adapters):
            found = unet(noisy, times, **called_with(words, adapters, shown)).sample
        return {"loss": (found.float() - wanted).square().mean()}


def rival_of(way: Way, name: str, unet: UNet2DConditionModel) -> tuple[Adapter, Rivalry]:
    """An adapter at birth, and what it learns from."""
    torch.manual_seed(0)
    adapter = Adapter(way, ENCODERS[name]().features.width, unet)
    return adapter, Rivalry(name, adapter, unet)


def trained(way: Way, name: str, unet: UNet2DConditionModel, runs: Path) -> Adapter:
    """An adapter as `main` left it.

    Raises:
        SystemExit: it was not trained.
    """
    run = runs / f"{way}-{name}"
    if not (run / "checkpoint").exists():
        raise SystemExit(f"{run}: train it first: python -m recipes.modules.rivals {way} {name}")
    adapter, rivalry = rival_of(way, name, unet)
    wear_average(rivalry, run)
    return adapter.eval().requires_grad_(False)


def main(
    way: Way,
    sense: Sense,
    steps: int = typer.Option(4000, help="Training steps in all: as many as the modules had."),
    batch: int = typer.Option(32, help="Pictures a step and process."),
    rate: float = typer.Option(3e-4, help="Learning rate."),
    base: Path = typer.Option(Path("runs/base"), help="Where the base recipe keeps what it made."),
    runs: Path = typer.Option(Path("runs/modules"), help="Where training is kept; the data are the modules'."),
    save_every: int = typer.Option(500, help="Steps between checkpoints."),
    every: int = typer.Option(1, help="Learn from every so many cells only: for rehearsals."),
) -> None:
    """Train one rival of one sense; resumes."""
    torch.set_num_threads(1)
    name = str(sense)
    with PartialState(cpu=not torch.cuda.is_available()).main_process_first():
        batch_at = batches(name, Cells.read(base, every), base, runs / f"{name}-data", batch)
    unet = load_pipeline(model_folder("emoji"), device="cpu").unet.eval().requires_grad_(False)
    unet.set_attn_processor(AttnProcessor())
    _, rivalry = rival_of(way, name, unet)
    fit(rivalry, batch_at, schedule_of(steps, rate), runs / f"{way}-{name}", save_every=save_every)


if __name__ == "__main__":
    typer.run(main)
