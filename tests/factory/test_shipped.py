"""Kits that ship: found by short names, listed, and asked when no kit is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from intarsia import factory, rig, shipped
from intarsia.factory.frontier import marked
from intarsia.factory.labelled import read_exam

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
def test_what_ships_is_small(name):
    assert sum(path.stat().st_size for path in shipped.kit_folder(name).iterdir()) <= 40e6


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


def cut(page, names, side, out):
    """Put the square pictures of a page into folders, a row into each."""
    for row, name in enumerate(names):
        (out / name).mkdir(parents=True)
        for column in range(page.width // side):
            left, top = side * column, side * row
            page.crop((left, top, left + side, top + side)).save(out / name / f"{column}.png")


def clothes(out):
    """Thirty real pictures of each kind of clothes, which were not learned from, as a person has them: in folders."""
    names = factory.load_kit(shipped.kit_folder("fashion")).space.names
    cut(Image.open(HERE / "clothes.png"), names, 28, out)
    return ", ".join(names), (0.85, 0.85)


def mosaics(out):
    """Thirty mosaics of which exactly two digits are odd, and thirty others."""
    cut(Image.open(HERE / "mosaics.png"), ("no", "yes"), 32, out)
    return "only two, odd", (0.9, 0.9)


def scenes(out):
    """Forty scenes of sprites that were not learned from, with their boxes."""
    shutil.copytree(HERE / "scenes", out, dirs_exist_ok=True)
    return "blue", (0.2, 0.9)


HERE = Path(__file__).parent
# By kit: what puts pictures into a folder, and tells a task and how good its smallest and its largest model are.
PICTURES = {"fashion": clothes, "mosaics": mosaics, "sprites": scenes}


@pytest.mark.parametrize("name", shipped.kit_names())
def test_what_ships_is_right_about_a_persons_pictures(name, tmp_path):
    words, bounds = PICTURES[name](tmp_path)
    kit = factory.load_kit(shipped.kit_folder(name))
    task = kit.space.read(words)
    exam = read_exam(tmp_path, kit, task).exam
    for share, wanted in zip((kit.lowest, kit.highest), bounds, strict=True):
        ranking = kit.assembler.rank([task], kit.grounds)[0]
        model = rig.bake(ranking.plan(ranking.cut_at_share(share)), kit.host)[0].eval()
        assert marked(model, *exam) > wanted
