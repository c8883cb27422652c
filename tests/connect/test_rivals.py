"""What benchmarks set beside modules: heard inside their block, together too, and gone after it."""

from dataclasses import replace

import pytest
import torch

from intarsia.connect import Stack, TextCarrier, Weight, Window
from intarsia.hosts import pico
from intarsia.train import Schedule, fit
from recipes.modules.folder import limited
from recipes.modules.rates import chosen_rate
from recipes.modules.training import begin
from recipes.modules.ways import Ground, InTurn, Way, born, heard, objective_of, trained

from .conftest import FEATURES, draw, make_carrier, make_semantic, seen, spoken, stirred, told, words_for

NAMES = ("palette", "style")


def ground_of(unet, connector):
    blank = torch.zeros(pico.TOKENS, connector.words_width)
    return Ground(unet, connector, pico.pipeline().scheduler, dict.fromkeys(NAMES, FEATURES), inner=16, blank=blank)


def training_batch(connector):
    torch.manual_seed(0)
    words = torch.randn(4, pico.TOKENS, connector.words_width)
    return torch.randn(4, 4, 16, 16), words, {name: seen(4) for name in NAMES}


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("make", [make_carrier, make_semantic])
def test_a_way_is_heard_and_leaves_nothing(way, make):
    pipe, connector = pico.pipeline(), make()
    ground = ground_of(pipe.unet, connector)
    before = set(pipe.unet.state_dict())
    parts = {name: stirred(part, seed) for seed, (name, part) in enumerate(born(ground, way, NAMES).items())}

    def shown(style, palette):
        with heard(ground, parts, {"style": seen(1, seed=style), "palette": seen(1, seed=palette)}):
            return draw(pipe, connector)

    with heard(ground, {}, {}):
        stock = draw(pipe, connector)
    first = shown(1, 1)
    assert torch.equal(shown(1, 1), first)
    assert not torch.equal(first, stock)
    assert not torch.equal(shown(2, 1), first)
    assert not torch.equal(shown(1, 2), first)
    with heard(ground, {}, {}):
        assert torch.equal(draw(pipe, connector), stock)
    assert set(pipe.unet.state_dict()) == before
    assert pipe.unet.config.encoder_hid_dim_type is None
    assert not pipe.unet._forward_pre_hooks


def test_decoupled_adapters_can_be_turned_down():
    """At weight 0 only the words are heard."""
    pipe, connector = pico.pipeline(), make_carrier()
    ground = ground_of(pipe.unet, connector)
    parts = {name: stirred(part, 1) for name, part in born(ground, Way.decoupled, NAMES).items()}

    def drawn(*loud):
        with heard(ground, parts, dict.fromkeys(NAMES, seen(1)), weights=dict(zip(NAMES, loud, strict=True))):
            return draw(pipe, connector)

    with heard(ground, {}, {}):
        stock = draw(pipe, connector)
    assert torch.allclose(drawn(0.0, 0.0), stock, atol=1e-5)
    assert not torch.allclose(drawn(0.0, 0.7), stock, atol=1e-3)
    assert not torch.allclose(drawn(0.7, 0.0), drawn(0.0, 0.7), atol=1e-4)


@pytest.mark.parametrize("way", list(Way))
def test_only_the_parts_learn(way):
    unet, connector = pico.unet(), make_semantic()
    ground = ground_of(unet, connector)
    objective = objective_of(ground, way, born(ground, way, NAMES))
    with torch.enable_grad():
        objective(training_batch(connector))["loss"].backward()
    assert all(value.grad is not None for value in objective.parameters() if value.requires_grad)
    assert all(value.grad is None for value in (*unet.parameters(), *connector.parameters()))


@pytest.mark.parametrize("way", list(Way))
def test_all_ways_learn_at_the_same_noise_and_from_the_same_channels(way):
    """A channel that counts nothing has no gradient, and time steps dwell where the ground says."""
    unet, connector = pico.unet(), make_carrier()
    ground = replace(ground_of(unet, connector), late=0.05, channels=torch.zeros(4))
    objective, called = objective_of(ground, way, born(ground, way, NAMES)), []
    handle = unet.register_forward_pre_hook(lambda _unet, args: called.append(args[1]))
    with torch.enable_grad():
        found = objective(training_batch(connector))
    handle.remove()
    assert found["loss"] == 0
    assert called[0].float().mean() > 900


@pytest.mark.parametrize("manner", ["loudness_cost", "disturbance"])
def test_what_stands_beside_is_spared_what_modules_bear_for_others(manner):
    ground = replace(ground_of(pico.unet(), make_carrier()), **{manner: 0.5})
    borne = {way: getattr(objective_of(ground, way, born(ground, way, NAMES)), manner, 0) for way in Way}
    assert borne == {Way.modules: 0.5, Way.ungated: 0.5, Way.loud: 0, Way.concatenated: 0, Way.decoupled: 0}


def test_rivals_are_shown_nothing_in_half_of_the_rows_without_words():
    """For that is what guidance's other half is shown; IP-Adapter drops words, pictures and both alike often."""
    connector = make_carrier()
    ground = ground_of(pico.unet(), connector)
    rivalry = objective_of(ground, Way.decoupled, born(ground, Way.decoupled, NAMES))
    words = words_for(connector, 4000)
    words[:400] = ground.blank
    torch.manual_seed(0)
    unshown = rivalry.unshown(words).float()
    assert unshown[:400].mean() == pytest.approx(0.5, abs=0.05)
    assert unshown[400:].mean() == pytest.approx(0.05, abs=0.01)


def test_who_is_shown_nothing_is_shown_zeros():
    unet, connector = pico.unet(), make_carrier()
    ground = ground_of(unet, connector)
    rivalry, seen_features = objective_of(ground, Way.concatenated, born(ground, Way.concatenated, NAMES)), []
    rivalry.unshown = lambda words: torch.arange(len(words)) % 2 == 0
    for adapter in rivalry.adapters.values():
        adapter.register_forward_pre_hook(lambda _adapter, args: seen_features.append(args[0]))
    batch = training_batch(connector)
    rivalry(batch)
    for found, given in zip(seen_features, batch[2].values(), strict=True):
        assert torch.equal(found[1::2], given[1::2])
        assert not found[::2].any()


def test_parts_for_a_connector_of_other_blocks_are_refused(tmp_path):
    """Their weights would fill a longer module in part, and leave the rest as it was born."""
    ground = ground_of(pico.unet(), make_carrier())
    run = tmp_path / "style"
    begin(run, way="modules", steps=1, batch=4, rate=1e-3, blocks=2)
    learning = objective_of(ground, Way.modules, born(ground, Way.modules, ["style"]))
    _, _, references = (batch := training_batch(ground.connector))
    fit(learning, lambda _draw: (*batch[:2], {"style": references["style"]}), Schedule(1, 1e-3), run)
    assert trained(ground, Way.modules, ["style"], tmp_path)
    longer = replace(ground, connector=TextCarrier(pico.WIDTH, "pico", blocks=4, heads=4, time_width=32))
    with pytest.raises(SystemExit, match="a connector of 2 blocks, and this one has 4; name its --blocks"):
        trained(longer, Way.modules, ["style"], tmp_path)


def test_a_limited_module_is_one_of_such_a_weight():
    carrier = make_carrier()
    module = spoken("style", carrier)
    words, given = words_for(carrier), {"style": seen()}
    louder, early = limited(module, 1.5, 600), Weight(1.5, Window(lowest=600))
    for time in (700.0, 500.0):
        found = told(Stack(carrier, [louder]), words, time, **given)
        weighed = told(Stack(carrier, [module], {"style": early}), words, time, **given)
        assert torch.allclose(found, weighed, atol=1e-5)
    assert louder.gating.scale == 1.5 != module.gating.scale


def test_in_turn_a_module_hears_what_was_said_before_it():
    carrier = make_carrier()
    modules = [spoken(name, carrier) for name in NAMES]
    words, given = words_for(carrier), {name: seen() for name in NAMES}
    for count, equal in ((1, True), (2, False)):
        few = dict(list(given.items())[:count])
        both = [told(kind(carrier, modules), words, **few) for kind in (Stack, InTurn)]
        assert torch.equal(*both) == equal


def test_the_rate_that_learns_is_chosen_and_kept(tmp_path):
    """A rate of nearly nothing learns nothing; the choice is read again, not made again."""
    connector = make_carrier()
    ground = ground_of(pico.unet(), connector)
    begun = []

    def begin():
        begun.append(1)
        return objective_of(ground, Way.decoupled, born(ground, Way.decoupled, NAMES))

    def chosen(steps=4):
        return chosen_rate(
            begin, lambda _draw: training_batch(connector), tmp_path, steps=steps, batch=4, rates=(1e-9, 1e-2)
        )

    assert chosen() == 1e-2
    assert chosen() == 1e-2
    assert len(begun) == 2
    with pytest.raises(SystemExit, match="begun with other settings: steps 4, now 2"):
        chosen(steps=2)
