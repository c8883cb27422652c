"""Devices predict seconds that are not of their own form, on any machine: a clock that adds up what processors do."""

import pytest
from torch import nn

from intarsia import factory
from intarsia.factory import MacsClock

from .conftest import kit_of

VECTOR = 8  # channels that are computed at once, be they there or not
EACH_LAYER, EACH_MAC, EACH_BYTE = 2e-6, 2e-10, 4e-10  # seconds


class Layered(MacsClock):
    """Each layer takes a call, and then as long as its multiplications or its bytes, whichever are slower."""

    def seconds(self, model, inputs):
        taken = []

        def look(layer, args, output):
            within, out = layer.weight[0].numel(), layer.weight.shape[0]
            macs = within * -(-out // VECTOR) * VECTOR * output.numel() // out
            held = 4 * (args[0].numel() + output.numel() + layer.weight.numel())
            taken.append(EACH_LAYER + max(EACH_MAC * macs, EACH_BYTE * held))

        layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        handles = [layer.register_forward_hook(look) for layer in layers]
        model(inputs)
        for handle in handles:
            handle.remove()
        return sum(taken)


@pytest.mark.parametrize(
    ("architecture", "arguments"), [("test_resnet", {"layers": (2, 2, 2, 2)}), ("test_convnext", {})]
)
def test_held_out_subnets_rank_and_cost_as_they_were_predicted(architecture, arguments):
    host = kit_of(architecture, **arguments).host
    device = factory.meter_device(host, subnets=60, clock=Layered())
    score = device.scores["seconds"]
    assert device.held_out >= 20
    assert score.spearman >= 0.95
    assert score.within_10 >= 0.95
    assert score.error_95 > 0.01, "a clock of the fit's own form would prove nothing"
    assert device.doubts == ()
