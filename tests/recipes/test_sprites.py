"""Sprites and scenes, on a few real tiles."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from intarsia import CardError
from intarsia.factory.boxes import Cells, answering
from intarsia.factory.coco import read_coco
from recipes.sprites import sprites as recipe
from recipes.sprites.folder import as_coco
from recipes.sprites.lessons import SPACE, things_of
from recipes.sprites.scenes import UNSEEN, Scenery
from recipes.sprites.sprites import CLASSES, NAMES, colour_of, for_tests, read, sorted_out, turned
from recipes.sprites.tiles import checked


def test_a_sprite_has_the_colour_that_it_is_said_to_have(sprites):
    assert [colour_of(picture) for picture in sprites.pictures] == sprites.colours.tolist()


def test_a_sprite_turned_to_another_colour_keeps_its_outline(sprites):
    red = next(picture for picture, colour in zip(sprites.pictures, sprites.colours, strict=True) if not colour)
    green = turned(red, NAMES.index("green"))
    assert colour_of(green) == NAMES.index("green")
    assert (green[..., 3] == red[..., 3]).all()


def test_tiles_are_told_by_where_they_lie(sprites):
    shown = sprites.pictures[0]
    floor = np.dstack([sprites.floors[0], np.full((32, 32), 255, np.uint8)])
    paths = ["item/weapon/battle_axe1", "mon/undead/ghost", "dngn/floor/bog_green0", "item/ring/artefact/ring1"]
    found = sorted_out(zip(paths, (shown, shown, floor, shown), strict=True))
    assert set(found.classes) == {list(CLASSES).index("axe")}
    assert (len(found.floors), len(found.clutter)) == (1, 1)


def test_variants_of_a_sprite_are_on_one_side():
    paths = [f"item/weapon/{name}{number}" for name in ("mace", "flail", "club", "whip") for number in range(3)]
    tested = for_tests(paths, [2] * len(paths))
    assert tested.reshape(4, 3).all(1).sum() == 1
    assert tested.sum() == 3


def test_boxes_are_around_what_is_seen_and_pairs_for_tests_are_not_drawn(sprites):
    scenery, draws = Scenery(sprites), np.random.default_rng(0)
    rows, met = scenery.rows(), set()
    for _ in range(200):
        scene = scenery.draw(draws, rows)
        assert scene.picture.shape == (96, 96, 3)
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] <= 96).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()
        met |= set(zip(scene.classes.tolist(), scene.colours.tolist(), strict=True))
    assert not met & set(UNSEEN)
    assert len(met) == len(CLASSES) * len(NAMES) - len(UNSEEN)
    assert not sprites.tested[rows].any()


def test_unseen_pairs_of_sprites_for_tests_can_be_asked_for(sprites):
    scenery = Scenery(sprites, tested=True, pairs=UNSEEN)
    assert sprites.tested[scenery.rows()].all()
    scene = scenery.draw(np.random.default_rng(1))
    assert set(zip(scene.classes.tolist(), scene.colours.tolist(), strict=True)) <= set(UNSEEN)


def test_what_is_hidden_is_not_there_at_all(sprites):
    """Or somebody who finds what shows of it would be wrong."""
    scenery = Scenery(sprites, least=1.1, clutter=0)  # more than there is to see of anything
    scene = scenery.draw(np.random.default_rng(7))
    assert not len(scene.boxes)
    assert (scene.picture == scenery._floor(np.random.default_rng(7)).astype(np.uint8)).all()


def test_every_resolution_has_things_to_answer_for_and_hardly_a_thing_has_none(sprites):
    scenery, draws, strides = Scenery(sprites), np.random.default_rng(0), (8, 16, 32)
    cells, rows = Cells.of(strides, (3, 96, 96)), scenery.rows()
    scenes = [torch.from_numpy(scenery.draw(draws, rows).boxes)[None] for _ in range(100)]
    owners = [answering(cells, boxes)[0] for boxes in scenes]
    for stride in strides:
        assert sum(int((owner[cells.stride == stride] >= 0).sum()) for owner in owners) > len(scenes) / 2
    lacking = sum(boxes.shape[1] - len(owner.unique()) + 1 for boxes, owner in zip(scenes, owners, strict=True))
    assert lacking < 0.03 * sum(boxes.shape[1] for boxes in scenes)


def test_scenes_in_a_folder_are_read_as_they_were_drawn(sprites, tmp_path):
    scenery, draws = Scenery(sprites), np.random.default_rng(0)
    scenes = [scenery.draw(draws) for _ in range(8)]
    content = as_coco(scenes)
    for scene, image in zip(scenes, content["images"], strict=True):
        Image.fromarray(scene.picture).save(tmp_path / image["file_name"])
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    read = read_coco(tmp_path / "annotations.json")
    order = torch.tensor([SPACE.names.index(name) for name in read.names])
    for scene, found in zip(scenes, read.pictures, strict=True):
        wanted = things_of(scene)
        assert torch.equal(found.things.boxes, wanted.boxes)
        assert torch.equal(found.things.names, wanted.names[:, order])


def test_the_same_seed_draws_the_same_scene(sprites):
    one, other = (Scenery(sprites).draw(np.random.default_rng(7)) for _ in range(2))
    assert (one.picture == other.picture).all()
    assert (one.boxes == other.boxes).all()


def test_sprites_are_sorted_out_of_the_archive_once(sprites, tmp_path, monkeypatch):
    with pytest.raises(CardError, match="no such file"):
        read(tmp_path)
    monkeypatch.setattr(recipe, "tiles", lambda _archive: [])

    def faster(_tiles):
        sprites.save(tmp_path / "sprites.npz")  # by another process meanwhile
        return sprites

    monkeypatch.setattr(recipe, "sorted_out", faster)
    assert (read(tmp_path).pictures == sprites.pictures).all()
    monkeypatch.setattr(recipe, "sorted_out", None)
    assert (read(tmp_path).classes == sprites.classes).all()
    assert [path.name for path in tmp_path.iterdir()] == ["sprites.npz"]


def test_an_archive_that_is_not_there_or_another_is_refused(tmp_path):
    with pytest.raises(CardError, match="no such file"):
        checked(tmp_path / "crawl.tar.xz")
    (tmp_path / "crawl.tar.xz").write_bytes(b"half of it")
    with pytest.raises(CardError, match="or not whole"):
        checked(tmp_path / "crawl.tar.xz")
