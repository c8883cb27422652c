"""The drawn world: attributes are what they are said to be, and the whole of it trains, resumes and draws."""

import numpy as np
import pytest
import torch

from recipes.modules.ways import Way, heard
from recipes.shapes import stage, words
from recipes.shapes.host import SHAPE, draw, folded
from recipes.shapes.run import Sizes, World
from recipes.shapes.scenes import NAMED, SHAPES, WIDTH, apart, bin_of, drawn, some
from recipes.shapes.senses import CONTRARY, OWN_WORDS, SENSES, SHARED, UNNAMED, YIELDING, batches
from recipes.shapes.stage import Stage

MANY = 4000
BRIEF = Sizes(parts=1, search=1, batch=4)


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)


def follows(scenes):
    """How often each hue is near to that which goes with the shape."""
    own = scenes.shape / len(SHAPES)
    return [(apart(hue, own + shift) < WIDTH).mean() for hue, shift in ((scenes.hue, 0.0), (scenes.ground, 0.5))]


def test_scenes_lean_as_often_as_asked():
    by_chance = 2 * WIDTH
    for leaning in (0.0, 0.6):
        assert follows(some(MANY, leaning)) == pytest.approx([leaning + (1 - leaning) * by_chance] * 2, abs=0.03)


def test_a_reference_shares_what_it_should_and_is_another_scene():
    scenes = some(MANY, 0.6)
    for names in SHARED.values():
        other = scenes.kept(names, 0.6)
        for name, value in vars(scenes).items():
            same = (getattr(other, name) == value).mean()
            assert same == 1.0 if name in names else same < 0.8
        assert follows(other) == pytest.approx(follows(scenes), abs=0.03), "as likely as any scene"


def test_pictures_show_their_colours_and_every_shape_is_another():
    scenes = some(len(SHAPES))
    alike = {name: np.full(len(SHAPES), value[0]) for name, value in vars(scenes).items()}
    shapes = drawn(type(scenes)(**{**alike, "shape": np.arange(len(SHAPES)), "pattern": np.zeros(len(SHAPES), int)}))
    assert shapes.shape == (len(SHAPES), 3, 32, 32)
    assert shapes.abs().max() <= 1
    areas = [int((picture != picture[:, :1, :1]).any(0).sum()) for picture in shapes]
    assert len(set(areas)) > len(SHAPES) // 2
    for hue, brightest in ((0.0, 0), (1 / 3, 1), (2 / 3, 2)):
        ground = drawn(type(scenes)(**{**alike, "ground": np.full(len(SHAPES), hue)}))[:, :, 0, 0]
        assert (ground.argmax(1) == brightest).all()


def test_hues_have_the_nearest_word():
    assert bin_of(np.array([0.0, 0.99, 0.08, 0.09, 1 / 3, 0.5])).tolist() == [0, 0, 0, 1, 2, 3]


def test_words_are_in_their_places_and_two_shapes_have_none():
    scenes = some(MANY)
    everything = words.numbers_of(scenes)
    assert (everything[scenes.shape >= NAMED, words.PLACES.index("shape")] == 0).all()
    assert (everything[scenes.shape < NAMED] > 0).all()
    silent = words.said(scenes, words.only()[None])
    assert torch.equal(silent, words.MARKS.expand_as(silent))
    spoken = words.said(scenes, words.only("side")[None])
    changed = (spoken != silent).any(2).float().mean(0)
    assert changed.tolist() == [float(place == "side") for place in words.PLACES]


def test_references_are_contrary_only_where_words_are_said(monkeypatch):
    """An eye that sees the truth: if reference and words differ, most pictures are what the words say."""
    from recipes.shapes import senses

    kept = []
    monkeypatch.setattr(senses, "drawn", lambda scenes: kept.append(scenes) or drawn(scenes.part(slice(0, 1))))
    monkeypatch.setattr(senses, "folded", lambda pictures: pictures)

    class Eye:
        def tokens(self, pictures):
            return pictures

    _, states, _ = batches(["identity"], Eye(), 4 * MANY)(0)
    shown, target = kept
    spoken = (states - words.MARKS)[:, words.PLACES.index("shape")]
    said = spoken.abs().sum(1).numpy() > 0
    named = torch.cdist(spoken, words.WORDS).argmin(1).numpy() - words.VOCABULARY.index(SHAPES[0])
    agrees = {name: named[said] == scenes.shape[said] for name, scenes in (("reference", shown), ("picture", target))}
    contrary = ~agrees["reference"]
    chance = CONTRARY * (1 - 1 / len(SHAPES))
    assert contrary.mean() == pytest.approx(chance, abs=0.05)
    assert agrees["picture"][~contrary].all()
    assert agrees["picture"][contrary].mean() == pytest.approx(1 - YIELDING, abs=0.07)
    yielding = ~agrees["picture"]
    assert (target.shape[said][yielding] == shown.shape[said][yielding]).all()
    assert (target.shape[~said] == shown.shape[~said]).all()
    assert said.mean() == pytest.approx(0.9 * OWN_WORDS["identity"] * (1 - UNNAMED), abs=0.01)
    same = target.ground == shown.ground
    assert same.mean() < 0.1, "all else is the scene's own"
    others = (states - words.MARKS)[:, [words.PLACES.index(place) for place in words.PLACES if place != "shape"]]
    speaks = (others.abs().sum(2) > 0).numpy()
    assert (speaks.all(1) | ~speaks.any(1)).all()
    assert speaks.mean() == pytest.approx(0.9, abs=0.03), "all else that has a word is said"


def stage_in(folder, **steps):
    return Stage(folder / "stage", folder / "weights", **({"sight": 1, "host": 1} | steps))


def test_what_worlds_stand_on_is_trained_once_and_kept(tmp_path, monkeypatch):
    """A frozen host that went on learning under finished parts would ruin them without a word."""
    first = stage_in(tmp_path)
    first.prepare()
    monkeypatch.setattr(stage, "train_sight", None)
    monkeypatch.setattr(stage, "train_host", None)
    again = stage_in(tmp_path)
    for name in ("eye", "judge"):
        for mine, theirs in zip(getattr(first, name).parameters(), getattr(again, name).parameters(), strict=True):
            assert torch.equal(mine, theirs) and not mine.requires_grad
    assert first.ground.connector.fingerprint == again.ground.connector.fingerprint
    for longer, what in (({"host": 2}, "host"), ({"sight": 2}, "eye")):
        with pytest.raises(SystemExit, match=f"{what}.safetensors was trained for 1 steps, not 2; remove it"):
            stage_in(tmp_path, **longer).prepare()


def test_a_world_trains_resumes_and_draws(tmp_path):
    world = World(0, tmp_path, stage_in(tmp_path), BRIEF)
    for way in (Way.modules, Way.decoupled):
        for name in SENSES:
            world.train(way, name)
    again = World(0, tmp_path, stage_in(tmp_path), BRIEF)
    ground = again.stage.ground
    scenes = some(3)
    told = words.said(scenes, words.only("side", "hue")[None])
    seen = {name: again.stage.eye.tokens(drawn(scenes)) for name in SENSES}

    def pictures(parts):
        shown = {name: seen[name] for name in parts}
        with torch.no_grad():
            return draw(ground, told, lambda _rows: heard(ground, parts, shown), steps=2, seed=0)

    plain = pictures({})
    assert plain.shape == (3, 3, 32, 32)
    assert torch.equal(plain, pictures({}))
    assert folded(plain).shape[1:] == (SHAPE["in_channels"], 16, 16)
    for way in (Way.modules, Way.decoupled):
        assert not torch.equal(pictures(again.parts(way, SENSES)), plain)
    with pytest.raises(SystemExit, match="ungated-style: there is no such training"):
        again.parts(Way.ungated, ("style",))
