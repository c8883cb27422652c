"""Nine things that people do with pipelines, each of which breaks DeepCache 0.1.1.

Each is done with DeepCache too, and it is said how that fails; and where it can, that it does not fail when the thing
is left out. So the tests are known to test something.
"""

import pytest
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import DDIMScheduler, HeunDiscreteScheduler, PNDMScheduler

from intarsia import RigError, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit

from .drawings import Drawing, cut_off, image_to_image, in_step

STEPS = 8
SITES = "up_blocks.2"
pytestmark = pytest.mark.filterwarnings("ignore")


def words() -> Drawing:
    return Drawing(pico.pipeline(), {**pico.prompt(), "num_inference_steps": STEPS})


def deepcached(pipe, every=2):
    helper = DeepCacheSDHelper(pipe=pipe)
    helper.set_params(cache_interval=every, cache_branch_id=2)
    helper.enable()
    return helper


def planned(pipe, every=2):
    return inherit(hosts.rows(pipe.scheduler, STEPS), every=every, sites=SITES), hosts.of(pipe.unet)


def test_1_applying_twice():
    draw = words()
    deepcached(draw.pipe).enable()
    with pytest.raises(RecursionError):
        draw()

    plan, host = planned(pico.pipeline())
    with rig.applied(plan, host), pytest.raises(RigError), rig.applied(plan, host):
        pass


def full_calls(unet, run):
    """How many calls of a UNet computed its middle block."""
    seen = []
    handle = unet.mid_block.resnets[0].norm1.register_forward_hook(lambda *_: seen.append(1))
    run()
    handle.remove()
    return len(seen)


@pytest.mark.parametrize(
    ("scheduler", "theirs_count_calls"), [(DDIMScheduler, True), (HeunDiscreteScheduler, False), (PNDMScheduler, False)]
)
def test_2_samplers_that_repeat_time_steps(scheduler, theirs_count_calls):
    draw = Drawing(pico.pipeline(scheduler=scheduler()), words().asked)
    plan, host = planned(draw.pipe)
    with rig.applied(plan, host):
        ours = full_calls(draw.pipe.unet, draw)
    assert ours == -(-plan.rows // 2)

    deepcached(draw.pipe)
    theirs = full_calls(draw.pipe.unet, draw)
    assert (theirs == ours) == theirs_count_calls


def test_3_image_to_image_with_changing_strength_and_batch():
    draw = image_to_image(words())
    asked = [{"strength": 0.8}, {"strength": 0.5, "num_images_per_prompt": 2}]
    plan, host = planned(draw.pipe, every=3)
    alone = []
    for settings in asked:
        with rig.applied(plan, host):
            alone.append(draw(**settings))
    with rig.applied(plan, host):
        draw(strength=1.0)
        together = [draw(**settings) for settings in asked]
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))

    helper = deepcached(draw.pipe, every=3)
    assert torch.equal(draw(**asked[0]), alone[0])
    helper.disable()
    deepcached(draw.pipe, every=3)
    draw(strength=1.0)
    assert not torch.equal(draw(**asked[0]), alone[0])


def test_4_guidance_cut_off_in_mid_run():
    draw = words()
    cut = cut_off(draw, STEPS // 2 - 2)
    plan, host = planned(draw.pipe, every=4)
    with rig.applied(plan, host) as live:
        assert cut().isfinite().all()
        assert [call.refreshed for call in live.trace].count(True) == 1
        uncut = draw()

    deepcached(draw.pipe, every=4)
    assert torch.equal(draw(), uncut)
    with pytest.raises(RuntimeError):
        cut()


def adapted_calls(pipe, after):
    """Four calls with a T2I-Adapter's residuals, the last three of them alike; `after` each, see what is remembered."""
    pipe.scheduler.set_timesteps(STEPS)
    given = pico.host().inputs(tokens=pico.TOKENS)
    sample, states = (torch.ones(given[name].shape) for name in ("sample", "encoder_hidden_states"))
    for time in pipe.scheduler.timesteps[[0, 1, 1, 1]]:
        residuals = [torch.ones(1, width, side, side) for width, side in ((16, 16), (32, 8), (32, 4), (32, 2))]
        after(pipe.unet(sample, time, states, down_intrablock_additional_residuals=residuals).sample)


def test_5_adapters_do_not_edit_what_is_remembered():
    """UNet2DConditionModel adds an adapter's residual to a block's output in place: to the remembered tensor."""
    pipe = pico.pipeline()
    computed, outputs, remembered = {}, [], []
    for path in ("down_blocks.3.resnets.0", "down_blocks.3.resnets.1"):
        pipe.unet.get_submodule(path).register_forward_hook(
            lambda _unit, _args, output, path=path: computed.update({path: output.clone()} | computed)
        )
    with rig.applied(inherit(4, every=4, sites="down_blocks.3"), hosts.of(pipe.unet)) as live:

        def look(output):
            outputs.append(output)
            remembered.append({path: values[0][1].clone() for path, values in live.session.memory.lanes[0].items()})

        adapted_calls(pipe, look)
    for held in remembered[:-1]:  # after the last call nothing is
        assert held.keys() == computed.keys()
        assert all(torch.equal(held[path], computed[path]) for path in computed)
    assert torch.equal(outputs[1], outputs[2])
    assert torch.equal(outputs[2], outputs[3])

    helper, means = deepcached(pipe, every=4), []
    adapted_calls(pipe, lambda _: means.append(float(helper.cached_output["down", "block", 3, 0][0].mean())))
    assert means[1:] == pytest.approx([mean + 1 for mean in means[:-1]]), "one residual more at each call"


def test_6_two_threads_share_a_model():
    drawings, seeds = (words(), words()), (0, 1)
    drawings[1].pipe.unet = drawings[0].pipe.unet
    plan, host = planned(drawings[0].pipe, every=3)
    with rig.applied(plan, host):
        alone = [draw(seed) for draw, seed in zip(drawings, seeds, strict=True)]
        for _ in range(2):
            assert all(torch.equal(*pair) for pair in zip(in_step(drawings, seeds), alone, strict=True))

    deepcached(drawings[0].pipe, every=3)
    assert all(torch.equal(draw(seed), one) for draw, seed, one in zip(drawings, seeds, alone, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(in_step(drawings, seeds), alone, strict=True))


@pytest.mark.slow
def test_7_compiling():
    """Theirs looks the step up within the call. Ours is asked for whole graphs in `tests/graphs`."""
    pipe = pico.pipeline()
    pipe.scheduler.set_timesteps(STEPS)
    given = {name: torch.ones(value.shape) for name, value in pico.host().inputs(tokens=pico.TOKENS).items()}
    time = pipe.scheduler.timesteps[0]

    def breaks():
        torch._dynamo.reset()
        return torch._dynamo.explain(pipe.unet)(given["sample"], time, given["encoder_hidden_states"]).graph_break_count

    assert breaks() == 0
    deepcached(pipe)
    assert breaks() > 0


def test_8_the_time_step_may_be_a_keyword():
    pipe = pico.pipeline()
    given = {name: torch.ones(value.shape) for name, value in pico.host().inputs(tokens=pico.TOKENS).items()}
    times = [{"timestep": time} for time in (9, 8)]
    with rig.applied(inherit(2, every=2, sites=SITES), hosts.of(pipe.unet)) as live:
        named = [pipe.unet(**given | time).sample for time in times]
        placed = [pipe.unet(given["sample"], time["timestep"], given["encoder_hidden_states"]).sample for time in times]
        assert live.trace[1].recalled
    assert all(torch.equal(one, other) for one, other in zip(named, placed, strict=True))

    deepcached(pipe)
    with pytest.raises(IndexError):
        pipe.unet(**given | times[0])


def test_9_requests_of_any_kind_in_a_row():
    """As a server gets them: what one request leaves behind is nothing to the next, and is no memory."""
    draw = words()
    redraw = image_to_image(draw).asking(strength=0.5, num_images_per_prompt=2)
    plan, host = planned(draw.pipe, every=3)
    with rig.applied(plan, host) as live:
        first = draw()
        redraw()
        assert torch.equal(draw(), first)
        assert live.remembered_bytes == 0

    helper = deepcached(draw.pipe, every=3)
    assert torch.equal(draw(), first)
    assert helper.cached_output
    helper.disable()
    deepcached(draw.pipe, every=3)
    redraw()
    with pytest.raises(RuntimeError):
        draw()
