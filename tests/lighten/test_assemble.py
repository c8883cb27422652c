"""The planner that leaves out what matters least, and the kernels that what is left inherits."""

import copy

import pytest
import torch

from intarsia import FitError, Plan, PlanError, Rule, Skip, hosts, rig
from intarsia.hosts import pico
from intarsia.lighten.assemble import answers_to, assemble, plan_without, seconds_of
from intarsia.lighten.experts import donors_of, with_experts
from intarsia.plan import price, resolve
from intarsia.rig.listening import overheard
from tests.laws.conftest import inputs_of


@pytest.fixture(scope="module")
def host():
    return pico.host(
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )


@pytest.fixture(scope="module")
def calls(host):
    with overheard(host.module) as heard:
        for time in (900, 500):
            host.module(**inputs_of(host, time, seed=time))
    return heard


def test_calls_are_overheard(host, calls):
    assert [int(kwargs["timestep"]) for _, kwargs in calls] == [900, 500]
    assert not host.module._forward_pre_hooks


@pytest.mark.parametrize("share", [0.9, 0.6])
def test_it_stays_within_the_budget_and_says_what_it_did(host, calls, share):
    told = []
    found = assemble(host, calls, share, tell=told.append)
    bill = price(resolve(found.plan, host.outline))
    units = sum(unit.macs for unit in host.outline.of_level("unit"))
    always = host.outline.macs - units
    assert bill.macs[0] - always <= share * units
    smaller, _ = rig.bake(found.plan, host)
    assert hosts.of(smaller).outline.macs == bill.macs[0]
    wished = answers_to(host.module, calls)
    errors = [(a - b).square().sum() for a, b in zip(answers_to(smaller, calls), wished, strict=True)]
    assert found.harm == pytest.approx(float(sum(errors) / sum(w.square().sum() for w in wished)), rel=1e-4)
    assert found.plan.made_by["harm"] == pytest.approx(found.harm, rel=1e-2)
    assert len(told) >= len(found.alone) > 20


def test_it_takes_the_harmless_first(host, calls):
    """A site that changes nothing goes before all others."""
    idle = hosts.of(copy.deepcopy(host.module))
    for value in idle.module.get_submodule("up_blocks.1.attentions.1.proj_out").parameters():
        value.zero_()
    found = assemble(idle, calls, 0.99)
    assert found.alone["up_blocks.1.attentions.1"] < 1e-12
    inside = ("up_blocks.1.attentions.1", "up_blocks.1.attentions.1.transformer_blocks")
    assert found.plan.rules[0].sites.startswith(inside)


def test_a_budget_that_nothing_reaches_is_refused(host, calls):
    with pytest.raises(PlanError, match="leaving out all that can be left out leaves"):
        assemble(host, calls, 0.01)


def test_seconds_can_be_the_budget(host, calls):
    seconds = seconds_of(host, calls, rounds=1)
    assert seconds.keys() == {site.path for site in host.outline.of_level("unit", "subunit")}
    assert all(value > 0 for value in seconds.values())
    found = assemble(host, calls, 0.8, seconds=seconds)
    left = resolve(found.plan, host.outline).flows[0].running
    assert sum(seconds[path] for path in left) <= 0.8 * sum(seconds.values())
    assert found.share == pytest.approx(sum(seconds[path] for path in left) / sum(seconds.values()))


def test_removed_kernels_are_inherited(host):
    smaller, lineage = rig.bake(Plan(1, (Rule("0", "pairs.*.1", Skip()),)), host)
    widened, donors = with_experts(smaller, host.module, lineage)
    assert donors == donors_of(smaller, host.module, lineage)
    # Down, the first layer widens 16 to 32 channels, so only its second convolution is of the removed ones' shape.
    assert donors["down_blocks.1.resnets.0.conv2"] == tuple(f"down_blocks.1.resnets.1.conv{n}" for n in (2, 1))
    assert donors["up_blocks.1.resnets.1.conv2"] == ("up_blocks.1.resnets.1.conv2",)
    assert "mid_block.resnets.0.conv1" not in donors
    conv = widened.get_submodule("down_blocks.1.resnets.0.conv2")
    removed = host.module.get_submodule("down_blocks.1.resnets.1.conv2")
    assert torch.equal(conv.weight[1], removed.weight)
    assert torch.equal(conv.bias[1], removed.bias)
    _, fewer = with_experts(smaller, host.module, lineage, most=1)
    assert fewer == {path: those[:1] for path, those in donors.items()}
    given = inputs_of(host, 500)
    assert torch.equal(widened(**given).sample, smaller(**given).sample)
    # Routed by time, kernels are merged as they are met, so a call costs what it does without experts.
    assert hosts.of(widened).outline.macs == hosts.of(smaller).outline.macs
    with rig.count_macs() as again:
        widened(**given)
    with rig.count_macs() as plain:
        smaller(**given)
    assert again.total == plain.total


def test_nothing_to_inherit_is_said(host):
    smaller, lineage = rig.bake(plan_without(["down_blocks.0.attentions.0"]), host)
    with pytest.raises(FitError, match="no convolution that was left out"):
        with_experts(smaller, host.module, lineage)
