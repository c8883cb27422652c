"""What the benchmark of drawn shapes asks for and says of pictures, with an eye and a judge that see the truth."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.shapes import trials as trials_module
from benchmarks.shapes.run import dial_claims
from benchmarks.shapes.trials import SCALES, Trials
from recipes.shapes.scenes import Scenes, apart, bin_of
from recipes.shapes.senses import SENSES
from recipes.shapes.words import MARKS, PLACES

COUNT = 200


@pytest.fixture
def trials(monkeypatch):
    """Scenes stand for pictures of themselves."""
    monkeypatch.setattr(trials_module, "drawn", lambda scenes: scenes)
    stage = SimpleNamespace(eye=SimpleNamespace(tokens=lambda scenes: scenes), judge=SimpleNamespace(seen=vars))
    return Trials(SimpleNamespace(seed=0, stage=stage), COUNT, 1)


def test_contradictions_are_of_hues_alone_and_said_as_in_training(trials, monkeypatch):
    """Where a hue was said the pattern was said too; so it is here, and the reference has that very pattern."""
    asked = []
    monkeypatch.setattr(Trials, "pictures", lambda _self, *row: asked.append(row) or row[3]["style"])
    assert not trials.sided_with_words(1.5).any(), "the reference's hue is the opposite one"
    ((_, names, words, shown, weights),) = asked
    spoken = (words != MARKS).any(2).float().mean(0)
    assert {place for place, share in zip(PLACES, spoken, strict=True) if share > 0} == {
        "pattern", "hue", "side", "small_hue", "small_shape",
    }  # fmt: skip
    assert names == ("style",)
    assert weights == {"style": 1.5}
    assert (shown["style"].pattern == trials.wanted.pattern).all()
    assert (bin_of(shown["style"].hue) != bin_of(trials.wanted.hue)).all()


def test_changes_are_flips_and_turns(trials, monkeypatch):
    """A picture that is what its references show changes in what the exchanged one shows, and in nothing else."""
    shows = {"identity": ("shape",), "palette": ("ground",), "style": ("hue", "pattern")}

    class Shown(Scenes):
        def roll(self, by, _axis):
            return self.part(np.roll(np.arange(len(self)), by))

    def pictures(_self, _way, names, _words, references):
        taken = {what: getattr(references[name], what) for name in names for what in shows[name]}
        return Scenes(**{**vars(trials.wanted), **taken})

    monkeypatch.setattr(Trials, "pictures", pictures)
    monkeypatch.setattr(Trials, "references", {name: Shown(**vars(trials.wanted)) for name in SENSES})
    for sense in SENSES:
        changes = trials.changed(sense)
        assert changes.keys() == SCALES.keys()
        for name, change in changes.items():
            assert (change.mean() > 0.2) == (name in shows[sense])
            assert (change.any()) == (name in shows[sense])
    turned = trials.changed("palette")["ground"]
    ground = trials.wanted.ground
    assert turned == pytest.approx(apart(ground, np.roll(ground, COUNT // 2 + 1)))


def test_a_dial_is_smooth_and_ends_at_the_reference():
    def holding(*shares):
        return [claim.holds for claim in dial_claims(dict(zip((0.0, 1.0, 2.0), shares, strict=True)))]

    assert holding(1.0, 0.8, 0.35) == [True, False, True, True]
    assert holding(1.0, 0.85, 0.1) == [True, True, False, True]
    assert holding(0.6, 0.8, 0.1)[-1] is False
