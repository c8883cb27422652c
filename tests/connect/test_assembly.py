"""Modules together: invariants 4, 5, 6, 8, 9, 10, 12, 13, 15, 19 and 20."""

import itertools

import pytest
import torch

from intarsia import FitError
from intarsia.connect import Stack, Weight, Window, attached, times_of
from intarsia.connect.table import Table
from intarsia.parts.gated_perceiver import Gating

from .conftest import STEPS, draw, fresh, make_carrier, seen, spoken, stirred, told, words_for

NAMES = ("palette", "silhouette", "style")


def three(connector, order=NAMES):
    return Stack(connector, [spoken(name, connector) for name in order])


def references(batch=2):
    return {name: seen(batch, seed=number) for number, name in enumerate(NAMES)}


def test_the_order_of_listing_is_no_matter(connector, pipe):
    """Invariant 4, to the bit for three modules: what is summed is sorted."""
    words, found, pictures = words_for(connector), [], []
    for order in itertools.permutations(NAMES):
        given = {name: references()[name] for name in reversed(order)}
        found.append(told(three(connector, order), words, **given))
    for order in (NAMES, NAMES[::-1]):
        with attached(pipe, three(connector, order)) as senses:
            senses.give(**{name: references(1)[name] for name in order})
            pictures.append(draw(pipe, connector))
    assert all(torch.equal(found[0], one) for one in found[1:])
    assert torch.equal(*pictures)


def test_one_after_the_other_is_something_else():
    """Invariant 5: in parallel every module looks at the same tokens, so order could not matter; in a row it does."""
    carrier = make_carrier()
    words, given = words_for(carrier), references()
    alone = {name: Stack(carrier, [spoken(name, carrier)]) for name in NAMES[:2]}
    together = told(
        Stack(carrier, [spoken(name, carrier) for name in NAMES[:2]]),
        words,
        **{name: given[name] for name in NAMES[:2]},
    )
    in_a_row = []
    for order in (NAMES[:2], NAMES[1::-1]):
        carried = words
        for name in order:
            carried = told(alone[name], carried, **{name: given[name]})
        in_a_row.append(carried)
    assert not torch.allclose(in_a_row[0], together, atol=1e-4)
    assert not torch.allclose(in_a_row[0], in_a_row[1], atol=1e-5)


def test_the_order_of_feature_tokens_is_no_matter(connector):
    """Invariant 6, but for rounding."""
    stack, words, features = three(connector), words_for(connector), seen(2, 7)
    shuffled = features[:, torch.randperm(7, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(
        told(stack, words, style=features), told(stack, words, style=shuffled), rtol=0, atol=1e-6
    )  # fmt: skip


def test_padding_is_not_looked_at(connector):
    """Invariant 8, but for rounding."""
    stack, words, features = three(connector), words_for(connector), seen(2, 3)
    padded = told(stack, words, style=[features[0], torch.cat([features[1], seen(1, 4, seed=9)[0]])])
    torch.testing.assert_close(padded[0], told(stack, words, style=features)[0], rtol=0, atol=1e-6)
    assert not torch.allclose(padded[1], told(stack, words, style=features)[1])


def test_a_sample_does_not_hear_of_its_batch(connector):
    """Invariant 9, but for rounding."""
    stack, words, given = three(connector), words_for(connector, 4), references(4)
    whole = told(stack, words, **given)
    for row in range(4):
        alone = told(stack, words[row : row + 1], **{name: one[row : row + 1] for name, one in given.items()})
        torch.testing.assert_close(whole[row], alone[0], rtol=0, atol=1e-5)


def test_copies_that_share_a_weight_are_one_module(connector):
    """Invariant 10, first half: in parallel, copies whose weights sum to w are the module at weight w, in every block.

    One would expect this for the first block's attention alone; that holds for copies applied in a row.
    """
    words, copies = words_for(connector), [spoken("style", connector) for _ in range(3)]
    for number, copy in enumerate(copies):
        copy.name = f"copy_{number}"
    shares = {"copy_0": 0.5, "copy_1": 0.25, "copy_2": 0.25}
    many = told(Stack(connector, copies, shares), words, **dict.fromkeys(shares, seen()))
    one = told(Stack(connector, [spoken("style", connector)]), words, style=seen())
    torch.testing.assert_close(many, one, rtol=0, atol=1e-5)


def test_twice_the_weight_is_twice_the_first_attention_and_nothing_more():
    """Invariant 10, second half: only what the first block's attention adds is linear in the weight."""
    carrier = make_carrier()
    words = words_for(carrier)

    def effect(module, weight):
        return told(Stack(carrier, [module], {"style": weight}), words, style=seen()) - words

    attention = spoken("style", carrier)
    attention.blocks[0].feed_gate.opening.zero_()
    torch.testing.assert_close(effect(attention, [1.0, 0.0]), 2 * effect(attention, [0.5, 0.0]), rtol=0, atol=1e-5)
    whole = spoken("style", carrier)
    assert not torch.allclose(effect(whole, 1.0), 2 * effect(whole, 0.5), atol=1e-3)


def test_a_table_says_what_would_be_said(connector, pipe):
    """Invariant 12: to the bit, for it is made step by step; in one batch of time steps only almost."""
    stack, words = three(connector), words_for(connector)
    both = torch.cat([torch.zeros_like(words[:1]), words[:1]])
    pipe.scheduler.set_timesteps(STEPS)
    pictures = []
    for ahead in (True, False):
        with attached(pipe, stack) as senses:
            senses.give(**references(1))
            if ahead:
                senses.precompute(both, pipe.scheduler.timesteps, guided=True)
                table = dict(senses.table.readings[0].tokens)
            pictures.append(draw(pipe, connector, prompt_embeds=words[:1], negative_prompt_embeds=both[:1]))
            if ahead:
                assert senses.table.readings[0].tokens.keys() == table.keys(), "nothing was worked out in the run"
    assert torch.equal(*pictures)
    times = torch.tensor([900.0, 12.5])
    together = stack(words, times, stack.references(references()))
    for row, time in enumerate(times):
        torch.testing.assert_close(together[row], told(stack, words, time, **references())[row], rtol=0, atol=1e-5)


def test_a_table_forgets_old_words_and_old_references(connector, pipe):
    """Invariant 12: what is known is known of these words and these references only."""
    stack = three(connector)

    def alone(seed, reference):
        with attached(pipe, stack) as senses:
            senses.give(style=seen(1, seed=reference))
            return draw(pipe, connector, seed=seed)

    turns = ((0, 0), (1, 0), (1, 1), (0, 0))
    wanted = [alone(*turn) for turn in turns]
    with attached(pipe, stack) as senses:
        for (seed, reference), picture in zip(turns, wanted, strict=True):
            senses.give(style=seen(1, seed=reference))
            assert torch.equal(draw(pipe, connector, seed=seed), picture)
            assert torch.equal(draw(pipe, connector, seed=seed), picture), "and with a full table"


@pytest.mark.parametrize("guided", [False, True])
def test_a_table_knows_its_words_and_time_steps_to_the_bit(guided):
    """Invariants 12 and 13, of one table: no other words, no other half, and fractions of time steps."""
    carrier = make_carrier()
    stack, time = three(carrier), torch.tensor(500.0)
    table = Table(stack, stack.references(references()))
    first, second = (torch.cat([words_for(carrier, seed=seed)] * (2 if guided else 1)) for seed in (0, 1))
    for words, at in ((first, time), (second, time), (first, time + 0.75), (first, time)):
        for half in (guided, False):
            fresh = Table(stack, stack.references(references()))
            assert torch.equal(table.tokens(words, at, half), fresh.tokens(words, at, half))
    assert not torch.equal(table.tokens(first, time, guided), table.tokens(second, time, guided))
    assert not torch.equal(table.tokens(first, time, guided), table.tokens(first, time + 0.75, guided))


@pytest.mark.parametrize("changed", ["weight", "parameter", "module"])
def test_a_table_forgets_what_its_stack_was(changed):
    """Invariant 12: of these weights and these parameters too, whoever changed them and how."""
    carrier = make_carrier()
    stack, words, time = three(carrier), words_for(carrier), torch.tensor(500.0)
    table = Table(stack, stack.references(references()))
    before = table.tokens(words, time, False)
    assert table.tokens(words, time, False) is before
    if changed == "weight":
        stack.weights["style"] = Weight(0.5)
    elif changed == "parameter":
        stack.senses["style"].blocks[0].attention_gate.opening.mul_(0.5)
    else:
        stack.senses["style"] = stirred(fresh("style", carrier), 99)
    after = table.tokens(words, time, False)
    assert not torch.equal(after, before)
    assert torch.equal(after, stack(words, time, table.references))


def test_a_table_knows_two_readings_of_the_words():
    """Guidance in two calls goes to and fro between them at every step, and a second run is told nothing anew."""
    carrier = make_carrier()
    stack, words = three(carrier), words_for(carrier)
    table, times = Table(stack, stack.references(references(1))), [torch.tensor(float(time)) for time in (999, 500, 1)]
    steps = [(half, time) for time in times for half in words.chunk(2)]
    first = [table.tokens(half, time, False) for half, time in steps]
    assert all(table.tokens(half, time, False) is told for (half, time), told in zip(steps, first, strict=True))


def test_time_is_heard(connector, pipe):
    """Invariant 13: tokens differ from time step to time step, and one for all draws another picture."""
    stack, words = three(connector), words_for(connector)
    assert not torch.allclose(told(stack, words, 999, **references()), told(stack, words, 1, **references()), atol=1e-4)
    with attached(pipe, stack) as senses:
        senses.give(**references(1))
        heard = draw(pipe, connector)
        senses.give(**references(1))
        work = senses.table.told
        senses.table.told = lambda words, _time, guided: work(words, torch.tensor(999.0), guided)
        assert not torch.equal(draw(pipe, connector), heard)


@pytest.mark.parametrize("gating", [Gating(), Gating(per_token="sigmoid"), Gating(per_token="none", bounded=False)])
def test_the_weight_is_a_smooth_dial(connector, gating):
    """Invariant 15: it leads from text only, step by step, without a jump and ever farther."""
    words = words_for(connector)
    text_only = told(Stack(connector, []), words)
    dial = [number / 10 for number in range(11)]
    found = [
        told(Stack(connector, [spoken("style", connector, gating=gating)], {"style": weight}), words, style=seen())
        for weight in dial
    ]
    assert torch.equal(found[0], text_only)
    away = [float((one - text_only).norm()) for one in found]
    steps = [float((two - one).norm()) for one, two in itertools.pairwise(found)]
    assert all(two > one for one, two in itertools.pairwise(away))
    assert max(steps) < 3 * away[-1] / len(steps)


def test_tokens_of_zeros_are_not_silence(host):
    """Invariant 19: why modules speak through residuals, and are not more tokens beside the words."""
    inputs = {
        "sample": torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), "timestep": torch.tensor(500)
    }  # fmt: skip
    words = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1))
    longer = torch.cat([words, torch.zeros(1, 3, 16)], 1)
    plain, padded = (host.module(**inputs, encoder_hidden_states=one).sample for one in (words, longer))
    assert (plain - padded).norm() > 1e-3 * plain.norm()


def test_the_same_again(connector, pipe):
    """Invariant 20, to the bit."""
    with attached(pipe, three(connector)) as senses:
        senses.give(**references(1))
        assert torch.equal(draw(pipe, connector), draw(pipe, connector))


def test_weights_by_block_and_by_time(connector):
    words, given = words_for(connector), {"style": seen()}
    blocks = connector.form.blocks

    def with_weight(weight, time=500.0):
        return told(Stack(connector, [spoken("style", connector)], {"style": weight}), words, time, **given)

    assert torch.equal(with_weight([0.7] * blocks), with_weight(0.7))
    assert not torch.equal(with_weight([0.7] + [0.0] * (blocks - 1)), with_weight(0.7))
    early = Weight(0.7, Window(lowest=600))
    assert torch.equal(with_weight(early, 600.0), with_weight(0.7, 600.0))
    assert torch.equal(with_weight(early, 599.5), with_weight(0.0, 599.5))
    late = spoken("style", connector, window=Window(highest=599))
    instead = Stack(connector, [late], {"style": early})
    assert torch.equal(told(instead, words, 600.0, **given), with_weight(0.7, 600.0)), "who says when is followed"
    stack = Stack(connector, [spoken("style", connector)], {"style": early})
    mixed = stack(words, torch.tensor([700.0, 500.0]), stack.references(given))
    assert not torch.equal(mixed[0], told(Stack(connector, []), words, 700.0)[0])
    assert torch.allclose(mixed[1], told(Stack(connector, []), words, 500.0)[1], atol=1e-6)


def test_windows_of_rows():
    from diffusers import DDIMScheduler, HeunDiscreteScheduler

    assert times_of(DDIMScheduler(), 4, "0:2") == {750.0, 500.0}
    with pytest.raises(FitError, match="more than once"):
        times_of(HeunDiscreteScheduler(), 4, "0:2")
    assert len(times_of(HeunDiscreteScheduler(), 4, "0:3")) == 2


def test_what_a_stack_refuses(connector):
    style, words = spoken("style", connector), words_for(connector)
    with pytest.raises(FitError, match="two modules are called 'style'"):
        Stack(connector, [style, spoken("style", connector)])
    with pytest.raises(FitError, match="no module is called 'stile'"):
        Stack(connector, [style], {"stile": 1.0})
    with pytest.raises(FitError, match="give a number that is finite"):
        Stack(connector, [style], {"style": float("nan")})
    with pytest.raises(FitError, match="5 weights for"):
        Stack(connector, [style], {"style": [1.0] * 5})
    with pytest.raises(FitError, match="no module is called 'palette'"):
        told(Stack(connector, [style]), words, palette=seen())
    with pytest.raises(FitError, match="features of width 12"):
        told(Stack(connector, [style]), words, style=seen()[..., :3])
    with pytest.raises(FitError, match="cannot be shared out among 2"):
        told(Stack(connector, [style]), words, style=seen(3))
    with pytest.raises(FitError, match=r"features should be \(batch, tokens, width\)"):
        told(Stack(connector, [style]), words, style=seen()[0])
    with pytest.raises(FitError, match="for each sample, or None"):
        told(Stack(connector, [style]), words, style=[None, None])
    with pytest.raises(FitError, match="the words are 3 wide"):
        told(Stack(connector, [style]), words[..., :3])
    with pytest.raises(FitError, match="cannot be called 'my style'"):
        spoken("my style", connector)
