"""Whatever sampler calls the model: computing all under a plan changes nothing, and rows are calls as they happen."""

import functools
import inspect

import diffusers
import pytest
import torch
from diffusers import SchedulerMixin

from intarsia import RigError, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit

from .forms import CHOSEN, FORMS, computing_all

STEPS = 6
RISING = ("DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler", "MiniMaxH3Scheduler")
NOT_DRIVEN = {  # and what a plain loop over pictures meets
    # made or stepped with more than they are given here; RePaint has a loop of its own below
    "AmusedScheduler": TypeError,
    "CogVideoXDPMScheduler": TypeError,
    "KarrasVeScheduler": TypeError,
    "RFD4ProteinaScheduler": TypeError,
    "RePaintScheduler": TypeError,
    "VQDiffusionScheduler": TypeError,
    "HeliosDMDScheduler": KeyError,
    "HeliosScheduler": KeyError,
    # for tokens, or for models that answer otherwise
    "BlockRefinementScheduler": ValueError,
    "DiscreteDDIMScheduler": RuntimeError,
    "EntropyBoundScheduler": RuntimeError,
    "PiflowScheduler": ValueError,
    # stepped otherwise: a time step for each sample, two steps at most, a predictor and a corrector
    "DDPMWuerstchenScheduler": IndexError,
    "SCMScheduler": ValueError,
    "ScoreSdeVeScheduler": AttributeError,
}
pytestmark = pytest.mark.filterwarnings("ignore")


def samplers():
    """Every scheduler that diffusers lists, by name."""
    for name in sorted(dir(diffusers)):
        thing = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
        if inspect.isclass(thing) and issubclass(thing, SchedulerMixin) and thing is not SchedulerMixin:
            yield name


DRIVEN = [name for name in samplers() if name not in NOT_DRIVEN and name not in RISING]


def drive(scheduler, module, steps=STEPS):
    """A plain sampling loop: what the module answered at each call, and the picture."""
    scheduler.set_timesteps(steps)
    words, answers = pico.prompt()["prompt_embeds"], []
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(sample, time) if hasattr(scheduler, "scale_model_input") else sample
        torch.manual_seed(int(time))
        answers.append(module(scaled, time, words).sample)
        sample = scheduler.step(answers[-1], time, sample).prev_sample
    return torch.stack([*answers, sample])


@functools.cache
def whole(name, module):
    return drive(getattr(diffusers, name)(), module)


def test_most_schedulers_are_driven():
    assert len([*DRIVEN, "RePaintScheduler"]) >= 30


@pytest.mark.parametrize("name", sorted(NOT_DRIVEN.keys() & set(samplers())))
def test_those_left_out_cannot_be_driven(name, tiny):
    with pytest.raises(NOT_DRIVEN[name]):
        drive(getattr(diffusers, name)(), tiny.module)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", DRIVEN)
def test_computing_all_is_identical(name, form, tiny):
    scheduler = getattr(diffusers, name)()
    rows = hosts.rows(scheduler, STEPS)
    with rig.applied(computing_all(rows, form), tiny) as live:
        found = drive(scheduler, tiny.module)
        assert live.remembered_bytes > 0
    assert torch.equal(found, whole(name, tiny.module))
    assert len(live.trace) == rows


def computed_calls(host, run):
    """For each call of a host, whether it computed its middle block."""
    calls = []
    handles = (
        host.module.register_forward_pre_hook(lambda *_: calls.append(False)),
        host.module.mid_block.resnets[0].norm1.register_forward_hook(lambda *_: calls.__setitem__(-1, True)),
    )
    run()
    for handle in handles:
        handle.remove()
    return calls


@pytest.mark.parametrize("name", DRIVEN)
def test_every_run_has_a_schedule_of_its_own(name, tiny):
    """By it a run is known, so a scheduler must make it anew, and its elements must say that they are of it."""
    scheduler = getattr(diffusers, name)()
    schedules = []
    for _ in range(2):
        scheduler.set_timesteps(STEPS)
        schedules.append(scheduler.timesteps)
    steps = [tiny.step_of((None, step), {}) for schedule in schedules for step in schedule]
    assert None not in steps
    assert len({step.data_ptr() for step in steps}) == len(steps)
    assert len({step.untyped_storage().data_ptr() for step in steps}) == 2


@pytest.mark.parametrize("name", DRIVEN)
def test_every_third_call_computes(name, tiny):
    scheduler = getattr(diffusers, name)()
    rows = hosts.rows(scheduler, STEPS)
    with rig.applied(inherit(rows, every=3, sites="up_blocks.0"), tiny) as live:
        calls = computed_calls(tiny, lambda: drive(scheduler, tiny.module))
    assert calls == [row % 3 == 0 for row in range(rows)]
    assert [call.row for call in live.trace] == list(range(rows))


@pytest.mark.parametrize("name", RISING)
def test_a_sampler_that_goes_backwards_is_refused(name, tiny):
    scheduler = getattr(diffusers, name)()
    plan = inherit(hosts.rows(scheduler, STEPS), every=2, sites="up_blocks.0")
    with rig.applied(plan, tiny), pytest.raises(RigError, match="time rises at every call"):
        drive(scheduler, tiny.module)


def repaint(module, steps):
    """RePaint's loop: some steps go back in time, without the model."""
    scheduler, generator = diffusers.RePaintScheduler(), torch.Generator().manual_seed(0)
    scheduler.set_timesteps(steps)
    words = pico.prompt()["prompt_embeds"]
    known, mask = torch.ones(1, 4, 8, 8), torch.ones(1, 4, 8, 8).triu()
    sample, before = torch.randn(1, 4, 8, 8, generator=generator), scheduler.timesteps[0] + 1
    for time in scheduler.timesteps:
        if time < before:
            noise = module(sample, time, words).sample
            sample = scheduler.step(noise, time, sample, known, mask, generator).prev_sample
        else:
            sample = scheduler.undo_step(sample, before, generator)
        before = time
    return sample


def test_each_jump_back_of_repaint_begins_a_run(tiny):
    """Twenty steps down, then nine times ten steps back up and down again; the way up calls no model."""
    steps = 20
    rows = hosts.rows(diffusers.RePaintScheduler(), steps)
    runs = [range(steps), *[range(10)] * 9]
    with rig.applied(inherit(rows, every=3, sites="up_blocks.0"), tiny):
        calls = computed_calls(tiny, lambda: repaint(tiny.module, steps))
    assert calls == [row % 3 == 0 for run in runs for row in run]
    assert len(calls) < rows


@pytest.mark.parametrize("form", CHOSEN)
def test_computing_all_is_identical_with_repaint(form, tiny):
    plain = repaint(tiny.module, 20)
    with rig.applied(computing_all(hosts.rows(diffusers.RePaintScheduler(), 20), form), tiny):
        assert torch.equal(repaint(tiny.module, 20), plain)
