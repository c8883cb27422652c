"""Where one run ends and the next begins, wherever in the noise that is: nothing of a picture gets into the next."""

import itertools

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)

from intarsia import hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit

from .conftest import inputs_of
from .drawings import from_words, xl

STEPS = 8
STRENGTHS = (1, 0.875, 0.5, 0.125)
SAMPLERS = [DDIMScheduler, PNDMScheduler, pytest.param(HeunDiscreteScheduler, marks=pytest.mark.slow)]
EACH_AFTER_EACH = [STRENGTHS[int(place)] for place in "00102031121322330"]
pytestmark = pytest.mark.filterwarnings("ignore")


def planned(pipe, sites="up_blocks.2"):
    return inherit(hosts.rows(pipe.scheduler, STEPS), every=3, sites=sites), hosts.of(pipe.unet)


def redrawing(scheduler):
    parts = pico.pipeline(scheduler=scheduler()).components
    pipe = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def redraw(pipe, strength, **more):
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(round(8 * strength)))
    return pipe(
        **pico.prompt(), image=picture, strength=strength, num_inference_steps=STEPS, guidance_scale=3.0,
        output_type="latent", generator=torch.Generator().manual_seed(3), **more,
    ).images  # fmt: skip


@pytest.mark.parametrize("scheduler", SAMPLERS)
def test_every_strength_after_every_other(scheduler):
    assert len(set(itertools.pairwise(EACH_AFTER_EACH))) == len(STRENGTHS) ** 2
    pipe = redrawing(scheduler)
    plan, host = planned(pipe)
    alone, rows = {}, {}
    for strength in STRENGTHS:
        with rig.applied(plan, host) as live:
            alone[strength] = redraw(pipe, strength)
        left_out = (STEPS - round(strength * STEPS)) * pipe.scheduler.order
        rows[strength] = [call.recalled > 0 for call in live.trace]
        assert rows[strength] == [row % 3 > 0 for row in range(plan.rows - left_out)]
    with rig.applied(plan, host) as live:
        for strength in EACH_AFTER_EACH:
            assert torch.equal(redraw(pipe, strength), alone[strength])
            assert [call.recalled > 0 for call in live.trace] == rows[strength]


class Cancelled(Exception):
    pass


def cancelled_after(calls):
    def cancel(_pipe, step, _time, given):
        if step + 1 == calls:
            raise Cancelled
        return given

    return cancel


@pytest.mark.parametrize("calls", [1, 5])
def test_a_cancelled_run_leaves_nothing_to_the_next(calls):
    pipe = redrawing(DDIMScheduler)
    plan, host = planned(pipe)
    for strength in (1, 0.5, 0.125):
        with rig.applied(plan, host):
            alone = redraw(pipe, strength)
            with pytest.raises(Cancelled):
                redraw(pipe, 1, callback_on_step_end=cancelled_after(calls))
            assert torch.equal(redraw(pipe, strength), alone)


def test_base_and_refiner_share_a_unet():
    base = xl(from_words("Euler")).asking(num_inference_steps=STEPS)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    halves = (
        base.asking(denoising_end=0.5),
        base.on(StableDiffusionXLImg2ImgPipeline, image=noisy, denoising_start=0.5),
    )
    plan, host = planned(base.pipe, sites="up_blocks.0")
    alone = []
    for draw in halves:
        with rig.applied(plan, host):
            alone.append(draw())
    with rig.applied(plan, host):
        for refines in (False, False, True, True, False, True):
            assert torch.equal(halves[refines](), alone[refines])


def test_loops_that_pass_numbers_tell_of_a_run_that_starts_low(pico_host):
    def run(times):
        return [pico_host.module(**inputs_of(pico_host, 0, seed=time) | {"timestep": time}).sample for time in times]

    with rig.applied(inherit(6, every=3, sites="up_blocks.2"), pico_host) as live:
        alone = run((5, 4, 3))
        run((9, 8, 7))
        live.restart()
        for one, other in zip(run((5, 4, 3)), alone, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("with_words_first", [True, False])
@pytest.mark.parametrize("lone", [(3, 4, 5), (0, 1, 2), (2, 3), range(6)], ids=["cut off", "late", "a gap", "always"])
@pytest.mark.parametrize("scheduler", [DDIMScheduler, HeunDiscreteScheduler])
def test_guidance_in_two_calls_may_pause(scheduler, lone, with_words_first, pico_host):
    """The prediction with words is what it is alone; the one without is computed whole when it comes back."""
    sampler = scheduler()
    sampler.set_timesteps(6)
    words = {with_words: torch.randn(1, pico.TOKENS, pico.WIDTH) for with_words in (True, False)}
    order = (True, False) if with_words_first else (False, True)

    def call(with_words, time):
        sample = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(int(time)))
        return pico_host.module(sample, time, encoder_hidden_states=words[with_words]).sample

    plan = inherit(len(sampler.timesteps), every=3, sites="up_blocks.2")
    with rig.applied(plan, pico_host):
        alone = [call(True, time) for time in sampler.timesteps]
    with rig.applied(plan, pico_host, lanes=2) as live:
        before = None
        for row, time in enumerate(sampler.timesteps):
            for with_words in (True,) if row in lone else order:
                found = call(with_words, time)
                assert live.trace[-1].row == row
                if with_words:
                    assert torch.equal(found, alone[row])
                else:
                    assert (live.trace[-1].recalled > 0) == (before == row - 1 and row % 3 > 0)
                    before = row
