"""A UNet with a plan as its cache, beyond what diffusers asks of every model that can cache."""

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


def test_a_pipeline_draws_as_under_applied():
    pipe = pico.pipeline()
    steps = 6
    plan = inherit(hosts.rows(pipe.scheduler, steps), every=2, sites="up_blocks.2")

    def draw():
        generator = torch.Generator().manual_seed(0)
        return pipe(**pico.prompt(), num_inference_steps=steps, output_type="latent", generator=generator).images

    with rig.applied(plan, hosts.of(pipe.unet)):
        applied = draw()
    assert with_cache(pipe.unet) is pipe.unet
    pipe.unet.enable_cache(plan)
    assert torch.equal(draw(), applied)
    assert torch.equal(draw(), applied)


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


def test_a_reset_reaches_every_thread(unet):
    import threading

    whole = answer(unet)
    unet.enable_cache(PLAN)
    first, reset, done = threading.Event(), threading.Event(), []

    def work():
        answer(unet, seed=1)
        first.set()
        reset.wait(60)
        with torch.no_grad():
            done.append(answer(unet))

    worker = threading.Thread(target=work)
    worker.start()
    first.wait(60)
    unet._reset_stateful_cache()
    reset.set()
    worker.join(60)
    assert torch.equal(done[0], whole)
    unet.disable_cache()
