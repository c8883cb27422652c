"""Two connectors on the pico host, and modules that have something to say without having been trained."""

import pytest
import torch

from intarsia import hosts
from intarsia.connect import Features, Modality, SemanticConnector, TextCarrier
from intarsia.hosts import pico

FEATURES = Features(12, "none")
STEPS = 3


def stirred(module, seed, opening=0.5):
    """Weights that begin as zeros made to matter, and gates opened."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("opening"):
            value.fill_(opening)
        else:
            value.add_(0.1 * noise)
    return module.eval().requires_grad_(False)


def fresh(name, connector, **settings):
    torch.manual_seed(sum(map(ord, name)))
    return Modality(name, connector, FEATURES, **settings)


def spoken(name, connector, **settings):
    """A module with open gates."""
    return stirred(fresh(name, connector, **settings), sum(map(ord, name)))


def make_carrier():
    return TextCarrier(pico.WIDTH, "pico", blocks=2, heads=4, time_width=32)


def make_semantic(seed=0):
    torch.manual_seed(seed)
    made = SemanticConnector(
        24, pico.WIDTH, blocks=3, latents=6, heads=4, time_channels=32, time_width=pico.WIDTH
    )  # fmt: skip
    return stirred(made, seed)


@pytest.fixture(params=[make_carrier, make_semantic], ids=["carrier", "semantic"])
def connector(request):
    return request.param()


def words_for(connector, batch=2, seed=0):
    return torch.randn(batch, pico.TOKENS, connector.words_width, generator=torch.Generator().manual_seed(seed))


def seen(batch=2, tokens=4, seed=0):
    """Feature tokens of references."""
    return torch.randn(batch, tokens, FEATURES.width, generator=torch.Generator().manual_seed(100 + seed))


def told(stack, words, time=500.0, **given):
    """What a stack tells the UNet in one call."""
    return stack(words, torch.tensor(float(time)), stack.references(given))


def draw(pipe, connector, prompts=1, seed=0, **more):
    """Final latents of the stock pipeline, with guidance unless said otherwise."""
    words = words_for(connector, prompts, seed)
    settings = {
        "prompt_embeds": words, "negative_prompt_embeds": torch.zeros_like(words), "num_inference_steps": STEPS,
        "guidance_scale": 3.0, "output_type": "latent", "generator": torch.Generator().manual_seed(seed),
    }  # fmt: skip
    return pipe(**settings | more).images


@pytest.fixture
def pipe():
    return pico.pipeline()


@pytest.fixture
def host(pipe):
    return hosts.of(pipe.unet)
