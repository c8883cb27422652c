"""A kit with a small supernet and random weights, and its device by a clock that counts."""

import dataclasses

import pytest
import torch
from PIL import Image, ImageColor
from typer.testing import CliRunner

from intarsia import factory
from intarsia.cli import main as command
from intarsia.hosts import timm_supernet
from intarsia.hosts.detector import BOX, Detector

COLOURS = ("red", "green", "blue", "cyan", "pink", "grey")
CLOCK = factory.MacsClock()


def speaking(host):
    """With weights where fresh ones are next to nothing: else its blocks add nothing, and its boxes are constants."""
    for name, value in host.module.named_parameters():
        if not name.endswith("bias") and value.abs().max() < 0.05:
            torch.nn.init.normal_(value, std=0.3)
    return host


def parts_of(host, answers):
    """What is answered in sizes of its own: a detector's boxes, and what is said of names or classes."""
    return answers.tensor_split([BOX] if isinstance(host.module, Detector) else [], -1)


def apart(host, found, wanted):
    """By how much the answers of two models of a host differ, part by part, of the largest answer of that part."""
    pairs = zip(parts_of(host, found), parts_of(host, wanted), strict=True)
    return [float((one - other).abs().max() / other.abs().max().clamp(min=1)) for one, other in pairs]


def kit_of(architecture="test_resnet", **arguments):
    torch.manual_seed(0)
    host = speaking(timm_supernet.create(architecture, (3, 32, 32), num_classes=len(COLOURS), **arguments))
    space = factory.Space(COLOURS, {"cool": ("green", "blue", "cyan")})
    units = len(factory.Grounds.of(host.outline, host.answers).site_of)
    assembler = factory.Assembler(len(COLOURS), units).eval()
    torch.nn.init.normal_(assembler.scores.bias)
    return factory.Kit(host, assembler, space, 0.7, (0.5,) * 3, (0.5,) * 3, {"trained on": "nothing"})


def detector_kit(backbone="test_efficientnet", host=None):
    torch.manual_seed(0)
    names = ("square", "bar", "red", "blue")
    host = speaking(
        host
        or timm_supernet.create(
            "anchor_free_detector", (3, 64, 64), grain=4, backbone=backbone, num_classes=4, width=16, depth=1
        )
    )
    torch.nn.init.normal_(host.module.names.bias)  # scores from all over
    space = factory.Space(names, groups=(names[:2], names[2:]), things=True)
    assembler = factory.Assembler.of(space, factory.Grounds.of(host.outline, host.answers)).eval()
    torch.nn.init.normal_(assembler.scores.bias)
    return factory.Kit(host, assembler, space, 0.55, (0.5,) * 3, (0.5,) * 3)


KINDS = {"kit": kit_of, "thing_kit": detector_kit}  # fixtures, and who makes a fresh one; listing a kind here tests it
ALL_KINDS = (*KINDS, "folded_kit", "folded_thing_kit")  # fixtures


@pytest.fixture(scope="session")
def kit():
    return kit_of()


@pytest.fixture(scope="session")
def deep_kit():
    """With more blocks that can be left out, and small enough models to do without some."""
    return dataclasses.replace(kit_of(layers=(2, 2, 1, 1), grain=1), lowest=0.4)


@pytest.fixture(scope="session")
def thing_kit():
    return detector_kit()


@pytest.fixture(scope="session")
def folded_kit(kit):
    return factory.folded(kit)


@pytest.fixture(scope="session")
def folded_thing_kit(thing_kit):
    return factory.folded(thing_kit)


@pytest.fixture(scope="session")
def metered(request):
    """The kit of that name, and its device."""
    kit = request.getfixturevalue(request.param)
    return kit, factory.meter_device(kit.host, subnets=24, clock=CLOCK)


@pytest.fixture(scope="session")
def kept(request, tmp_path_factory):
    """The kit of that name as it is read from its folder, and the folder."""
    kit, place = request.getfixturevalue(request.param), tmp_path_factory.mktemp("kits") / request.param
    factory.save_kit(kit, place)
    return factory.folded(kit), place


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """A folder of six plain pictures of each colour, brighter and darker."""
    root = tmp_path_factory.mktemp("labelled")
    for name in COLOURS:
        (root / name).mkdir()
        for number in range(6):
            shade = tuple(max(0, level - 8 * number) for level in ImageColor.getrgb(name))
            Image.new("RGB", (20, 24), shade).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def folder(kit, tmp_path_factory):
    """A kit's."""
    place = tmp_path_factory.mktemp("kits") / "colours"
    factory.save_kit(kit, place)
    return place


def call(*words):
    """Run the command: its exit code, what it wrote, and the refusal that it raised, if any."""
    result = CliRunner().invoke(command.app, [str(word) for word in words])
    return result.exit_code, result.output, str(result.exception or "")


@pytest.fixture(scope="session")
def device(folded_kit):
    return factory.meter_device(folded_kit.host, subnets=50, clock=CLOCK)
