"""Kits that ship: found by short names, listed, and asked when no kit is named."""

import json

import pytest
import torch

from intarsia import factory, shipped

from .conftest import call


@pytest.fixture
def kits(tmp_path, monkeypatch):
    """Where kits ship from: nothing is there yet."""
    monkeypatch.setattr(shipped, "KITS", tmp_path / "kits")
    return tmp_path / "kits"


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [("kit", "fashion", ("--task", "red, blue")), ("thing_kit", "sprites", ("--detect", "red square"))],
)
def test_an_order_that_names_no_kit_asks_the_one_that_ships(request, kits, tmp_path, kind, name, words):
    code, _, refusal = call("fulfil", *words, "--macs", "1G", "-o", tmp_path / "out")
    assert code != 0
    assert f"there is no kit '{name}'" in refusal
    assert "With intarsia come: none yet" in refusal
    factory.save_kit(request.getfixturevalue(kind), kits / name)
    code, out, _ = call("fulfil", *words, "--macs", "1G", "-o", tmp_path / "out")
    assert code == 0, out
    assert json.loads((tmp_path / "out/recipe.json").read_text())["task"]
    assert name in call("list", "kits")[1]
    assert f"With intarsia come: {name}." in call("pack", "another", tmp_path / "out", "-o", tmp_path / "pack")[2]


@pytest.mark.parametrize("name", shipped.kit_names())
def test_what_ships_serves_its_lowest_budget(name, tmp_path):
    kit = factory.load_kit(shipped.kit_folder(name))
    task = kit.space.task([group[0] for group in kit.space.groups] or kit.space.names[:2])
    whole = float(kit.assembler.rank([task], kit.grounds)[0].costs["macs"][-1])
    order = factory.Order(task, factory.Budget(macs=kit.lowest * whole))
    done = factory.fulfil(order, kit)
    assert 0 < done.costs["macs"] <= kit.lowest * whole
    factory.ship(order, done, kit, tmp_path / "out", [])
    built, pictures = factory.rebuild(tmp_path / "out"), torch.randn(2, *kit.host.size)
    assert torch.equal(built.model(pictures), done.model(pictures))
