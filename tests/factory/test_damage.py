"""Device files and cards of kits that were damaged, or that say what cannot be, are refused in one line."""

import dataclasses
import json

import pytest
import yaml

from intarsia import CardError, FitError, factory
from intarsia.factory.device import load_device, save_device

from .conftest import CLOCK


def changed(content, path, value):
    """The content with another value at a path, or without it."""
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("seconds", "each_share", 0), None, "seconds.each_share: 5 numbers for 6 sites"),
        (("memory", "middle"), [], "memory.middle: 0 numbers for 6 sites"),
        (("sites", 0), None, "seconds.each_share: 6 numbers for 5 sites"),
        (("scores", "seconds"), None, "scores.seconds: missing"),
        (("memory", "slopes", 0), None, "memory.slopes: 0 numbers for bytes"),
        (("seconds", "slopes", 1), float("nan"), "seconds.slopes.1: Input should be a finite number"),
        (("memory", "each_share", 2), float("inf"), "memory.each_share.2: Input should be a finite number"),
        (("took",), "long", "took: Input should be a valid number"),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_a_damaged_device_file_says_where(device, path, value, says, remote, tmp_path):
    save_device(dataclasses.replace(device, remote=remote), tmp_path / "d.yaml")
    content = changed(yaml.safe_load((tmp_path / "d.yaml").read_text()), path, value)
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(CardError, match=rf"d\.yaml: not a device file: {says}") as refusal:
        load_device(tmp_path / "d.yaml")
    assert "\n" not in str(refusal.value)


def test_a_device_file_from_before_times_were_told_is_read(device, tmp_path):
    save_device(device, tmp_path / "d.yaml")
    content = changed(yaml.safe_load((tmp_path / "d.yaml").read_text()), ("took",), None)
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(content))
    assert load_device(tmp_path / "d.yaml") == dataclasses.replace(device, took=None)


def test_sites_in_another_order_are_refused(folded_kit, device):
    mixed = dataclasses.replace(device, sites=(*device.sites[1:], device.sites[0]))
    order = factory.Order(folded_kit.space.read("red, blue"), factory.Budget(seconds=1), mixed)
    with pytest.raises(FitError, match=r"sites are in another order than the supernet's\. Measure it anew"):
        factory.fulfil(order, folded_kit, clock=CLOCK)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("highest",), 0.1, "lowest 0.7 and highest 0.1 are to be shares of MACs"),
        (("lowest",), 2.0, "lowest 2 and highest 1 are to be shares of MACs"),
        (("lowest",), 0, "lowest 0 and highest 1 are to be shares of MACs"),
        (("lowest",), float("nan"), "lowest nan and highest 1"),
        (("lowest",), "x", "could not convert string to float: 'x'"),
        (("mean",), [0.5], "mean has 1 numbers where pictures have 3 channels"),
        (("std",), [0, 0, 0], "pictures are divided by it"),
        (("std", 1), "x", "could not convert string to float: 'x'"),
        (("space", "shared"), ["no", "yes"], "has 6 outputs, and the space names 2"),
        (("space", "words"), {"cool": ["ice", "snow"]}, "stands for 'ice', which is no name. the word 'cool' stands"),
        (("assembler", "width"), -1, "negative dimension"),
        (("grain",), 0, "a grain of 0: units have at least one channel each"),
        (("size",), [3, 32], "not enough values"),
    ],
)
def test_a_damaged_card_of_a_kit_says_why(kit, path, value, says, tmp_path):
    factory.save_kit(kit, tmp_path / "kit")
    card = changed(json.loads((tmp_path / "kit/kit.json").read_text()), path, value)
    (tmp_path / "kit/kit.json").write_text(json.dumps(card))
    with pytest.raises(CardError, match=rf"kit\.json: not the card of a kit \(.*{says}") as refusal:
        factory.load_kit(tmp_path / "kit")
    assert "\n" not in str(refusal.value)
