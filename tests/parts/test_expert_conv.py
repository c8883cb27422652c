"""The laws of mixed kernels."""

import copy

import pytest
import torch
from torch import nn

from intarsia import FitError, rig
from intarsia.parts.expert_conv import GATES, ExpertConv2d, Moment

SIZES = {"plain": {}, "strided": {"stride": 2}, "grouped": {"groups": 2}, "no bias": {"bias": False}}


@pytest.fixture(params=SIZES, ids=str)
def conv(request):
    torch.manual_seed(0)
    return nn.Conv2d(8, 6, 3, padding=1, **SIZES[request.param]).requires_grad_(False)


def other(conv, seed):
    torch.manual_seed(seed)
    return torch.randn_like(conv.weight), None if conv.bias is None else torch.randn_like(conv.bias)


def twins(conv, count):
    return [(conv.weight, conv.bias)] * (count - 1)


def stirred(conv, **settings):
    """Four different experts and a router that has learnt something."""
    mixed = ExpertConv2d(conv, [other(conv, seed) for seed in (1, 2, 3)], **settings).requires_grad_(False)
    torch.manual_seed(4)
    mixed.scores.normal_()
    if mixed.router is not None:
        mixed.router.normal_()
    return mixed


def pictures(batch=3, dtype=torch.float32):
    return torch.randn(batch, 8, 9, 7, generator=torch.Generator().manual_seed(9)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("experts", [1, 2, 4])
def test_twins_answer_as_one_to_the_bit(conv, gate, experts, dtype):
    conv = copy.deepcopy(conv).to(dtype)
    for routing in ("fixed", "input"):
        mixed = ExpertConv2d(conv, twins(conv, experts), routing=routing, gate=gate)
        given = pictures(1, dtype)  # more samples go through another convolution routine
        assert torch.equal(mixed(given), conv(given))
        torch.testing.assert_close(mixed(pictures(3, dtype)), conv(pictures(3, dtype)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("experts", [2, 3, 5, 7])
def test_the_offset_gate_begins_as_the_kept_kernel_to_the_bit(conv, experts, dtype):
    conv = copy.deepcopy(conv).to(dtype)
    strangers = [(torch.randn_like(conv.weight), None) for _ in range(experts - 1)]
    mixed = ExpertConv2d(conv, strangers, routing="input", gate="offset")
    given = pictures(1, dtype)
    assert torch.equal(mixed(given), conv(given))


def test_three_twins_answer_almost_as_one(conv):
    mixed = ExpertConv2d(conv, twins(conv, 3), gate="softmax")
    torch.testing.assert_close(mixed(pictures()), conv(pictures()))


def test_offset_begins_with_the_kept_kernel_whatever_the_others_are(conv):
    mixed = ExpertConv2d(conv, [other(conv, seed) for seed in (1, 2, 3)], routing="fixed")
    assert torch.equal(mixed(pictures()), conv(pictures()))
    with torch.enable_grad():
        mixed(pictures()).square().sum().backward()
    assert mixed.scores.grad.abs().min() > 0  # and yet every expert can be called upon


@pytest.mark.parametrize("gate", GATES)
def test_offset_and_softmax_weigh_one_in_all(gate):
    weights = GATES[gate](torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))
    if gate != "sigmoid":
        torch.testing.assert_close(weights.sum(-1), torch.ones(5))
    torch.testing.assert_close(GATES[gate](torch.zeros(4)).sum(), torch.tensor(1.0))


@pytest.mark.parametrize("gate", GATES)
def test_merging_kernels_is_mixing_answers(conv, gate):
    mixed = stirred(conv.double(), gate=gate)
    given = pictures(dtype=torch.float64)
    weights = mixed.mix(given)
    answers = torch.stack(
        [
            nn.functional.conv2d(given, kernel, None if mixed.bias is None else mixed.bias[number], **mixed.settings)
            for number, kernel in enumerate(mixed.weight)
        ]
    )
    wanted = torch.einsum("bn,nbchw->bchw", weights, answers)
    torch.testing.assert_close(mixed(given), wanted, rtol=0, atol=1e-12)
    with torch.enable_grad():  # where answers are mixed, not kernels
        torch.testing.assert_close(mixed(given), wanted, rtol=0, atol=1e-12)


def test_a_sample_does_not_hear_of_its_batch(conv):
    mixed = stirred(conv.double())
    given = pictures(dtype=torch.float64)
    alone = torch.cat([mixed(one[None]) for one in given])
    torch.testing.assert_close(mixed(given), alone, rtol=0, atol=1e-12)


def test_merged_beforehand_is_mixed_at_the_time(conv):
    moment = Moment()
    mixed = stirred(conv, routing="time", moment=moment)
    times = [981.0, 500.0, 1.0]

    def answers():
        found = []
        for time in times:
            moment.be(torch.tensor(time))
            found.append(mixed(pictures()))
        return found

    dynamic = answers()
    assert not moment.merged
    mixed.eval().premerge(times)
    assert sorted(moment.merged[mixed]) == sorted(times)
    assert all(torch.equal(one, two) for one, two in zip(answers(), dynamic, strict=True))
    moment.be(torch.tensor(times))  # training: another time for every sample
    each = mixed(pictures())
    for place, answer in enumerate(dynamic):
        torch.testing.assert_close(each[place], answer[place])
    assert not torch.allclose(dynamic[0], dynamic[1])
    with pytest.raises(FitError, match="outside of its model"):
        stirred(conv, routing="time", moment=Moment())(pictures())
    with pytest.raises(FitError, match="outside of training"):
        mixed.train().premerge(times)


def test_what_was_merged_is_forgotten_when_weights_may_change(conv):
    moment = Moment()
    mixed = stirred(conv, routing="time", moment=moment).eval()
    whole = moment.room

    def answer():
        moment.be(torch.tensor(500))
        return mixed(pictures())

    def load():
        mixed.load_state_dict({name: 2 * value for name, value in mixed.state_dict().items()})

    def learn():
        mixed.train()
        mixed.weight.mul_(2)
        mixed.eval()

    def convert():
        mixed.double().float()

    for change in (load, learn, convert):
        before = answer()
        assert list(moment.merged[mixed]) == [500.0]
        assert moment.room == whole - mixed.weight[0].nbytes
        change()
        assert moment.room == whole
        changed = answer()
        mixed.train()
        assert torch.equal(changed, answer())
        mixed.eval()
    assert torch.equal(before, changed)
    moment.room = 0
    moment.be(torch.tensor(7))
    with pytest.warns(UserWarning, match="no more room"):
        mixed(pictures())
    assert 7.0 not in moment.merged[mixed]
    assert not copy.deepcopy(mixed).moment.merged
    with torch.enable_grad():
        moment.be(torch.tensor(500))
        assert mixed.requires_grad_(True)(pictures()).requires_grad


def test_a_fixed_mixture_folds(conv):
    mixed = stirred(conv, routing="fixed")
    plain = mixed.fold()
    assert type(plain) is nn.Conv2d
    assert torch.equal(plain(pictures()), mixed(pictures()))


def test_what_mixing_costs(conv):
    given = pictures(1)
    with rig.count_macs() as plain:
        conv(given)
    mixed = stirred(conv, routing="fixed")
    with rig.count_macs() as counted:
        mixed(given)
    biases = 0 if conv.bias is None else 4 * conv.bias.numel()
    assert counted.total - plain.total == 4 * conv.weight.numel() + biases
    mixed = stirred(conv, routing="input")
    with rig.count_macs() as plain:
        conv(pictures(3))
    with rig.count_macs() as counted:
        mixed(pictures(3))
    routing = 3 * mixed.router.numel()
    assert counted.total - plain.total == 3 * (4 * conv.weight.numel() + biases) + routing  # for each weighting


def test_refusals(conv):
    with pytest.raises(FitError, match="does not fit a convolution"):
        ExpertConv2d(conv, [(torch.zeros(1, 1, 1, 1), None)])
    with pytest.raises(FitError, match="needs a moment"):
        ExpertConv2d(conv, [], routing="time")
    with pytest.raises(FitError, match="routed by 'input'"):
        ExpertConv2d(conv, []).fold()
    with pytest.raises(FitError, match="routed by 'input'"):
        ExpertConv2d(conv, []).premerge([1.0])
