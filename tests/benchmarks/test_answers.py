"""Figures of rows are worked out once, and outlive the machine."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.answers import Answers
from recipes.modules.training import Training

TRAINED = Training("modules", 3, 32, 1, "no", 1e-3, 2, 60.0)


def never():
    raise AssertionError("it is known")


def gone():
    raise SystemExit("there is no such training")


def test_rows_are_kept_as_they_come(tmp_path):
    path, asked = tmp_path / "deep" / "seed-0.npz", {"pictures": 2, "stage": [1, 2]}
    first = Answers.of(path, asked)
    assert first.training("style", lambda: TRAINED) == TRAINED
    figures = {"hue off, degrees": np.array([1.0, np.nan])}
    assert first.row("modules|style,palette|", lambda: figures) is figures

    again = Answers.of(path, asked)
    assert again.training("style", gone) == TRAINED == again.training("style", lambda: TRAINED)
    with pytest.raises(SystemExit, match="rows of style as it was trained elsewhere"):
        again.training("style", lambda: replace(TRAINED, seconds=61.0))
    with pytest.raises(SystemExit, match="no such training"):
        again.training("palette", gone)
    np.testing.assert_array_equal(again.row("modules|style,palette|", never)["hue off, degrees"], [1.0, np.nan])
    again.row("real", lambda: {"hue": np.ones(2), "shape": np.zeros(2)})

    third = Answers.of(path, asked)
    assert third.row("real", never).keys() == {"hue", "shape"}
    assert third.rows.keys() == {"modules|style,palette|", "real"}
    assert not list(path.parent.glob("*.part*"))
    first.row("late", lambda: {"hue": np.ones(2)})
    assert Answers.of(path, asked).rows.keys() == {"modules|style,palette|", "real", "late"}, "two runs side by side"
    with pytest.raises(SystemExit, match="remove it to ask anew"):
        Answers.of(path, asked | {"pictures": 3})
