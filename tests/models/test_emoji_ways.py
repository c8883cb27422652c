"""The shipped model under plans, in the ways in which people draw: with real weights, not only with random ones."""

import pytest
import torch

from intarsia import hosts, rig
from intarsia.graphs import applied_as_graphs
from intarsia.hosts.pipelines import load_pipeline
from intarsia.lighten import inherit
from intarsia.shipped import MODELS
from tests.laws.drawings import SAMPLERS, STEPS, WAYS, Drawing, cut_off, image_to_image, in_step
from tests.laws.forms import FORMS, holds_its_laws

pytestmark = pytest.mark.filterwarnings("ignore")
DEALT = [
    ("from words", "unit, residual", "PNDM"),
    ("from words", "subunit", "Heun"),
    ("image to image", "unit, residual", "DDIM"),
    ("ControlNet", "block", "DDIM"),
    ("T2I-Adapter", "block, forecast", "Heun"),
    ("IP-Adapter", "unit, residual", "Euler"),
    ("LoRA", "block", "PNDM"),
]


def emoji(sampler="DDIM") -> Drawing:
    pipe = load_pipeline(MODELS / "emoji", device="cpu")
    pipe.scheduler = type(SAMPLERS[sampler]()).from_config(pipe.scheduler.config)
    return Drawing(pipe, {"prompt": "a fox in noto style"})


def planned(draw, form="block", every=2):
    rows = hosts.rows(draw.pipe.scheduler, STEPS)
    return inherit(rows, every=every, **FORMS[form]), hosts.of(draw.pipe.unet)


@pytest.mark.parametrize(("way", "form", "sampler"), DEALT)
def test_the_laws_hold(way, form, sampler):
    holds_its_laws(WAYS[way](emoji(sampler)), form)


def test_requests_of_changing_strength_size_and_number():
    draw = image_to_image(emoji())
    larger = torch.rand(1, 3, 96, 80, generator=torch.Generator().manual_seed(0))
    asked = [{"strength": 0.9}, {"strength": 0.5, "num_images_per_prompt": 2}, {"image": larger, "strength": 0.7}]
    plan, host = planned(draw)
    alone = []
    for settings in asked:
        with rig.applied(plan, host):
            alone.append(draw(**settings))
    with rig.applied(plan, host) as live:
        for settings, expected in zip([*asked, *reversed(asked)], [*alone, *reversed(alone)], strict=True):
            assert torch.equal(draw(**settings), expected)
            assert any(call.recalled for call in live.trace)


def test_two_threads_share_it():
    drawings = (emoji(), emoji())
    drawings[1].pipe.unet = drawings[0].pipe.unet
    plan, host = planned(drawings[0], every=3)
    with rig.applied(plan, host):
        alone = [draw(seed) for seed, draw in enumerate(drawings)]
        together = in_step(drawings, range(2))
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_guidance_cut_off_in_mid_run():
    draw = cut_off(emoji(), after=1)
    plan, host = planned(draw, every=4)
    with rig.applied(plan, host) as live:
        first = draw()
        assert [call.refreshed for call in live.trace] == [False, False, True, False]
        assert torch.equal(draw(), first)
    assert not torch.equal(first, draw())


@pytest.mark.slow
def test_graphs_draw_what_the_live_plan_draws():
    draw = emoji()
    plan, host = planned(draw)
    with rig.applied(plan, host):
        live = draw()
    with applied_as_graphs(plan, host, "torch") as running:
        assert torch.equal(draw(), live)
        assert len(running.graphs.made) == 2
