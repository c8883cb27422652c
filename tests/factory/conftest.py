"""A kit with a small supernet and random weights, and its device by a clock that counts."""

import pytest
import torch

from intarsia import factory
from intarsia.hosts import timm_supernet

COLOURS = ("red", "green", "blue", "cyan", "pink", "grey")
CLOCK = factory.MacsClock()


def kit_of(architecture="test_resnet", **arguments):
    torch.manual_seed(0)
    host = timm_supernet.create(architecture, (3, 32, 32), num_classes=len(COLOURS), **arguments)
    space = factory.Space(COLOURS, {"cool": ("green", "blue", "cyan")})
    units = len(factory.Grounds.of(host.outline, host.answers).site_of)
    assembler = factory.Assembler(len(COLOURS), units).eval()
    torch.nn.init.normal_(assembler.scores.bias)
    return factory.Kit(host, assembler, space, 0.7, (0.5,) * 3, (0.5,) * 3, {"trained on": "nothing"})


@pytest.fixture(scope="session")
def kit():
    return kit_of()


@pytest.fixture(scope="session")
def device(kit):
    return factory.meter_device(kit.host, subnets=50, clock=CLOCK)
