"""How many calls samplers make."""

import diffusers
import pytest

from intarsia import hosts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("scheduler", "calls"),
    [
        (diffusers.DDIMScheduler(), 50),
        (diffusers.PNDMScheduler(skip_prk_steps=True), 51),
        (diffusers.HeunDiscreteScheduler(), 99),
        (diffusers.KDPM2DiscreteScheduler(), 99),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_are_calls(scheduler, calls):
    before = scheduler.num_inference_steps
    assert hosts.rows(scheduler, 50) == calls
    assert scheduler.num_inference_steps == before
