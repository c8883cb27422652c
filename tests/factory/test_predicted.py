"""Devices predict seconds of their own form exactly, and on any machine: a clock that adds up what processors do."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from intarsia import factory
from intarsia.factory import MacsClock
from intarsia.factory.fitting import fit_line, score_of

from .conftest import kit_of

VECTOR = 8  # channels that are computed at once, be they there or not
EACH_LAYER, EACH_MAC, EACH_BYTE = 2e-6, 2e-10, 4e-10  # seconds
CACHE, OUTSIDE = 48_000, 3  # bytes that a layer finds near, and how many times as long the others take


class Layered(MacsClock):
    """Each layer takes a call, and then as long as its multiplications or its bytes, whichever are slower.

    What does not fit into a cache is slower still.
    """

    def seconds(self, model, inputs):
        taken = []

        def look(layer, args, output):
            within, out = layer.weight[0].numel(), layer.weight.shape[0]
            macs = within * -(-out // VECTOR) * VECTOR * output.numel() // out
            held = 4 * (args[0].numel() + output.numel() + layer.weight.numel())
            fetched = held + (OUTSIDE - 1) * max(0, held - CACHE)
            taken.append(EACH_LAYER + max(EACH_MAC * macs, EACH_BYTE * fetched))

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


def test_a_macs_clock_is_fitted_exactly(device):
    assert device.scores["seconds"].spearman > 0.999
    assert device.scores["seconds"].error_95 < 1e-6
    assert device.scores["memory"].spearman > 0.95
    assert device.held_out >= 16


def test_a_noisy_machine_is_fitted_within_its_noise():
    draws = np.random.default_rng(0)
    shares = draws.uniform(0.1, 1, (60, 12))
    macs = 1e6 * shares.sum(1) ** 2
    slow = 1 + np.linspace(0, 1, 12)  # seconds that MACs do not tell
    measured = (1e-3 + 1e-10 * macs + 1e-3 * shares @ slow) * draws.normal(1, 0.01, 60)
    line = fit_line(macs[::2, None], shares[::2], measured[::2])
    told = score_of(line.predict(macs[1::2, None], shares[1::2]), measured[1::2])
    assert told.spearman > 0.98
    assert told.error_95 < 0.05
    alone = replace(line, each_share=(0.0,) * 12)
    assert score_of(alone.predict(macs[1::2, None], shares[1::2]), measured[1::2]).error_95 > told.error_95


def test_what_fetching_weights_takes_is_told_from_what_multiplying_takes():
    draws = np.random.default_rng(0)
    shares = draws.uniform(0.1, 1, (60, 12))
    each = np.geomspace(1, 64, 12)  # early sites multiply much and weigh little
    counted = np.stack([1e6 * (shares**2 / each).sum(1), 1e3 * (shares**2 * each).sum(1)], 1)
    measured = 1e-3 + counted @ [1e-9, 1e-6]
    errors = []
    for columns in (slice(0, 1), slice(0, 2)):
        line = fit_line(counted[::2, columns], shares[::2], measured[::2])
        errors.append(score_of(line.predict(counted[1::2, columns], shares[1::2]), measured[1::2]).error_95)
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(("predicted", "wanted"), [([1, 1, 2, 3], 0.949), ([3, 3, 2, 1], -0.949), ([2, 2, 2, 2], 0.0)])
def test_equal_predictions_share_their_rank(predicted, wanted):
    told = score_of(np.array(predicted, float), np.array([1.0, 2, 3, 4]))
    assert told.spearman == pytest.approx(wanted, abs=1e-3)
    assert score_of(np.array([1.0, 2, 3, 4]), np.array(predicted, float)).spearman == pytest.approx(told.spearman)
