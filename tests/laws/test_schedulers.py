"""Interval 1 changes nothing, whatever sampler calls the model, and rows are counted as they happen."""

import inspect
import warnings

import diffusers
import pytest
import torch
from diffusers import SchedulerMixin

from intarsia import RigError, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten import inherit

STEPS = 6


def buildable():
    for name in sorted(dir(diffusers)):
        thing = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
        if inspect.isclass(thing) and issubclass(thing, SchedulerMixin) and thing is not SchedulerMixin:
            yield name


def drive(scheduler, module):
    """A plain sampling loop. Raises whatever a scheduler raises that does not work this way."""
    scheduler.set_timesteps(STEPS)
    words = pico.prompt()["prompt_embeds"]
    sample = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(sample, time) if hasattr(scheduler, "scale_model_input") else sample
        torch.manual_seed(int(time))
        sample = scheduler.step(module(scaled, time, words).sample, time, sample).prev_sample
    return sample


def whole(name, module):
    """The scheduler's own result, or a skip that says why it cannot be driven."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return drive(getattr(diffusers, name)(), module)
        except Exception as error:
            pytest.skip(f"not driven by a plain loop: {type(error).__name__}: {str(error)[:80]}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", buildable())
def test_interval_one_is_identical(name, pico_host):
    expected = whole(name, pico_host.module)
    scheduler = getattr(diffusers, name)()
    scheduler.set_timesteps(STEPS)
    if scheduler.timesteps[-1] > scheduler.timesteps[0]:
        pytest.skip("time rises at every call, which a plan refuses (see the test below)")
    rows = hosts.rows(scheduler, STEPS)
    with rig.applied(inherit(rows, every=1, sites="up_blocks.2"), pico_host) as live:
        found = drive(scheduler, pico_host.module)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert len(live.trace) == rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", buildable())
def test_every_run_has_a_schedule_of_its_own(name, pico_host):
    """By it a run is known, so a scheduler must make it anew, and its elements must say that they are of it."""
    try:
        scheduler = getattr(diffusers, name)()
        schedules = []
        for _ in range(2):
            scheduler.set_timesteps(STEPS)
            schedules.append(scheduler.timesteps)
    except Exception as error:
        pytest.skip(f"not driven by a plain loop: {type(error).__name__}: {str(error)[:80]}")
    steps = [pico_host.step_of((None, step), {}) for schedule in schedules for step in schedule]
    assert None not in steps
    assert len({step.data_ptr() for step in steps}) == len(steps)
    assert len({step.untyped_storage().data_ptr() for step in steps}) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler"])
def test_every_third_call_computes(name, pico_host):
    scheduler = getattr(diffusers, name)()
    rows = hosts.rows(scheduler, STEPS)
    with rig.applied(inherit(rows, every=3, sites="up_blocks.2"), pico_host) as live:
        drive(scheduler, pico_host.module)
    assert [call.row for call in live.trace] == list(range(rows))
    assert [call.recalled > 0 for call in live.trace] == [row % 3 > 0 for row in range(rows)]


def test_most_schedulers_are_driven(pico_host):
    """The law above is worth little if most schedulers are skipped."""
    driven = 0
    for name in buildable():
        try:
            whole(name, pico_host.module)
            driven += 1
        except pytest.skip.Exception:
            pass
    assert driven >= 25


@pytest.mark.filterwarnings("ignore")
def test_a_sampler_that_goes_backwards_is_refused(pico_host):
    scheduler = diffusers.DDIMInverseScheduler()
    plan = inherit(hosts.rows(scheduler, STEPS), every=2, sites="up_blocks.2")
    with rig.applied(plan, pico_host), pytest.raises(RigError, match="time rises at every call"):
        drive(scheduler, pico_host.module)
