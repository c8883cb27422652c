"""Plans beside what else people do to a pipeline: what changes between two calls, and what has to be felt at once."""

import pytest
import torch

from intarsia import hosts, rig
from intarsia.errors import FitError, RigError
from intarsia.hosts import pico
from intarsia.lighten import inherit

from .drawings import STEPS, WAYS, from_words, lora, xl, xl_refiner

pytestmark = pytest.mark.filterwarnings("ignore")


def planned(draw, every=2, sites="up_blocks.0"):
    return inherit(hosts.rows(draw.pipe.scheduler, STEPS), every=every, sites=sites), hosts.of(draw.pipe.unet)


def test_live_skips_take_the_present_control(pico_host):
    """On a reuse call a residual on a live skip is felt at once, and one on a dead skip not at all."""
    given = {name: torch.ones(value.shape) for name, value in pico_host.inputs(tokens=pico.TOKENS).items()}
    sizes = [(16, 16)] * 3 + [(16, 8)] + [(32, 8)] * 2 + [(32, 4)] + [(32, 4)] * 2 + [(32, 2)] * 3

    def control(strong_at):
        return [
            torch.full((1, width, size, size), float(place == strong_at)) for place, (width, size) in enumerate(sizes)
        ]

    plan = inherit(4, every=4, sites="up_blocks.3.layers.1")  # of the skips, only conv_in's stays live
    with rig.applied(plan, pico_host):
        outputs = [
            pico_host.module(
                **given | {"timestep": time},
                down_block_additional_residuals=control(strong),
                mid_block_additional_residual=torch.zeros(1, 32, 2, 2),
            ).sample
            for time, strong in ((9, None), (8, None), (8, 0), (8, 7))
        ]
    assert not torch.equal(outputs[1], outputs[2])
    assert torch.equal(outputs[1], outputs[3])


CHANGES = {
    "size": ({}, {"height": 40, "width": 24}),
    "pictures": ({}, {"num_images_per_prompt": 2}),
    "guidance": ({}, {"guidance_scale": 1.0}),
    "strength": ({"strength": 0.9}, {"strength": 0.4}),  # three calls, and one
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_between_two_calls_leaves_nothing_behind(what):
    """Each call under one plan is what it is under a plan of its own, in either order."""
    draw = WAYS["image to image" if what == "strength" else "from words"](from_words())
    plan, host = planned(draw)
    alone = []
    for settings in CHANGES[what]:
        with rig.applied(plan, host):
            alone.append(draw(**settings))
    with rig.applied(plan, host):
        together = [draw(**settings) for settings in CHANGES[what] * 2]
    assert all(torch.equal(one, other) for one, other in zip(together, alone * 2, strict=True))


def test_a_lora_turned_down_under_a_plan():
    """The scale is a setting of the call, and weights are what they are when they are asked."""
    draw = lora(from_words())
    plan, host = planned(draw)

    def at(scale):
        draw.pipe.unet.set_adapters(["default"], [scale])
        return draw()

    alone = []
    for scale in (1.0, 0.2):
        with rig.applied(plan, host):
            alone.append(at(scale))
    assert not torch.equal(*alone)
    with rig.applied(plan, host):
        assert all(torch.equal(at(scale), expected) for scale, expected in zip((1.0, 0.2), alone, strict=True))


def test_a_base_hands_over_to_a_refiner_and_both_are_under_plans():
    """The base's run ends early and the refiner's begins late: each is a run of its own, and so is the next one."""
    base, refiner = xl(from_words("Euler")), xl_refiner(from_words("Euler"))

    def chained():
        return refiner(image=base(denoising_end=0.4))

    whole = chained()
    (plan, host), (late_plan, late_host) = planned(base), planned(refiner)
    with rig.applied(plan, host) as early, rig.applied(late_plan, late_host) as late:
        first = chained()
        assert len(early.trace) + len(late.trace) == plan.rows
        assert [call.recalled > 0 for call in early.trace] == [call.row % 2 > 0 for call in early.trace]
        assert any(call.recalled for call in late.trace)
        alone = base()
        assert torch.equal(chained(), first)
        assert torch.equal(base(), alone)
    assert not torch.equal(first, whole)
    assert torch.equal(chained(), whole)


def test_guidance_within_an_interval():
    """Guidance that is on, off, on and off again changes the batch in mid-run, and every change is computed whole."""
    words = pico.prompt()
    both = torch.cat([words["negative_prompt_embeds"], words["prompt_embeds"]])

    def switch(pipe, step, _time, tensors):
        guided = step + 1 in (0, 1, 4)
        pipe._guidance_scale = 3.0 if guided else 1.0
        tensors["prompt_embeds"] = both if guided else both[1:]
        return tensors

    draw = from_words().asking(
        callback_on_step_end=switch,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
        num_inference_steps=6,
    )
    whole = draw()
    with rig.applied(inherit(6, every=6, sites="up_blocks.0"), hosts.of(draw.pipe.unet)) as live:
        first = draw()
        assert [call.refreshed for call in live.trace] == [False, False, True, False, True, True]
        assert torch.equal(draw(), first)
    assert not torch.equal(first, whole)
    assert torch.equal(draw(), whole)


def test_a_forward_that_stood_there_before_comes_back():
    """accelerate's offloading puts a forward of its own on modules; a plan works inside and leaves it."""
    from accelerate.hooks import ModelHook, add_hook_to_module

    host = pico.host()
    unit = host.module.up_blocks[3].attentions[1]
    add_hook_to_module(unit, ModelHook())
    theirs = unit.__dict__["forward"]
    given = {name: torch.ones(value.shape) for name, value in host.inputs(tokens=pico.TOKENS).items()}
    with rig.applied(inherit(2, every=2, sites="up_blocks.3.layers.1"), host):
        assert unit.__dict__["forward"] is not theirs
        for time in (2, 1):
            host.module(**given | {"timestep": time})
    assert unit.__dict__["forward"] is theirs


@pytest.mark.parametrize(
    "changes",
    [
        {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 8},
        {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 8},
        {"class_embed_type": "timestep"},
        {"class_embed_type": "identity"},
        {"num_class_embeds": 10},
        {"time_cond_proj_dim": 8},
        {"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
        {"sample_size": (8, 16)},
        {"cross_attention_dim": (16, 16, 16, 16)},
    ],
    ids=str,
)
def test_every_variety_of_unet_has_an_outline(changes):
    host = hosts.of(pico.unet(**changes), tokens=pico.TOKENS)
    assert host.outline.macs > 0


def test_a_unet_without_a_size_asks_for_one():
    host = hosts.of(pico.unet(sample_size=None))
    with pytest.raises(FitError, match="no sample_size"):
        _ = host.outline
    assert hosts.of(pico.unet(sample_size=None), height=16).outline.macs > 0


def test_a_forward_that_is_left_behind_is_noticed():
    """Whoever patches a model under a plan and does not undo it is told, and the model is as it was."""
    host = pico.host()
    unit = host.module.up_blocks[3].attentions[1]
    plan = inherit(2, every=2, sites="up_blocks.3.layers.1")
    with pytest.raises(RigError, match=r"put on 'up_blocks.3.attentions.1' under the plan"), rig.applied(plan, host):
        unit.forward = lambda *args, **kwargs: None
    assert "forward" not in unit.__dict__
