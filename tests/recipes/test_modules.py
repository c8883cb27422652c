"""What modules learn from, on a dozen made-up cells: three things in four styles, each cell of one grey of its own."""

from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch

from intarsia.connect import Features, Modality, TextCarrier
from recipes.modules import cells as cells_module
from recipes.modules import changed
from recipes.modules.cells import STYLED, THING, Cells
from recipes.modules.folder import LIMIT_MB
from recipes.modules.run import FOLDER, INNER, begun_with, main
from recipes.modules.senses import ENCODERS, Changes, shown_of
from recipes.modules.training import Training

THINGS, STYLES, WORDINGS, TOKENS, WIDTH = 3, 4, 6, 2, 5
LABELS = ("red heart", "fox", "orange")
MANY = 300


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def cells():
    count = THINGS * STYLES
    concepts, styles = np.repeat(np.arange(THINGS), STYLES), np.tile(np.arange(STYLES), THINGS)
    tone = np.arange(count)[:, None, None, None]
    states = np.broadcast_to(np.arange(WORDINGS)[:, None, None], (count, WORDINGS, TOKENS, WIDTH)) + 100 * tone
    return Cells(
        rows=np.arange(count), concepts=concepts, styles=styles,
        pictures=np.broadcast_to(20 * tone, (count, 64, 64, 3)).astype(np.uint8),
        latents=np.broadcast_to(tone, (count, 16, 8, 8)).astype(np.float16), states=states.astype(np.float32),
        blank=np.full((TOKENS, WIDTH), -1.0, np.float32), labels=[LABELS[concept] for concept in concepts],
        style_words=[f"style{style}" for style in styles],
    )  # fmt: skip


def test_a_style_is_shown_by_another_thing(cells):
    chosen = np.random.randint(len(cells), size=MANY)
    others = cells.others_of_style(chosen)
    assert (cells.styles[others] == cells.styles[chosen]).all()
    assert (cells.concepts[others] != cells.concepts[chosen]).all()
    assert len(set(others)) == len(cells)


def test_captions_are_the_wordings_asked_for(cells):
    chosen, wordings = np.array([0, 7, 7, 3]), np.array([STYLED, THING, -1, 2])
    assert cells.said(chosen, wordings)[:, 0, 0].tolist() == [0, 700 + THING, -1, 302]


def test_colours_are_left_out_of_labels_that_say_more(cells, monkeypatch):
    """'orange' alone is a thing, and 'fox' says no colour."""
    read = []
    monkeypatch.setattr(cells_module, "text_encoder", lambda: ())
    monkeypatch.setattr(
        cells_module, "token_states",
        lambda texts: read.extend(texts) or torch.arange(-len(texts), 0.0)[:, None, None].expand(-1, TOKENS, WIDTH),
    )  # fmt: skip
    chosen, thing = np.arange(len(cells)), np.full(len(cells), THING)
    plain, colourless = (cells.said(chosen, thing, colours=colours)[:, 0, 0] for colours in (True, False))
    assert read[:2] == ["a heart in style0 style", "a heart"]
    assert len(read) == 2 * STYLES
    assert (colourless[:STYLES] < 0).all()
    assert torch.equal(colourless[STYLES:], plain[STYLES:])
    styled = cells.said(chosen, np.full(len(cells), STYLED), colours=False)[:STYLES, 0, 0]
    assert (styled == colourless[:STYLES] - 1).all()
    assert (cells.said(chosen, np.full(len(cells), -1), colours=False) == -1).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_is_shown_is_the_picture_that_is_learnt(cells, share):
    """Tones of changed pictures and of their latents are one apart from those of the cells."""
    shown = (cells.pictures[None] + np.array([1, 2])[:, None, None, None, None]).astype(np.uint8)
    latents = cells.latents[None] + np.array([0.25, 0.5])[:, None, None, None, None].astype(np.float16)
    chosen = np.random.randint(len(cells), size=MANY)
    target, pictures = Changes(share, shown, latents).of(cells, chosen)
    change = target[:, 0, 0, 0] - chosen
    assert set(change) <= {0, 0.25, 0.5}
    assert (change > 0).mean() == pytest.approx(share, abs=0.1 if 0 < share < 1 else 0)
    assert pictures[:, 0, 0, 0] == pytest.approx(20 * chosen + 4 * change)


@pytest.mark.parametrize("name", ["silhouette", "palette"])
def test_references_are_moved(cells, monkeypatch, name):
    moved = []
    monkeypatch.setattr(changed, "nudged", lambda pictures: moved.append(pictures) or np.full_like(pictures, 77))
    seen = shown_of(name, cells.pictures)
    assert len(moved) == 1
    assert all((np.asarray(one) == 77).all() for one in seen)
    assert {one.size for one in seen} == ({(64, 64)} if name == "silhouette" else {(64, 64), (32, 32)})


def test_hues_are_turned_and_outlines_bent_apart():
    """A red bar at the left: some go to the right, some into other hues, each without regard to the other."""
    pictures = np.full((200, 64, 64, 3), 255, np.uint8)
    pictures[:, 16:48, 4:20] = (200, 20, 20)
    found = changed.bent_and_recoloured(pictures)
    dark = found.min(3) < 128
    right = (dark * np.arange(64)).sum((1, 2)) / dark.sum((1, 2)) > 32
    red = np.array([one[where].mean(0).argmax() == 0 for one, where in zip(found, dark, strict=True)])
    assert right.mean() == pytest.approx(0.5, abs=0.1)
    assert red.mean() == pytest.approx(1 / 3 + 2 / 3 / 3, abs=0.1)
    assert red[right].mean() == pytest.approx(red[~right].mean(), abs=0.2)


@pytest.mark.parametrize(("change", "shift"), [(changed.bent, changed.SHIFTED), (changed.nudged, 0.02)])
def test_pictures_move(change, shift):
    """A dot in the middle goes somewhere else, farther where targets are made than where references are."""
    pictures = np.full((60, 64, 64, 3), 255, np.uint8)
    pictures[:, 28:36, 28:36] = 0
    dark = 255.0 - change(pictures)[..., 0]
    rows = (dark.sum(2) * np.arange(64)).sum(1) / dark.sum((1, 2))
    assert 0.65 * shift < rows.std() / 32 < 2.2 * shift
    assert abs(rows.mean() - 31.5) < 32 * shift


def test_bent_pictures_have_outlines_of_their_own():
    """Two that were one, shifted over each other as well as it goes, still differ; two that were nudged do less."""
    pictures = np.full((40, 64, 64, 3), 255, np.uint8)
    pictures[:, 16:48, 16:48] = 0

    def differ(change):
        dark = change(pictures)[..., 0] < 128
        centred = [np.roll(one, tuple(32 - np.argwhere(one).mean(0).round().astype(int)), (0, 1)) for one in dark]
        return np.mean([one ^ other for one, other in pairwise(centred)])

    assert differ(changed.bent) > 3 * differ(changed.nudged)


def test_modules_of_more_blocks_are_narrower_and_do_not_ship(tmp_path):
    for blocks, inner in INNER.items():
        carrier = TextCarrier(384, "emoji", blocks=blocks)
        for name, encoder in ENCODERS.items():
            if name != "style":
                Modality(name, carrier, encoder().features, inner=inner).save(
                    tmp_path / f"{name}-{blocks}", {}, half=True
                )
                assert 2 < (tmp_path / f"{name}-{blocks}").stat().st_size / 1e6 < LIMIT_MB
    with pytest.raises(SystemExit, match="4 blocks do not go with the 2 of those that ship; name an --out"):
        main(["silhouette"], blocks=4, out=FOLDER)


def test_recoloured_pictures_keep_white_and_how_light_they_are():
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[16:48, 16:48] = (200, 30, 30)
    found = changed.recoloured(np.repeat(picture[None], 30, 0))
    assert (found[:, 0, 0] == 255).all()
    assert found[:, 32, 32].max(1) == pytest.approx([200] * 30, abs=3)
    assert len(np.unique(found[:, 32, 32].argmax(1))) == 3


def test_a_finished_module_is_trained_on(tmp_path):
    carrier, features = TextCarrier(384, "emoji"), Features(4, "tone")
    known, fresh = (Modality("style", carrier, features, inner=16) for _ in range(2))
    for opening in known.blocks[0].openings:
        opening.data.fill_(0.5)
    told = Training("modules", 300, 32, 1, "no", 1e-3, 2, 60.0, before=100)
    known.save(tmp_path / "style", asdict(told))
    assert begun_with(tmp_path / "style", {"style": fresh}, carrier) == (400, 60.0)
    for mine, theirs in zip(fresh.parameters(), known.parameters(), strict=True):
        assert torch.equal(mine, theirs) and mine.requires_grad
    with pytest.raises(SystemExit, match="--start goes with a module of its own"):
        begun_with(tmp_path / "style", {"style": fresh, "palette": known}, carrier)
