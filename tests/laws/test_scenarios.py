"""What people do with pipelines, and what broke DeepCache 0.1.1 there.

Five scenarios are run with DeepCache too, and say how it fails, so that they are known to test something.
"""

import threading

import pytest
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import DDIMScheduler, HeunDiscreteScheduler, PNDMScheduler, StableDiffusionImg2ImgPipeline

from intarsia import hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit

STEPS = 8
SITES = "up_blocks.2"
pytestmark = pytest.mark.filterwarnings("ignore")


def draw(pipe, *, seed=1, steps=STEPS, count=1, **more):
    return pipe(
        **pico.prompt(count=count),
        num_inference_steps=steps,
        output_type="latent",
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(seed),
        **more,
    ).images


def deepcached(pipe, every=2):
    helper = DeepCacheSDHelper(pipe=pipe)
    helper.set_params(cache_interval=every, cache_branch_id=2)
    return helper


def planned(pipe, every=2, steps=STEPS):
    host = hosts.of(pipe.unet)
    return inherit(hosts.rows(pipe.scheduler, steps), every=every, sites=SITES), host


def test_applying_twice_is_refused_and_theirs_recurses():
    pipe = pico.pipeline()
    helper = deepcached(pipe)
    helper.enable()
    helper.enable()
    with pytest.raises(RecursionError):
        draw(pipe)

    plan, host = planned(pico.pipeline())
    with rig.applied(plan, host), pytest.raises(rig_error()), rig.applied(plan, host):
        pass


def rig_error():
    from intarsia import RigError

    return RigError


def full_calls(unet, run):
    """How many calls of a UNet computed its middle block."""
    seen = []
    handle = unet.mid_block.resnets[0].norm1.register_forward_hook(lambda *_: seen.append(1))
    run()
    handle.remove()
    return len(seen)


@pytest.mark.parametrize("scheduler", [HeunDiscreteScheduler, PNDMScheduler])
def test_samplers_that_repeat_time_steps(scheduler):
    pipe = pico.pipeline(scheduler=scheduler())
    plan, host = planned(pipe)
    with rig.applied(plan, host):
        ours = full_calls(pipe.unet, lambda: draw(pipe))
    assert ours == -(-plan.rows // 2)

    helper = deepcached(pipe)
    helper.enable()
    theirs = full_calls(pipe.unet, lambda: draw(pipe))
    helper.disable()
    assert theirs != ours


def img2img(pipe):
    return StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)


def redraw(pipe, strength, count=1):
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(count, -1, -1, -1)
    return pipe(
        **pico.prompt(count=count), image=image, strength=strength, num_inference_steps=STEPS, guidance_scale=3.0,
        output_type="latent", generator=torch.Generator().manual_seed(3),
    ).images  # fmt: skip


def test_image_to_image_with_changing_strength_and_batch():
    pipe = img2img(pico.pipeline())
    pipe.set_progress_bar_config(disable=True)
    plan, host = planned(pipe, every=3)
    alone = []
    for strength, count in ((0.8, 1), (0.5, 2)):
        with rig.applied(plan, host):
            alone.append(redraw(pipe, strength, count))
    with rig.applied(plan, host):
        redraw(pipe, 1.0)
        together = [redraw(pipe, 0.8), redraw(pipe, 0.5, 2)]
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))

    helper = deepcached(pipe, every=3)
    helper.enable()
    redraw(pipe, 1.0)
    after = redraw(pipe, 0.8)
    helper.disable()
    assert not torch.equal(after, alone[0])


def cut_off_guidance(pipe, step, _time, given):
    """The official recipe for leaving guidance off from a step on."""
    if step == STEPS // 2 - 2:
        given["prompt_embeds"] = given["prompt_embeds"].chunk(2)[-1]
        pipe._guidance_scale = 0.0
    return given


def test_guidance_cut_off_in_mid_run():
    pipe = pico.pipeline()
    more = {"callback_on_step_end": cut_off_guidance, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    plan, host = planned(pipe, every=4)
    with rig.applied(plan, host) as live:
        assert draw(pipe, **more).isfinite().all()
    assert [call.refreshed for call in live.trace].count(True) == 1

    helper = deepcached(pipe, every=4)
    helper.enable()
    with pytest.raises(RuntimeError):
        draw(pipe, **more)


def test_adapters_do_not_edit_what_is_remembered():
    """UNet2DConditionModel adds an adapter's residual to a block's output in place: to the remembered tensor."""
    host = pico.host()
    given = {name: torch.ones(value.shape) for name, value in host.inputs(tokens=pico.TOKENS).items()}
    shapes = [(16, 16), (32, 8), (32, 4), (32, 2)]

    def call(time):
        residuals = [torch.ones(1, channels, size, size) for channels, size in shapes]
        return host.module(**given | {"timestep": time}, down_intrablock_additional_residuals=residuals).sample

    with rig.applied(inherit(4, every=4, sites="down_blocks.3"), host) as live:
        outputs, remembered = [], []
        for time in (9, 8, 8, 8):
            outputs.append(call(time))
            remembered.append({path: values[0][1].clone() for path, values in live.session.memory.lanes[0].items()})
    for path, value in remembered[0].items():
        assert all(torch.equal(value, later[path]) for later in remembered[:-1])
    assert remembered[0].keys() == {"down_blocks.3.resnets.0", "down_blocks.3.resnets.1"}
    assert torch.equal(outputs[1], outputs[2])
    assert torch.equal(outputs[2], outputs[3])


@pytest.mark.parametrize("sites", ["down_blocks.0", "down_blocks.*", "up_blocks.2"])
def test_adapters_are_felt_by_what_is_recalled(sites, monkeypatch):
    """A T2I-Adapter adds to what a down block recalls, whether the block is entered or not."""
    from intarsia.rig import idle

    host = pico.host()
    given = {name: torch.ones(value.shape) for name, value in host.inputs(tokens=pico.TOKENS).items()}
    shapes = [(16, 16), (32, 8), (32, 4), (32, 2)]

    def run():
        outputs = []
        with rig.applied(inherit(4, every=2, sites=sites), host):
            for time in (9, 8, 7, 6):
                added = [torch.full((1, width, side, side), 0.1 * time) for width, side in shapes]
                outputs.append(
                    host.module(**given | {"timestep": time}, down_intrablock_additional_residuals=added).sample
                )
        return outputs

    quick = run()
    monkeypatch.setattr(idle, "is_idle", lambda *_: False)
    assert all(torch.equal(one, other) for one, other in zip(quick, run(), strict=True))


def test_two_threads_share_a_model():
    first, second = pico.pipeline(), pico.pipeline()
    second.unet = first.unet
    plan, host = planned(first, every=3)
    with rig.applied(plan, host):
        alone = [draw(pipe, seed=seed) for seed, pipe in enumerate((first, second))]
        together = [None, None]

        def work(place, pipe):
            for _ in range(3):
                together[place] = draw(pipe, seed=place)

        threads = [threading.Thread(target=work, args=item) for item in enumerate((first, second))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_the_time_step_may_be_a_keyword(pico_host):
    given = {name: torch.ones(value.shape) for name, value in pico_host.inputs(tokens=pico.TOKENS).items()}
    plan = inherit(2, every=2, sites=SITES)
    with rig.applied(plan, pico_host):
        named = pico_host.module(**given | {"timestep": 5}).sample
        placed = pico_host.module(given["sample"], 4, given["encoder_hidden_states"]).sample
    assert named.isfinite().all()
    assert placed.isfinite().all()


def test_requests_in_a_row_without_leaving():
    pipe = pico.pipeline()
    plan, host = planned(pipe)
    with rig.applied(plan, host):
        first = draw(pipe, seed=5)
        draw(pipe, seed=6, count=2)
        assert torch.equal(draw(pipe, seed=5), first)


def test_odd_sizes():
    pipe = pico.pipeline()
    plan, host = planned(pipe)
    assert isinstance(pipe.scheduler, DDIMScheduler)
    with rig.applied(plan, host):
        assert draw(pipe, height=40, width=24).isfinite().all()


def test_free_u_edits_nothing_remembered():
    pipe = pico.pipeline()
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    host = hosts.of(pipe.unet)
    given = {name: torch.ones(value.shape) for name, value in host.inputs(tokens=pico.TOKENS).items()}
    plan = inherit(4, every=4, sites="mid_block")
    with rig.applied(plan, host):
        outputs = [host.module(**given | {"timestep": time}).sample for time in (8, 7, 7, 7)]
    assert all(torch.equal(output, outputs[1]) for output in outputs[2:])


def test_frozen_inputs_answer_as_computed(pico_host):
    """With equal inputs a reuse call equals a full one, for every carry; the line through equal values is flat.

    The time steps fall, as a run's must, by less than single precision sees.
    """
    from intarsia import Extrapolate

    given = {name: torch.ones(value.shape) for name, value in pico_host.inputs(tokens=pico.TOKENS).items()}
    for how in ({}, {"forecast": Extrapolate(1)}):
        plan = inherit(4, keys=(0, 1), sites="up_blocks.2", **how)
        with rig.applied(plan, pico_host):
            outputs = [pico_host.module(**given | {"timestep": 7 - 1e-9 * row}).sample for row in range(4)]
        torch.testing.assert_close(outputs[3], outputs[0])
    plan = inherit(4, keys=(0, 1), sites="**.attentions.*", carry="residual")
    with rig.applied(plan, pico_host):
        outputs = [pico_host.module(**given | {"timestep": 7 - 1e-9 * row}).sample for row in range(4)]
    torch.testing.assert_close(outputs[3], outputs[0])


def test_guidance_halves_are_kept_apart(pico_host):
    """Swapping the halves of the batch at every call swaps the halves of the answer: features stay with their half."""
    plan = inherit(4, every=4, sites="up_blocks.2")
    generator = torch.Generator().manual_seed(0)
    shapes = pico_host.inputs(batch=2, tokens=pico.TOKENS)
    calls = [
        {name: torch.randn(value.shape, generator=generator) for name, value in shapes.items() if value.dim()}
        for _ in range(4)
    ]

    def outputs(order):
        with rig.applied(plan, pico_host):
            return [
                pico_host.module(**{name: value[order] for name, value in call.items()}, timestep=9 - row).sample[order]
                for row, call in enumerate(calls)
            ]

    for straight, swapped in zip(outputs([0, 1]), outputs([1, 0]), strict=True):
        torch.testing.assert_close(straight, swapped)


@pytest.mark.slow
def test_compiling_breaks_no_graph_and_theirs_breaks(pico_host):
    """Ours is asked for whole graphs in `tests/graphs`; theirs looks the step up within the call."""
    pipe = pico.pipeline()
    pipe.scheduler.set_timesteps(STEPS)
    given = {name: torch.ones(value.shape) for name, value in pico_host.inputs(tokens=pico.TOKENS).items()}
    del given["timestep"]
    time = pipe.scheduler.timesteps[0]

    def breaks():
        torch._dynamo.reset()
        return torch._dynamo.explain(pipe.unet)(given["sample"], time, given["encoder_hidden_states"]).graph_break_count

    assert breaks() == 0
    helper = deepcached(pipe)
    helper.enable()
    assert breaks() > 0
    helper.disable()
