"""Fulfilling learns nothing: no gradient is made, no weight of the kit moves, and its supernet is shown no picture."""

import copy

import pytest
import torch

from intarsia import factory

from .conftest import ALL_KINDS, CLOCK


def never(*_):
    raise AssertionError("something was kept for a backward pass")


def shown(*_):
    raise AssertionError("the supernet was called")


@pytest.mark.parametrize("metered", ALL_KINDS, indirect=True)
@pytest.mark.parametrize("refreshed", [False, True])
def test_orders_touch_no_gradients_and_no_weights(metered, refreshed, tmp_path):
    kit, device = copy.deepcopy(metered[0]), metered[1]
    pictures = torch.randn(8, *kit.host.size) if refreshed else None
    modules = (kit.host.module, (kit.host.unfolded or kit.host).module, kit.assembler)
    before = [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]
    parameters = [value.requires_grad_() for module in modules for value in module.parameters()]
    modes = [part.training for module in modules for part in module.modules()]
    seconds = 0.9 * CLOCK.seconds(kit.host.module, torch.randn(1, *kit.host.size))
    order = factory.Order(kit.space.task(kit.space.names[1:3]), factory.Budget(seconds=seconds), device)
    watching = kit.host.module.register_forward_pre_hook(shown)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(never, never):
        done = factory.fulfil(order, kit, clock=CLOCK, pictures=pictures)
        watching.remove()
        factory.ship(order, done, kit, tmp_path / "out")
    assert not any(value.requires_grad for value in done.model.parameters())
    assert all(value.grad is None and value.requires_grad for value in parameters)
    assert [part.training for module in modules for part in module.modules()] == modes
    for module, was in zip(modules, before, strict=True):
        assert all(torch.equal(value, was[name]) for name, value in module.state_dict().items())
