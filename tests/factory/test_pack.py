"""One supernet and many scenarios in a file: each answers as the model that was shipped, and the supernet stays."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from intarsia import CardError, FitError, OutputExists, RigError, factory
from intarsia.factory import Budget, Order
from intarsia.factory.exams import own_answers
from intarsia.graphs.exporting import digest_of

from .conftest import apart, call

ORDERS = {"warm": ("red, pink", 0.8), "cool": ("cool", 0.9), "everything": ("all", 1.0)}
FEW = {"warm": ("red, pink", 0.45), "cool": ("cool", 0.6)}
THINGS = {"bars": ("red bar", 0.7), "squares": ("red, blue, square", 1.0)}


def shipped(kit, orders, place):
    """Folders by name, and the models that are in them."""
    folders, models = {}, {}
    for name, (words, share) in orders.items():
        order = Order(kit.space.read(words), Budget(macs=share * kit.host.outline.macs))
        done = factory.fulfil(order, kit)
        folders[name], models[name] = factory.ship(order, done, kit, place / name), done.model
    return folders, models


@pytest.mark.parametrize(
    ("which", "orders"),
    [("kit", ORDERS), ("deep_kit", FEW), ("thing_kit", THINGS), ("folded_kit", ORDERS), ("folded_thing_kit", THINGS)],
)
def test_a_scenario_answers_as_the_model_that_was_ordered(which, orders, request, tmp_path):
    kit = request.getfixturevalue(which)
    folders, models = shipped(kit, orders, tmp_path)
    factory.save_pack(factory.packed(kit, folders), tmp_path / "pack.safetensors")
    pack = factory.load_pack(tmp_path / "pack.safetensors")
    assert list(pack.scenarios) == list(orders)
    assert pack.host.unfolded is None, "a pack holds one supernet"
    assert pack.host.folded == kit.host.folded
    assert any(pack.recipe(name)["leave_out"] for name in orders) == (orders is not ORDERS)
    before, pictures = digest_of(pack.host.module), torch.randn(2, *kit.host.size)
    whole = pack.host.module(pictures)
    for name in [*orders, *reversed(orders)]:
        wanted, rebuilt = models[name](pictures), factory.rebuild(folders[name])
        cut = pack.cut(name)
        assert torch.equal(cut.model(pictures), wanted)
        uncut = own_answers(kit.space, whole, kit.space.read(orders[name][0]))
        assert (min(apart(kit.host, uncut, wanted)) > 1e-3) == (orders[name][1] < 1)
        with pack.active(name) as built:
            assert built.model is pack.host.module
            assert max(apart(kit.host, built.model(pictures), wanted)) <= 1e-5
        for one in (cut, built):
            assert (one.answers, one.groups, one.size, one.mean) == (
                rebuilt.answers, rebuilt.groups, rebuilt.size, rebuilt.mean,
            )  # fmt: skip
        for value in cut.model.parameters():  # they are its own
            value.zero_()
    assert digest_of(pack.host.module) == before == digest_of(kit.host.module)
    assert torch.equal(pack.host.module(pictures), whole)


def test_models_of_a_kit_as_it_was_trained_are_packed_too(kit, folded_kit, tmp_path):
    folders, models = shipped(kit, {"warm": ORDERS["warm"]}, tmp_path)
    recipe = json.loads((folders["warm"] / "recipe.json").read_text())
    del recipe["folded"]  # as before there was such a thing
    (folders["warm"] / "recipe.json").write_text(json.dumps(recipe))
    pictures = torch.randn(2, *kit.host.size)
    assert torch.equal(factory.packed(folded_kit, folders).cut("warm").model(pictures), models["warm"](pictures))
    both = {**folders, "cool": shipped(folded_kit, {"cool": ORDERS["cool"]}, tmp_path)[0]["cool"]}
    with pytest.raises(FitError, match=r"it differs in .*folded"):
        factory.packed(folded_kit, both)


def test_a_supernet_that_was_folded_elsewhere_is_known_as_such(folded_kit, tmp_path):
    folders, _ = shipped(folded_kit, {"warm": ORDERS["warm"]}, tmp_path)
    factory.save_pack(factory.packed(folded_kit, folders), tmp_path / "pack.safetensors")
    there = replace(folded_kit, host=factory.load_pack(tmp_path / "pack.safetensors").host)
    order = Order(there.space.read("red, pink"), Budget(macs=1e12))
    done = factory.fulfil(order, there)
    pictures = torch.randn(2, *there.host.size)
    assert torch.equal(
        factory.rebuild(factory.ship(order, done, there, tmp_path / "out")).model(pictures), done.model(pictures)
    )
    with pytest.raises(FitError, match="no statistics to take anew"):
        factory.fulfil(order, there, pictures=pictures)
    with pytest.raises(FitError, match="so it cannot learn"):
        factory.Concepts(there.host, there.lowest)
    with pytest.raises(FitError, match="builds another model"):
        factory.save_kit(there, tmp_path / "kit")


def test_one_scenario_at_a_time_and_only_of_this_kit(kit, thing_kit, tmp_path):
    folders, _ = shipped(kit, ORDERS, tmp_path)
    pack = factory.packed(kit, folders)
    with pack.active("warm"), pytest.raises(RigError, match="another scenario is active"), pack.active("cool"):
        pass
    with pytest.raises(FitError, match=r"there is no scenario 'worm'\. Nearest: 'warm'"):
        pack.cut("worm")
    with pytest.raises(FitError, match="name the folders"):
        factory.packed(kit, {})
    with pytest.raises(FitError, match="not a model of this kit"):
        factory.packed(thing_kit, folders)
    order = Order(kit.space.read("red, blue"), Budget(macs=1e12))
    fresh = factory.fulfil(order, kit, pictures=torch.randn(8, 3, 32, 32))
    factory.ship(order, fresh, kit, tmp_path / "fresh")
    with pytest.raises(FitError, match="its weights are not this supernet's"):
        factory.packed(kit, {**folders, "fresh": tmp_path / "fresh"})
    with pytest.raises(CardError, match="no model that was shipped"):
        factory.packed(kit, {"nothing": tmp_path})


def test_damage_is_told(kit, tmp_path):
    path, bad = tmp_path / "pack.safetensors", tmp_path / "bad.safetensors"
    pack = factory.packed(kit, shipped(kit, {"warm": ORDERS["warm"]}, tmp_path)[0])
    factory.save_pack(pack, path)
    with pytest.raises(OutputExists):
        factory.save_pack(pack, path)
    bad.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CardError, match="not a safetensors file"):
        factory.load_pack(bad)
    tensors = load_file(path)
    said = {"common": pack.common, "scenarios": {"warm": {**pack.scenarios["warm"], "keep": {"layer1.0.conv1": "999"}}}}
    for metadata in ({}, {"intarsia": "pack/1", "pack": "{}"}, {"intarsia": "pack/1", "pack": json.dumps(said)}):
        save_file(tensors, bad, metadata)
        with pytest.raises(CardError, match=r"bad\.safetensors: not a pack"):
            factory.load_pack(bad)
    tensors.popitem()
    save_file(tensors, bad, {"intarsia": "pack/1", "pack": json.dumps({"common": pack.common, "scenarios": {}})})
    with pytest.raises(CardError, match="is missing"):
        factory.load_pack(bad)


def test_packed_from_the_shell_with_sizes(folded_thing_kit, tmp_path):
    factory.save_kit(folded_thing_kit, tmp_path / "kit")
    folders, _ = shipped(folded_thing_kit, THINGS, tmp_path)
    path = tmp_path / "pack.safetensors"
    code, out, refusal = call("pack", tmp_path / "kit", *folders.values(), "-o", path)
    assert code == 0, refusal
    for name in THINGS:
        assert f"{name}: " in out
        assert "where its own weights are" in out
    pack = factory.load_pack(path)
    factory.save_pack(factory.packed(folded_thing_kit, {"bars": folders["bars"]}), tmp_path / "one.safetensors")
    more = path.stat().st_size - (tmp_path / "one.safetensors").stat().st_size
    assert abs(more - pack.bytes_of("squares")) <= 16  # the header's length is a multiple of 8
    assert more < 0.1 * (folders["squares"] / "model.safetensors").stat().st_size
    Image.new("RGB", (80, 60), "grey").save(tmp_path / "shown.png")
    code, out, refusal = call(
        "detect", path, tmp_path / "shown.png", "--scenario", "bars", "--least", 0, "-o", tmp_path / "f.png"
    )
    assert code == 0, refusal
    assert "bar, red: " in out
