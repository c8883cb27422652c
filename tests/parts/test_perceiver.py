"""The laws of perceiver blocks and their gates."""

import pytest
import torch

from intarsia import rig
from intarsia.parts.gated_perceiver import GatedPerceiver, Gating
from intarsia.parts.perceiver import AdaptiveNorm, Perceiver

WIDTH, TIME = 16, 8


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def block():
    torch.manual_seed(0)
    return Perceiver(WIDTH, 4, TIME).requires_grad_(False)


def test_a_norm_is_plain_at_birth_and_then_shifted_and_scaled_by_time():
    norm = AdaptiveNorm(WIDTH, TIME).requires_grad_(False)
    given, moments = drawn(2, 3, WIDTH), drawn(2, 1, TIME, seed=1)
    plain = torch.nn.functional.layer_norm(given, (WIDTH,), eps=1e-6)
    assert torch.equal(norm(given, moments), plain)
    norm.linear.weight.normal_()
    shift, scale = norm.linear(torch.nn.functional.silu(moments)).chunk(2, -1)
    torch.testing.assert_close(norm(given, moments), plain * (1 + scale) + shift)


def test_sizes_are_the_released_models():
    with torch.device("meta"):
        parts = {name: count(part) for name, part in Perceiver(768, 8, 768).named_children()}
    assert parts["attention"] == 2_362_368
    assert parts["widen"] + parts["narrow"] == 4_722_432
    assert parts["norm_carried"] == parts["norm_read"] == parts["norm_feed"] == 1_181_184


def count(module):
    return sum(value.numel() for value in module.parameters())


def test_forward_is_both_parts_one_after_the_other(block):
    carried, read, moment = drawn(2, 3, WIDTH), drawn(2, 5, WIDTH, seed=1), drawn(1, 1, TIME, seed=2)
    after = carried + block.attend(carried, read, moment)
    assert torch.equal(block(carried, read, moment), after + block.feed(after, moment))


@pytest.mark.parametrize("reads_itself", [True, False])
def test_padding_is_not_looked_at_and_the_order_of_what_is_read_is_no_matter(reads_itself):
    torch.manual_seed(0)
    block = Perceiver(WIDTH, 4, TIME, reads_itself=reads_itself).requires_grad_(False)
    carried, read, moment = drawn(2, 3, WIDTH), drawn(2, 5, WIDTH, seed=1), drawn(2, 1, TIME, seed=2)
    wanted = block.attend(carried, read, moment)
    padded = torch.cat([read, drawn(2, 2, WIDTH, seed=3)], 1)
    real = torch.tensor([[True] * 5 + [False] * 2] * 2)
    torch.testing.assert_close(block.attend(carried, padded, moment, real), wanted)
    torch.testing.assert_close(block.attend(carried, read.flip(1), moment), wanted)
    others = carried.clone()
    others[:, 0] = 0
    found = block.attend(others, read, moment)
    assert torch.allclose(found[:, 1:], wanted[:, 1:]) != reads_itself


@pytest.mark.parametrize("per_token", ["linear", "sigmoid", "none"])
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("part", ["attend", "feed"])
def test_gates_are_a_scale_times_a_tokens_share_times_a_scalar(per_token, bounded, part):
    gated = GatedPerceiver(WIDTH, 4, TIME, Gating(1.5, per_token, bounded)).requires_grad_(False)
    carried, read, moment = drawn(2, 3, WIDTH), drawn(2, 5, WIDTH, seed=1), drawn(1, 1, TIME, seed=2)
    assert gated.closed
    assert not gated.attend(carried, read, moment).any()
    assert not gated.feed(carried, moment).any()
    gate, given = {
        "attend": (gated.attention_gate, (carried, read, moment)), "feed": (gated.feed_gate, (carried, moment))
    }[part]  # fmt: skip
    added, plain = getattr(gated, part), getattr(gated.block, part)(*given)
    gate.opening.fill_(0.4)
    assert not gated.closed
    opening = torch.tensor(0.4).tanh() if bounded else torch.tensor(0.4)
    torch.testing.assert_close(added(*given), 1.5 * opening * plain)
    if per_token == "none":
        assert gate.linear is None
        return
    gate.linear.weight.normal_()
    scores = gate.linear(carried)
    share = scores if per_token == "linear" else 2 * scores.sigmoid()
    assert share.shape == (2, 3, 1)
    torch.testing.assert_close(added(*given), 1.5 * opening * share * plain)


def test_gates_cost_next_to_nothing(block):
    gated = GatedPerceiver(WIDTH, 4, TIME, Gating())
    carried, read, moment = drawn(1, 3, WIDTH), drawn(1, 5, WIDTH), drawn(1, 1, TIME)
    costs = []
    for one in (block, gated):
        with rig.count_macs() as macs:
            one.attend(carried, read, moment)
            one.feed(carried, moment)
        costs.append(macs.total)
    assert costs[1] - costs[0] == 2 * 3 * WIDTH
