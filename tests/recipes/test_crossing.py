import numpy as np
import pytest
import torch

from recipes.base.crossing import RENAMED, RESTYLED, Crossings, crossed, share

CELLS = [{"concept": thing, "style": style} for thing in range(3) for style in ("flat", "noto")]


@pytest.mark.parametrize("ramp", [RESTYLED, RENAMED])
def test_captions_are_crossed_at_one_end_of_time_only(ramp):
    most, begins, full = ramp
    times = torch.arange(1000)
    often = share(times, 1000, ramp)
    assert often.max() == pytest.approx(most)
    own = times < begins * 1000 if full > begins else times > begins * 1000
    assert not often[own].any()
    assert (
        often[torch.arange(1000) > full * 1000 if full > begins else torch.arange(1000) < full * 1000] == most
    ).all()


def test_style_is_crossed_in_noise_and_the_thing_near_the_end():
    torch.manual_seed(0)
    count = 4000
    own, restyled, renamed = (torch.full((count, 1, 1), float(value)) for value in range(3))
    noisy = crossed(own, restyled, renamed, torch.full((count,), 999), 1000).flatten()
    clean = crossed(own, restyled, renamed, torch.zeros(count), 1000).flatten()
    assert set(noisy.tolist()) == {0, 1}
    assert set(clean.tolist()) == {0, 2}
    assert (noisy == 1).float().mean() == pytest.approx(RESTYLED[0], abs=0.03)
    assert (clean == 2).float().mean() == pytest.approx(RENAMED[0], abs=0.03)


def test_crossed_rows_share_the_thing_or_the_style():
    known = np.array([0, 1, 2, 3, 5])
    crossings = Crossings(CELLS, known)
    for _ in range(20):
        restyled, renamed = crossings.restyled(known), crossings.renamed(known)
        assert np.isin(restyled, known).all()
        assert np.isin(renamed, known).all()
        for row, by_style, by_thing in zip(known, restyled, renamed, strict=True):
            assert CELLS[row]["concept"] == CELLS[by_style]["concept"]
            assert CELLS[row]["style"] == CELLS[by_thing]["style"]
