"""Where nobody speaks, nothing changes: invariants 1, 2 and 7."""

import pytest
import torch

from intarsia.connect import Stack, TextCarrier, Weight, Window, attached
from intarsia.parts.gated_perceiver import Gating

from .conftest import draw, fresh, seen, spoken, told, words_for

SILENT = {
    "fresh": lambda connector: (fresh("style", connector), 1.0, seen()),
    "weight 0": lambda connector: (spoken("style", connector), 0.0, seen()),
    "every block 0": lambda connector: (spoken("style", connector), [0.0] * connector.form.blocks, seen()),
    "out of its weight's window": lambda connector: (
        spoken("style", connector), Weight(1.0, Window(lowest=2000)), seen()
    ),
    "out of its own window": lambda connector: (
        spoken("style", connector, window=Window(lowest=2000)), Weight(1.0), seen()
    ),
    "no reference": lambda connector: (spoken("style", connector), 1.0, None),
}  # fmt: skip


@pytest.mark.parametrize("way", SILENT)
def test_a_silent_module_is_text_only_to_the_bit(connector, pipe, way):
    """Invariant 1, of the connector and of a whole guided pipeline."""
    module, weight, given = SILENT[way](connector)
    stack, alone = Stack(connector, [module], {"style": weight}), Stack(connector, [])
    words = words_for(connector)
    assert torch.equal(told(stack, words, style=given), told(alone, words))
    with attached(pipe, alone):
        text_only = draw(pipe, connector)
    with attached(pipe, stack) as senses:
        senses.give(style=None if given is None else given[:1])
        assert torch.equal(draw(pipe, connector), text_only)
    if isinstance(connector, TextCarrier):
        assert torch.equal(draw(pipe, connector), text_only), "and text only is the stock pipeline"


@pytest.mark.parametrize("way", SILENT)
def test_what_is_silent_is_left_out_not_multiplied_by_nothing(connector, way):
    """Invariant 1: nothing times infinity is not nothing."""
    module, weight, given = SILENT[way](connector)
    module.requires_grad_(False).project.weight.fill_(torch.inf)
    words, stack = words_for(connector), Stack(connector, [module], {"style": weight})
    assert torch.equal(told(stack, words, style=given), told(Stack(connector, []), words))
    if given is not None:
        absent = told(Stack(connector, [module]), words, style=[given[0], None])
        assert torch.equal(absent[1], told(Stack(connector, []), words)[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_words_come_back_as_they_were(dtype):
    """Invariant 1, of a stack in single precision under a pipeline in half."""
    carrier = TextCarrier(16, "half", heads=4)
    words = words_for(carrier).to(dtype)
    found = told(Stack(carrier, [fresh("style", carrier)]), words, style=seen())
    assert found.dtype == dtype
    assert torch.equal(found, words)


def test_what_was_attached_comes_off_without_a_trace(connector, pipe):
    """Invariant 2, also after an exception."""
    names, own = list(pipe.unet.state_dict()), dict(vars(pipe.unet))
    words = words_for(connector)[..., :16]
    stock = draw(pipe, connector, prompt_embeds=words[:1], negative_prompt_embeds=words[1:])
    stack = Stack(connector, [spoken("style", connector)])
    with pytest.raises(KeyError), attached(pipe, stack) as senses:
        senses.give(style=seen(1))
        other = draw(pipe, connector)
        assert list(pipe.unet.state_dict()) == names
        raise KeyError
    assert not torch.equal(other, stock)
    assert torch.equal(draw(pipe, connector, prompt_embeds=words[:1], negative_prompt_embeds=words[1:]), stock)
    assert not pipe.unet._forward_pre_hooks
    assert vars(pipe.unet).keys() == own.keys()
    assert "forward" not in vars(pipe.unet)


def test_an_absent_module_is_one_that_is_not_there(connector, pipe):
    """Invariant 7, of whole calls and through a pipeline."""
    both = Stack(connector, [spoken("style", connector), spoken("palette", connector)])
    one = Stack(connector, [spoken("style", connector)])
    words = words_for(connector)
    assert torch.equal(told(both, words, style=seen(), palette=None), told(one, words, style=seen()))
    pictures = []
    for stack in (both, one):
        with attached(pipe, stack) as senses:
            senses.give(style=seen(1))
            pictures.append(draw(pipe, connector))
    assert torch.equal(*pictures)


def test_absent_in_one_row_is_absent_for_that_row(connector):
    """Invariant 7, of rows in batches of one size."""
    stack, words = Stack(connector, [spoken("style", connector)]), words_for(connector)
    reference = seen()
    mixed = told(stack, words, style=[reference[0], None])
    assert torch.equal(mixed[0], told(stack, words, style=reference)[0])
    assert torch.equal(mixed[1], told(stack, words)[1])
    assert not torch.equal(mixed[0], told(stack, words)[0])


def test_rows_of_many_lengths_and_none_are_finite(connector):
    """Invariant 7, where the carried tokens are no keys: attention over padding alone would be NaN."""
    stack = Stack(connector, [spoken("style", connector, gating=Gating(reads_itself=False))])
    long, short = seen(1, 5)[0], seen(1, 2)[0]
    found = told(stack, words_for(connector, 3), style=[long, None, short])
    assert found.isfinite().all()
    assert torch.equal(found[1], told(stack, words_for(connector, 3))[1])
