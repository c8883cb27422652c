"""What recipes of kits leave behind."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import recipes
from intarsia import factory
from recipes.kits import leave
from tests.factory.conftest import COLOURS, kit_of

CARD = "{parameters} M, {macs} MACs, {steps} steps, from {lowest} to {highest}, at {commit}\n{audit}\n"


def test_a_kit_is_left_with_a_card_and_a_report_in_place_of_the_last(tmp_path):
    kit, (out, card) = kit_of(), (tmp_path / "kits/colours", tmp_path / "CARD.md")
    kit.card["steps"] = [1500, 12_000]
    card.write_text(CARD)
    tasks = {"pairs": [kit.space.task(pair) for pair in (("red", "grey"), ("blue", "pink"))]}
    exam = factory.choices(torch.randn(60, 3, 32, 32), torch.arange(60) % len(COLOURS))
    for _ in range(2):
        leave(kit, tmp_path, out, card, tasks, exam, (0.7, 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "audit", lambda *_given: [][0])
        with pytest.raises(IndexError):
            leave(kit, tmp_path, tmp_path / "kits/stopped", card, tasks, exam, (0.7, 1.0))
    assert "not audited yet" in (tmp_path / "kits/stopped/README.md").read_text()
    assert factory.load_kit(tmp_path / "kits/stopped").space == kit.space, "a kit is kept before it is audited"
    shutil.rmtree(tmp_path / "kits/stopped")
    said = (out / "README.md").read_text()
    assert "1,500 and 12,000 steps, from 70% to 100%, at " in said
    assert "another's" in said
    assert "{" not in said
    assert json.loads((tmp_path / "audit.json").read_text())["pairs"]["shares"] == [0.7, 1.0]
    assert factory.load_kit(out).space == kit.space
    assert [path.name for path in out.parent.iterdir()] == ["colours"]


@pytest.mark.parametrize("recipe", ["fashion", "mosaics", "sprites"])
def test_cards_ask_for_nothing_that_is_not_filled_in(recipe):
    text = (Path(recipes.__file__).parent / recipe / "CARD.md").read_text()
    for name in ("parameters", "macs", "steps", "lowest", "highest", "audit", "commit"):
        assert "{" + name + "}" in text, name
        text = text.replace("{" + name + "}", "")
    assert "{" not in text
