"""A UNet with a plan as its cache, beyond what diffusers asks of every model that can cache."""

import threading

import pytest
import torch

from intarsia import hosts, rig
from intarsia.errors import PlanError
from intarsia.hosts import pico
from intarsia.hosts.cached_unet import PLAN_HOOK, CachedUNet, with_cache
from intarsia.lighten import inherit
from intarsia.plan import Plan, Reuse, Rule
from tests.laws.conftest import inputs_of

PLAN = inherit(10, every=3, sites="up_blocks.2")


@pytest.fixture
def unet():
    return with_cache(pico.host().module)


def answer(unet, seed=0, time=500):
    return unet(**inputs_of(pico.host(), time, seed=seed)).sample


def test_it_is_enabled_and_disabled(unet):
    whole = answer(unet)
    before = set(unet.__dict__)
    assert not unet.is_cache_enabled
    unet.enable_cache(PLAN)
    assert unet.is_cache_enabled
    assert unet._diffusers_hook.get_hook(PLAN_HOOK) is not None
    unet.disable_cache()
    assert not unet.is_cache_enabled
    assert unet._diffusers_hook.get_hook(PLAN_HOOK) is None
    assert not any("forward" in module.__dict__ for module in unet.modules())
    assert set(unet.__dict__) - before <= {"_diffusers_hook", "_cache_config"}
    assert torch.equal(answer(unet), whole)


def test_a_plan_that_does_not_fit_enables_nothing(unet):
    with pytest.raises(PlanError, match="Row 0 must run it"):
        unet.enable_cache(Plan(3, (Rule(":", "up_blocks.2", Reuse()),)))
    assert not unet.is_cache_enabled
    unet.enable_cache(PLAN)
    unet.disable_cache()


def test_a_reset_begins_a_run_in_every_context(unet):
    whole = answer(unet)
    unet.enable_cache(PLAN)
    for name in ("cond", "uncond"):
        with unet.cache_context(name):
            answer(unet, seed=1)
    unet._reset_stateful_cache()
    for name in ("cond", "uncond"):
        with unet.cache_context(name):
            assert torch.equal(answer(unet), whole)
    unet.disable_cache()


def draw(pipe, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    return pipe(**pico.prompt(), num_inference_steps=6, output_type="latent", generator=generator, **more).images


def plan_for(pipe):
    return inherit(hosts.rows(pipe.scheduler, 6), every=3, sites="up_blocks.2")


def test_a_pipeline_draws_as_under_applied():
    pipe = pico.pipeline()
    with rig.applied(plan_for(pipe), hosts.of(pipe.unet)):
        applied = draw(pipe)
    assert with_cache(pipe.unet) is pipe.unet
    pipe.unet.enable_cache(plan_for(pipe))
    assert torch.equal(draw(pipe), applied)
    assert torch.equal(draw(pipe), applied)


def test_caches_of_diffusers_are_passed_on(unet):
    from diffusers import PyramidAttentionBroadcastConfig

    unet.enable_cache(
        PyramidAttentionBroadcastConfig(spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500)
    )
    assert unet.is_cache_enabled
    unet.disable_cache()
    assert not unet.is_cache_enabled


def test_the_model_keeps_its_name_and_learns_once(unet, tmp_path):
    assert type(unet).__name__ == "UNet2DConditionModel"
    assert type(with_cache(unet)) is type(unet)
    unet.save_pretrained(tmp_path)
    assert "UNet2DConditionModel" in (tmp_path / "config.json").read_text()
    assert not CachedUNet(**pico.unet().config).is_cache_enabled


def test_a_reset_leaves_other_threads_alone(unet):
    """Pipelines reset the cache when they end, and others may be drawing with the same model."""
    unet.enable_cache(PLAN)
    answer(unet)
    told = answer(unet, seed=1, time=400)
    unet._reset_stateful_cache()
    answer(unet)
    worker = threading.Thread(target=unet._reset_stateful_cache)
    worker.start()
    worker.join()
    assert torch.equal(answer(unet, seed=1, time=400), told)
    unet.disable_cache()


def test_a_reset_within_a_context_stays_in_it(unet):
    whole = answer(unet)
    unet.enable_cache(PLAN)
    with unet.cache_context("cond"):
        answer(unet, seed=1)
        unet._reset_stateful_cache()
        assert torch.equal(answer(unet), whole)
    assert torch.equal(answer(unet), whole), "what was remembered there is not told here"
    with unet.cache_context("cond"):
        assert not torch.equal(answer(unet, seed=1), answer(pico.host().module, seed=1))
    unet.disable_cache()


def test_two_pipelines_in_threads():
    """One draws a whole picture, and ends, while the other is in mid-run."""
    first, second = pico.pipeline(), pico.pipeline()
    second.unet = with_cache(first.unet)
    first.unet.enable_cache(plan_for(first))
    alone = [draw(first, 0), draw(second, 1)]
    midway, ended, found = threading.Event(), threading.Event(), []

    def wait(_pipe, step, _time, given):
        midway.set()
        assert ended.wait(60)
        return given

    worker = threading.Thread(target=lambda: found.append(draw(second, 1, callback_on_step_end=wait)))
    worker.start()
    assert midway.wait(60)
    found.append(draw(first, 0))
    ended.set()
    worker.join()
    assert all(torch.equal(one, other) for one, other in zip(found, alone, strict=True))


def test_a_cancelled_request_leaves_nothing_to_the_next():
    pipe = pico.pipeline()
    with_cache(pipe.unet).enable_cache(plan_for(pipe))

    def cancel(*_):
        raise KeyboardInterrupt

    alone = draw(pipe)
    with pytest.raises(KeyboardInterrupt):
        draw(pipe, 1, callback_on_step_end=cancel)
    assert torch.equal(draw(pipe), alone)
