"""An already light model fills a slot, and a light host's slots are filled from whole models: names differ."""

import pytest
import torch

from intarsia import FitError, Plan, Rule, Skip, Use, hosts, load_plan, rig
from intarsia.hosts import pico
from intarsia.lighten.record import Assembled, ancestry_of
from intarsia.plan.text import write_plan
from intarsia.shipped import plan_file

BASE = load_plan(plan_file("bk-base"))


def light(seed):
    """A model of BK-SDM's base shape, with weights of its own."""
    return hosts.of(rig.bake(BASE, hosts.of(pico.unet(seed)))[0], tokens=pico.TOKENS)


def tensors(unet, path):
    return unet.get_submodule(path).state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_light_model_fills_a_slot_of_a_cut_one():
    whole, source = pico.host(seed=0), light(seed=1)
    plan = BASE | Plan(1, (Rule("0", "up_blocks.1", Use("light")),))
    smaller, lineage = rig.bake(plan, whole, {"light": source})
    assert same(tensors(smaller, "up_blocks.1"), tensors(source.module, "up_blocks.1"))
    assert same(tensors(smaller, "up_blocks.2.resnets.1"), tensors(whole.module, "up_blocks.2.resnets.2"))
    assert lineage.sources["up_blocks.1.resnets.1.conv1.weight"] == "light"


def test_a_light_model_fills_nothing_that_it_has_not():
    keep = Plan(1, (Rule("0", "up_blocks.1", Use("light")),))
    with pytest.raises(FitError, match=r"up_blocks\.1\..* should come from 'light', which has"):
        rig.bake(keep, pico.host(), {"light": light(1)})


def test_slots_of_a_light_host_are_filled_from_a_whole_model_by_its_record():
    host, parent, other = light(seed=0), pico.host(seed=0), pico.host(seed=2)
    ancestry = ancestry_of(Assembled(write_plan(BASE), {"": "parent"}, {}), parent)
    plan = Plan(1, (Rule("0", "up_blocks.3 | down_blocks.1", Use("other")),))
    smaller, _ = rig.bake(plan, host, {"other": other}, ancestry=ancestry)
    assert same(tensors(smaller, "up_blocks.3.resnets.1"), tensors(other.module, "up_blocks.3.resnets.2"))
    assert same(tensors(smaller, "up_blocks.3.attentions.1"), tensors(other.module, "up_blocks.3.attentions.2"))
    assert same(tensors(smaller, "down_blocks.1.resnets.0"), tensors(other.module, "down_blocks.1.resnets.0"))
    assert same(tensors(smaller, "up_blocks.2"), tensors(host.module, "up_blocks.2"))
    # Where both are light, names are the same, and a record of the host changes nothing.
    again, _ = rig.bake(plan, host, {"other": light(seed=2)}, ancestry=ancestry)
    assert same(tensors(again, "up_blocks.3"), tensors(smaller, "up_blocks.3"))
    # And what is cut once more from a light host still goes by its ancestors' names.
    deeper = Plan(1, (Rule("0", "mid_block", Skip()), *plan.rules))
    again, _ = rig.bake(deeper, host, {"other": other}, ancestry=ancestry)
    assert same(tensors(again, "up_blocks.3"), tensors(smaller, "up_blocks.3"))
