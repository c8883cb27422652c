"""Statistics of batch norms are taken anew, or the model stays as it was."""

import pytest
import torch

from intarsia import FitError, factory
from intarsia.factory.refreshing import statistics_anew

from .conftest import CLOCK, kit_of


def trained():
    """A model with statistics that it would be a pity to lose."""
    model = kit_of().host.module.train()
    for _ in range(3):
        model(2 + torch.randn(8, 3, 32, 32))
    return model.eval()


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("pictures", "more", "says"),
    [
        (torch.randn(6, 3, 32, 32), {"batch": 1}, "batches of 1 for statistics of batch norms: give two or more"),
        (torch.randn(1, 3, 32, 32), {}, "1 pictures for statistics of batch norms: give two or more"),
        (torch.randn(6, 4, 32, 32), {}, r"pictures of shape \(6, 4, 32, 32\), torch.float32, are none for this model"),
        (torch.randn(6, 32, 32), {}, r"pictures of shape \(6, 32, 32\)"),
        (torch.zeros(6, 3, 32, 32, dtype=torch.uint8), {}, r"torch\.uint8, are none for this model"),
    ],
)
def test_what_cannot_be_taken_anew_is_refused_and_leaves_a_model_as_it_was(pictures, more, says):
    model = trained()
    before = state(model)
    with pytest.raises(FitError, match=says) as refusal:
        factory.refreshed(model, pictures, **more)
    assert "\n" not in str(refusal.value)
    assert same(model, before)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("ends", [KeyboardInterrupt, RuntimeError])
def test_an_exception_restores_statistics_and_an_end_does_not(ends):
    model = trained()
    before = state(model)
    with pytest.raises(ends), statistics_anew(model):
        model(torch.randn(4, 3, 32, 32))
        raise ends
    assert same(model, before)
    with statistics_anew(model):
        model(torch.randn(4, 3, 32, 32))
    assert not same(model, before)


@pytest.mark.parametrize("shape", [(4, 1, 32, 32), (4, 3, 64, 64), (3, 32, 32)])
def test_pictures_that_an_order_cannot_use_are_told_in_one_line(shape):
    kit = kit_of()
    order = factory.Order(kit.space.read("red, blue"), factory.Budget(macs=1e12))
    with pytest.raises(FitError, match=r"the kit takes \(count, 3, 32, 32\)"):
        factory.fulfil(order, kit, clock=CLOCK, pictures=torch.randn(shape))
