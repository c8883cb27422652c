"""What a site tells instead of computing: its last output, or its present input and what it last added to one."""

import pytest
import torch

from intarsia import rig
from intarsia.hosts import pico
from intarsia.lighten import inherit
from intarsia.rig import idle
from intarsia.rig.answering import first_tensor

from .conftest import inputs_of
from .forms import FORMS

SCALED = {"mid_block_scale_factor": 2.0}
AROUND = {  # what goes around each kind of unit, by the model's own modules
    "an attention": ("up_blocks.3.attentions.1", {}, lambda unit, given: given),
    "a resnet": ("mid_block.resnets.0", {}, lambda unit, given: given),
    "a resnet that divides": ("mid_block.resnets.1", SCALED, lambda unit, given: given / 2),
    "a resnet of another width": ("up_blocks.3.resnets.1", {}, lambda unit, given: unit.conv_shortcut(given)),
}


def heard(host, path, plan):
    """The input and the output of one site in each call of a run, whose samples differ."""
    unit, calls = host.module.get_submodule(path), []
    handle = unit.register_forward_hook(
        lambda _unit, args, output: calls.append((args[0].clone(), first_tensor(output).clone()))
    )
    with rig.applied(plan, host):
        for row in range(plan.rows):
            host.module(**inputs_of(host, 900 - 100 * row, seed=row, batch=1))
    handle.remove()
    return unit, calls


@pytest.mark.parametrize("kind", AROUND)
def test_a_residual_is_added_to_the_present_input(kind):
    path, changes, around = AROUND[kind]
    unit, [(before, computed), (now, told)] = heard(
        pico.host(**changes), path, inherit(2, every=2, sites=path, carry="residual")
    )
    assert not torch.equal(before, now)
    assert torch.equal(told, around(unit, now) + (computed - around(unit, before)))


@pytest.mark.parametrize("path", ["up_blocks.3.attentions.1", "up_blocks.3.resnets.1", "mid_block.resnets.0"])
def test_an_output_is_told_as_it_was(path, pico_host):
    _, [(_, computed), (_, told)] = heard(pico_host, path, inherit(2, every=2, sites=path))
    assert torch.equal(told, computed)


@pytest.mark.parametrize("form", FORMS)
def test_frozen_inputs_answer_as_computed(form, pico_host):
    """With equal inputs a reuse call equals a full one: to the bit where it is held, else but for rounding.

    The time steps fall, as a run's must, by less than single precision sees.
    """
    given = inputs_of(pico_host, 7)
    with rig.applied(inherit(4, keys=(0, 1), **FORMS[form]), pico_host) as live:
        outputs = [pico_host.module(**given | {"timestep": 7 - 1e-9 * row}).sample for row in range(4)]
        assert [call.recalled > 0 for call in live.trace] == [False, False, True, True]
    exactly = "forecast" not in FORMS[form]
    torch.testing.assert_close(outputs[3], outputs[0], **({"rtol": 0, "atol": 0} if exactly else {}))


def test_guidance_halves_are_kept_apart(pico_host):
    """Swapping the halves of the batch at every call swaps the halves of the answer: features stay with their half."""
    plan = inherit(4, every=4, sites="up_blocks.2")
    calls = [inputs_of(pico_host, 900 - 100 * row, seed=row) for row in range(4)]

    def outputs(order):
        with rig.applied(plan, pico_host):
            return [
                pico_host.module(
                    **{name: value[order] if value.dim() else value for name, value in call.items()}
                ).sample[order]
                for call in calls
            ]

    for straight, swapped in zip(outputs([0, 1]), outputs([1, 0]), strict=True):
        torch.testing.assert_close(straight, swapped)


@pytest.mark.parametrize("sites", ["down_blocks.0", "down_blocks.*", "up_blocks.2"])
def test_adapters_are_felt_by_what_is_recalled(sites, monkeypatch, pico_host):
    """A T2I-Adapter adds to what a down block recalls, whether the block is entered or not."""
    shapes = [(16, 16), (32, 8), (32, 4), (32, 2)]

    def run():
        outputs = []
        with rig.applied(inherit(4, every=2, sites=sites), pico_host):
            for time in (9, 8, 7, 6):
                added = [torch.full((2, width, side, side), 0.1 * time) for width, side in shapes]
                given = inputs_of(pico_host, time)
                outputs.append(pico_host.module(**given, down_intrablock_additional_residuals=added).sample)
        return outputs

    quick = run()
    monkeypatch.setattr(idle, "is_idle", lambda *_: False)
    assert all(torch.equal(one, other) for one, other in zip(quick, run(), strict=True))


def test_free_u_edits_nothing_remembered():
    host = pico.host()
    host.module.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    given = inputs_of(host, 7)
    with rig.applied(inherit(4, every=4, sites="mid_block"), host):
        outputs = [host.module(**given | {"timestep": time}).sample for time in (8, 7, 7, 7)]
    assert all(torch.equal(output, outputs[1]) for output in outputs[2:])
