"""A stack beside all else that people do with a pipeline: plans, ControlNets, image to image, samplers, guidance."""

import copy
from contextlib import ExitStack

import pytest
import torch
from diffusers import (
    ControlNetModel,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
)

from intarsia import FitError, RigError, hosts, rig
from intarsia.connect import Stack, TextCarrier, Window, attached
from intarsia.connect.attaching import guides
from intarsia.hosts import pico
from intarsia.lighten import inherit

from .conftest import draw, make_carrier, make_semantic, seen, spoken, told, words_for

STEPS = 4
pytestmark = pytest.mark.filterwarnings("ignore")


def stack_of(connector):
    return Stack(connector, [spoken("style", connector), spoken("palette", connector)])


@pytest.mark.parametrize("plan_first", [True, False])
@pytest.mark.parametrize("plan_ends_first", [True, False])
def test_a_stack_and_a_plan_in_either_nesting_and_left_in_either_order(connector, pipe, plan_first, plan_ends_first):
    host = hosts.of(pipe.unet)
    plan = inherit(hosts.rows(pipe.scheduler, STEPS), every=2, sites="up_blocks.2")
    stack = stack_of(connector)

    def picture():
        return draw(pipe, connector, num_inference_steps=STEPS)

    with attached(pipe, Stack(connector, [])):
        before = picture()
    with rig.applied(plan, host), attached(pipe, stack) as senses:
        senses.give(style=seen(1))
        wanted = picture()
    with attached(pipe, stack) as senses:
        senses.give(style=seen(1))
        whole = picture()
    blocks = {"plan": rig.applied(plan, host), "stack": attached(pipe, stack)}
    order = ["plan", "stack"] if plan_first else ["stack", "plan"]
    entered = {name: blocks[name].__enter__() for name in order}
    entered["stack"].give(style=seen(1))
    assert torch.equal(picture(), wanted)
    blocks["plan" if plan_ends_first else "stack"].__exit__(None, None, None)
    if plan_ends_first:
        assert torch.equal(picture(), whole)
    blocks["stack" if plan_ends_first else "plan"].__exit__(None, None, None)
    assert not pipe.unet._forward_pre_hooks
    with attached(pipe, Stack(connector, [])):
        assert torch.equal(picture(), before)
    assert not torch.equal(wanted, whole)


def test_a_plan_that_changes_nothing_changes_nothing_here(connector, pipe):
    plan = inherit(hosts.rows(pipe.scheduler, STEPS), every=1, sites="up_blocks.2")
    with attached(pipe, stack_of(connector)) as senses:
        senses.give(style=seen(1))
        whole = draw(pipe, connector, num_inference_steps=STEPS)
        with rig.applied(plan, hosts.of(pipe.unet)):
            assert torch.equal(draw(pipe, connector, num_inference_steps=STEPS), whole)


def controlled(pipe):
    control = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 16)).eval()
    for value in control.parameters():
        value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    made = StableDiffusionControlNetPipeline(**pipe.components, controlnet=control, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("guess_mode", [False, True])
def test_a_control_net_hears_the_same(connector, pipe, guess_mode):
    made, shown = controlled(pipe), torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    more = {"image": shown, "guess_mode": guess_mode}
    heard = []
    handle = made.controlnet.register_forward_hook(
        lambda _net, _args, kwargs, _output: heard.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    with attached(made, Stack(connector, [])):
        text_only = draw(made, connector, **more)
    heard.clear()
    with attached(made, stack_of(connector)) as senses:
        senses.give(style=seen(1))
        assert not torch.equal(draw(made, connector, **more), text_only)
    handle.remove()
    words = words_for(connector, 1)
    wanted = told(stack_of(connector), words, float(made.scheduler.timesteps[0]), style=seen(1))
    assert torch.equal(heard[0][-1:], wanted)
    assert len(heard[0]) == (1 if guess_mode else 2)
    assert not made.controlnet._forward_pre_hooks


def test_each_of_several_control_nets_hears_the_same(pipe):
    connector, (first, second) = make_carrier(), (controlled(pipe).controlnet for _ in range(2))
    made = StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=[first, second], requires_safety_checker=False
    )
    made.set_progress_bar_config(disable=True)
    heard = {first: [], second: []}
    for net in heard:
        net.register_forward_hook(
            lambda of, _args, kwargs, _output: heard[of].append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
    with attached(made, stack_of(connector)) as senses:
        senses.give(style=seen(1))
        draw(made, connector, image=[torch.rand(1, 3, 32, 32)] * 2)
    words = words_for(connector, 1)
    wanted = told(stack_of(connector), words, float(made.scheduler.timesteps[0]), style=seen(1))
    assert not torch.equal(wanted, words)
    assert all(torch.equal(calls[0][-1:], wanted) for calls in heard.values())


@pytest.mark.parametrize("lengths", [(4, 2), (3, None)])
def test_pictures_of_one_prompt_hear_the_prompts_reference(pipe, lengths):
    """References of several lengths, or none, are repeated with what says which of their tokens are real."""
    connector = make_carrier()
    ones = [None if length is None else seen(1, length)[0] for length in lengths]
    with attached(pipe, stack_of(connector)) as senses:
        senses.give(style=ones)
        shared = draw(pipe, connector, 2, num_images_per_prompt=2)
        senses.give(style=[one for one in ones for _ in range(2)])
        assert torch.equal(shared, draw(pipe, connector, 2, num_images_per_prompt=2))
        senses.give(style=[*ones, *ones])
        assert not torch.equal(shared, draw(pipe, connector, 2, num_images_per_prompt=2))


def test_image_to_image(connector, pipe):
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    made = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    shown = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))

    def picture():
        return draw(made, connector, image=shown, strength=0.6, num_inference_steps=6)

    with attached(made, stack_of(connector)) as senses:
        silent = picture()
        senses.give(style=seen(1))
        assert not torch.equal(picture(), silent)
        assert len(senses.table.readings[0].tokens) == 3, "the run begins in the middle"


@pytest.mark.parametrize(
    "scheduler, distinct",
    [(EulerDiscreteScheduler(), STEPS), (HeunDiscreteScheduler(), STEPS), (PNDMScheduler(skip_prk_steps=True), STEPS)],
    ids=["euler", "heun", "pndm"],
)
def test_time_steps_that_are_fractions_or_come_twice(scheduler, distinct, connector):
    pipe = pico.pipeline(scheduler=scheduler)
    with attached(pipe, stack_of(connector)) as senses:
        senses.give(style=seen(1))
        first = draw(pipe, connector, num_inference_steps=STEPS)
        assert torch.equal(draw(pipe, connector, num_inference_steps=STEPS), first)
        assert len(senses.table.readings[0].tokens) == distinct


def test_words_without_guidance_and_several_pictures_a_prompt(connector, pipe):
    """Two prompts with a reference each, three pictures of each: rows are shared out as pipelines repeat prompts."""
    stack, given = stack_of(connector), seen(2)
    heard = []
    with attached(pipe, stack) as senses:
        handle = pipe.unet.register_forward_pre_hook(
            lambda _net, _args, kwargs: heard.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
        senses.give(style=given)
        draw(pipe, connector, prompts=2, num_images_per_prompt=3, guidance_scale=1.0)
        draw(pipe, connector, prompts=2, num_images_per_prompt=3)
        handle.remove()
    time = float(pipe.scheduler.timesteps[0])
    words = words_for(connector, 2).repeat_interleave(3, 0)
    wanted = told(stack, words, time, style=given.repeat_interleave(3, 0))
    assert torch.equal(heard[0], wanted)
    half = next(one for one in heard if len(one) == 12)
    assert torch.equal(half[6:], wanted)
    assert torch.equal(half[:6], told(stack, torch.zeros_like(words), time)), "without words nobody is heard"


def test_the_half_without_words_is_the_frozen_models_own(pipe):
    carrier = make_carrier()
    with attached(pipe, stack_of(carrier)) as senses:
        senses.give(style=seen(1), palette=seen(1))
        heard = []
        handle = pipe.unet.register_forward_pre_hook(
            lambda _net, _args, kwargs: heard.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
        draw(pipe, carrier)
        handle.remove()
    assert torch.equal(heard[0][:1], torch.zeros_like(heard[0][:1]))


def test_a_host_called_by_hand(connector, host):
    """Words by position, as in training code, and both halves of guidance."""
    stack, words = stack_of(connector), words_for(connector)
    noisy, time = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor(300)
    tokens = told(stack, words, 300, style=seen())
    half = torch.cat([told(stack, words[:1], 300), told(stack, words[1:], 300, style=seen(1))])
    plain = [host.module(noisy, time, one).sample for one in (tokens, half)]
    with attached(host, stack) as senses:
        senses.give(style=seen())
        assert torch.equal(host.module(noisy, time, words).sample, plain[0])
        assert torch.equal(host.module(noisy, 300, encoder_hidden_states=words).sample, plain[0])
    with attached(host, stack, guided=True) as senses:
        senses.give(style=seen(1))
        assert torch.equal(host.module(noisy, time, words).sample, plain[1])
        with pytest.raises(FitError, match="two halves, and this call has 1"):
            host.module(noisy[:1], time, words[:1])


def test_what_attaching_refuses(pipe):
    carrier = make_carrier()
    wide = TextCarrier(24, "other", heads=4)
    with pytest.raises(FitError, match="width 16, and the stack tells 24"), attached(pipe, Stack(wide, [])):
        pass
    with attached(pipe, Stack(carrier, [])), pytest.raises(RigError, match="has a stack already"), ExitStack() as stack:
        stack.enter_context(attached(hosts.of(pipe.unet), Stack(carrier, [])))
    for name in ("image_guidance_scale", "do_perturbed_attention_guidance"):
        setattr(pipe, name, 1.5)
        with attached(pipe, Stack(carrier, [])), pytest.raises(FitError, match="three predictions"):
            draw(pipe, carrier)
        delattr(pipe, name)


def test_a_control_net_that_two_pipelines_share_hears_one_stack(pipe):
    first, carrier = controlled(pipe), make_carrier()
    parts = pico.pipeline().components
    second = StableDiffusionControlNetPipeline(**parts, controlnet=first.controlnet, requires_safety_checker=False)
    with attached(first, Stack(carrier, [])):
        with pytest.raises(RigError, match="this ControlNetModel has a stack already"), ExitStack() as stack:
            stack.enter_context(attached(second, Stack(carrier, [])))
        assert not second.unet._forward_pre_hooks
    with attached(second, Stack(carrier, [])):
        assert first.controlnet._forward_pre_hooks


def test_a_pipeline_that_guides_while_it_says_not_is_refused():
    from diffusers import StableDiffusionPanoramaPipeline

    pipe = StableDiffusionPanoramaPipeline(**pico.pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    with attached(pipe, Stack(make_carrier(), [])):
        with pytest.raises(FitError, match="says that it does not guide, and its guidance scale is 3"):
            draw(pipe, make_carrier(), height=32, width=32)
        draw(pipe, make_carrier(), height=32, width=32, guidance_scale=1.0)


def test_a_window_that_is_changed_counts_at_once(connector, pipe):
    stack = stack_of(connector)
    with attached(pipe, stack) as senses:
        senses.give(style=seen(1))
        heard = draw(pipe, connector)
        stack.senses["style"].window = Window(highest=0)
        assert not torch.equal(draw(pipe, connector), heard)


def test_another_pipeline_on_the_same_unet_is_told_where_to_attach(pipe):
    carrier = make_carrier()
    other = type(pipe)(**pipe.components)
    with attached(pipe, Stack(carrier, [])), pytest.raises(FitError, match="is not the one that draws"):
        draw(other, carrier)
    with attached(other, Stack(carrier, [])):
        draw(other, carrier)


def test_a_pipeline_that_keeps_its_guidance_to_itself_is_refused():
    from diffusers import StableDiffusionXLInstructPix2PixPipeline

    with pytest.raises(FitError, match="does not say whether it guides"):
        guides(object.__new__(StableDiffusionXLInstructPix2PixPipeline))


def test_a_teacher_hears_the_same(connector, pipe):
    """The very UNet, called beside, answers as it does in the pipeline's place."""
    stack, twin, heard = stack_of(connector), copy.deepcopy(pipe.unet), []
    with attached(pipe, stack, also=[twin]) as senses:
        senses.give(style=seen(1))
        wanted = draw(pipe, connector)
        own, pipe.unet = pipe.unet, twin
        heard.append(draw(pipe, connector))
        pipe.unet = own
    assert torch.equal(heard[0], wanted)
    assert not twin._forward_pre_hooks


def test_what_a_stack_costs():
    """Nothing is added by a module that is not heard, nor in a call that a table knows."""
    carrier, semantic = make_carrier(), make_semantic()
    words, given = words_for(carrier, 1), {"style": seen(1), "palette": seen(1)}
    both, one = (stack_of(carrier).macs(words, dict(list(given.items())[:count])) for count in (2, 1))
    assert both > one > 0
    assert stack_of(carrier).macs(words, {}) == 0
    assert Stack(semantic, []).macs(words_for(semantic, 1), {}) > 0
    pipe = pico.pipeline()
    with rig.count_macs() as stock:
        draw(pipe, carrier)
    with attached(pipe, stack_of(carrier)) as senses:
        senses.give(**given)
        with rig.count_macs() as first:
            draw(pipe, carrier)
        with rig.count_macs() as second:
            draw(pipe, carrier)
    assert first.total == stock.total + 3 * both
    assert second.total == stock.total


def test_both_halves_hear_references_if_asked(pipe):
    carrier = make_carrier()
    stack, words = stack_of(carrier), words_for(carrier, 2)
    heard = []
    with attached(pipe, stack, uncond="same") as senses:
        handle = pipe.unet.register_forward_pre_hook(
            lambda _net, _args, kwargs: heard.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
        senses.give(style=seen(2))
        draw(pipe, carrier, prompts=2)
        handle.remove()
    time = float(pipe.scheduler.timesteps[0])
    assert torch.equal(heard[0][:2], told(stack, torch.zeros_like(words), time, style=seen(2)))
    assert torch.equal(heard[0][2:], told(stack, words, time, style=seen(2)))
    with pytest.raises(FitError, match="say 'off' or 'same'"), attached(pipe, stack, uncond="both"):
        pass


@pytest.mark.parametrize(("make", "kept"), [(make_carrier, True), (make_semantic, False)])
def test_a_mask_of_words_does_not_fall_on_other_tokens(make, kept):
    """A carrier's tokens are the words, and the mask still hides their padding; ELLA's are others, and all are real."""
    connector, host = make(), pico.host()
    if make is make_semantic:  # as many tokens as words, so that their number tells nothing
        connector.start = torch.nn.Parameter(connector.start.repeat(2, 1)[: pico.TOKENS])
    mask = torch.ones(2, pico.TOKENS)
    mask[:, -2:] = 0
    words, noisy = words_for(connector), torch.randn(2, 4, 16, 16)

    def answer(**more):
        with attached(host, Stack(connector, [])):
            return host.module(noisy, 500, encoder_hidden_states=words, **more).sample

    assert torch.equal(answer(), answer(encoder_attention_mask=mask)) == (not kept)
